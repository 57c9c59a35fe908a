// The models that the service serves.

/** Their descriptions, as /models tells them. */
export class Models {
  /** @type {any[]} */
  all = [];
  /** @type {string} the name of the one that calls need not name */
  default = "";
  /** How many edits the service takes at once. */
  maxEdits = Infinity;

  /** Ask what is served. @param {import("./api.js").Api} api @throws {import("./problem.js").Problem} */
  async load(api) {
    const { default: name, models, max_edits } = await api.models();
    Object.assign(this, { all: models, default: name, maxEdits: max_edits });
  }

  /** Whether a model of this name is served. @param {string} name */
  has(name) {
    return this.all.some((model) => model.name === name);
  }

  /** The description of a model, or of the default one where it is not served; none before they are known. @param {string} name */
  named(name) {
    return this.all.find((model) => model.name === name) ?? this.all.find((model) => model.name === this.default);
  }
}
