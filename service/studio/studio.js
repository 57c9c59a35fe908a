// The state of the editor. Views listen to its events and call its methods; it alone talks to the service.

import { Arrivals } from "./arrivals.js";
import { History } from "./history.js";
import { Messages } from "./messages.js";
import { Models } from "./models.js";
import { Picture } from "./picture.js";
import { Problem } from "./problem.js";
import { applyEdits, extended, shortened } from "./edits.js";
import { callable, compacted, missing } from "./donors.js";

/** Events: "models", "photo", "tokens" (the edited ones), "edits", "selection", "hover", "donors"; its parts have their own. */
export class Studio extends EventTarget {
  #frame = 0;
  /** @type {{scene: import("./scene.js").Scene | null, edits: any[] | null, version: number}} what the edited tokens were made of */
  #of = { scene: null, edits: null, version: 0 };
  /** @type {Problem | null} why the edits are not applied */
  #misfit = null;
  arrivals = new Arrivals(this);
  history = new History();
  messages = new Messages();
  models = new Models();
  /** The name of the model that sees the photo. */
  model = "";
  /** @type {import("./scene.js").Scene | null} what is shown */
  scene = null;
  /** @type {import("./edits.js").Edited | null} after the edits */
  edited = null;
  /** @type {number[]} tokens that are selected, the last one above all */
  selection = [];
  /** @type {number | null} */
  hovered = null;
  /** @type {import("./donors.js").Donor[]} photos that edits need and that are not open: nothing is edited until they are */
  lacking = [];

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection */
  constructor(api, connection) {
    super();
    this.api = api;
    this.connection = connection;
    this.picture = new Picture(api, connection);
  }

  /** Ask what is served. @throws {Problem} */
  async start() {
    await this.models.load(this.api);
    this.model = this.manifest.name;
    this.#tell("models");
  }

  /** @type {import("./photo.js").Photo | null} */
  get photo() {
    return this.scene?.photo ?? null;
  }

  /** @type {import("./tokens.js").Tokens | null} as the model saw the photo */
  get tokens() {
    return this.scene?.tokens ?? null;
  }

  /** @type {import("./photo.js").Drawing | null} what the tokens without edits show */
  get plain() {
    return this.scene?.plain ?? null;
  }

  get donors() {
    return this.scene?.donors ?? [];
  }

  get second() {
    return this.scene?.second ?? null;
  }

  /** The model's description, as /models tells it. */
  get manifest() {
    return this.models.named(this.model);
  }

  /** The model's name for calls, "" for the default one. */
  get namedModel() {
    return this.model === this.models.default ? "" : this.model;
  }

  /** How the photo gets the model's shape, for calls; "" for the default way. */
  get namedFit() {
    return this.photo.fit === "crop" ? "" : this.photo.fit;
  }

  get edits() {
    return this.history.present;
  }

  /** The selected token above all, or null. */
  get selected() {
    return this.selection.at(-1) ?? null;
  }

  /** Put another scene in the place of what is shown; undo brings that back. @param {import("./scene.js").Scene} scene @param {any[]} edits */
  show(scene, edits) {
    this.history.open(scene, edits);
    void this.#enter();
  }

  /** The place of the photo itself among the donors. */
  selfDonor() {
    return this.scene.selfDonor();
  }

  /**
   * Go on where somebody stopped.
   * @param {import("./history.js").Step[]} steps @param {number} at @param {number[]} selection
   * @returns {Promise<boolean>} whether there was something to go on with
   */
  async restore(steps, at, selection) {
    const wanted = steps[at];
    const usable = steps.filter(({ scene }) => this.models.all.some((model) => model.id === scene.modelId));
    this.history = new History(usable, usable.includes(wanted) ? usable.indexOf(wanted) : usable.length - 1);
    if (usable.includes(wanted)) {
      try {
        await this.#enter();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.history = new History();
        return false;
      }
      this.selection = selection.filter((k) => this.remains(k));
      this.#tell("selection");
      return true;
    }
    if (!wanted) return false;
    const { file, sample, fit, box } = wanted.scene.photo;
    await this.arrivals.open(file, sample, this.model, fit, box);
    if (wanted.edits.length) this.messages.report(new Problem("The model has been replaced since: what was edited for the old one is not shown."));
    return true;
  }

  /** Add edits. @param {...any} edits */
  edit(...edits) {
    this.replaceEdits(edits.reduce(extended, this.history.committed));
  }

  /** Show edits while a gesture lasts; none takes them back. @param {...any} edits */
  draft(...edits) {
    const drafted = shortened(edits.reduce(extended, this.history.committed), this.models.maxEdits);
    this.history.draft(edits.length ? drafted : null);
    // Gestures come faster than frames.
    this.#frame ||= requestAnimationFrame(() => this.#changed());
  }

  /** Make the draft an edit. */
  commit() {
    this.replaceEdits(this.history.present);
  }

  /** Put another list in the place of the edits. @param {any[]} edits */
  replaceEdits(edits) {
    this.messages.clear();
    const fitting = shortened(edits, this.models.maxEdits);
    this.history.push(fitting ?? this.history.committed);
    if (!fitting) this.messages.report(new Problem(`The service takes at most ${this.models.maxEdits} edits.`, { code: "too_many_edits" }));
    else if (fitting !== edits) {
      this.messages.suggest(`At most ${this.models.maxEdits} edits are taken: some of the same kind and token became one.`, "Undo", () => this.undo());
    }
    this.#changed();
  }

  undo() {
    this.#go(() => this.history.undo());
  }

  redo() {
    this.#go(() => this.history.redo());
  }

  /** @param {number} k @param {boolean} [add] to what is selected already; again takes it away */
  select(k, add = false) {
    const others = this.selection.filter((m) => m !== k);
    const had = others.length < this.selection.length;
    this.selection = add ? (had ? others : [...others, k]) : had && this.selection.length === 1 ? [] : [k];
    this.#tell("selection");
  }

  /** Select nothing. */
  deselect() {
    this.selection = [];
    this.#tell("selection");
  }

  /** @param {number | null} k */
  hover(k) {
    if (k === this.hovered) return;
    this.hovered = k;
    this.#tell("hover");
  }

  /** Whether a token is still there after the edits. @param {number} k */
  remains(k) {
    return this.edited?.remaining[k] ?? false;
  }

  /** The edits and the donors that they use, as links tell them. */
  compact() {
    return compacted(this.edits, this.donors);
  }

  /** The same as calls tell them. */
  callable() {
    return callable(this.edits, this.donors, Boolean(this.photo.box));
  }

  /** The scene has something new. @param {string[]} kinds what has changed beside the edits */
  refresh(...kinds) {
    this.#changed(kinds);
  }

  /** Go through what was done. @param {() => void} step */
  #go(step) {
    this.messages.clear();
    // Who takes back what has not come yet takes back nothing else.
    if (!this.arrivals.cancel()) step();
    if (this.history.scene === this.scene) this.#changed();
    else void this.#enter();
  }

  /** Show the scene at which the history stands. */
  async #enter() {
    const { scene } = this.history;
    await scene.wake();
    if (scene !== this.history.scene) {
      if (scene !== this.scene) scene.sleep();
      return;
    }
    this.picture.show(null);
    if (scene !== this.scene) this.scene?.sleep();
    this.scene = scene;
    Object.assign(this, { model: scene.model, selection: [], hovered: null });
    this.#changed(["models", "photo", "donors"]);
  }

  /** @param {string[]} [others] what has changed beside the edits */
  #changed(others = []) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    // While another scene wakes up its edits are none of this one.
    if (!this.scene || this.scene !== this.history.scene) return;
    const { scene, edits } = this;
    const { version } = scene;
    const of = this.#of;
    // A gesture that ends leaves what its last draft made.
    const isNew = scene !== of.scene || edits !== of.edits || version !== of.version;
    if (isNew) this.#apply((this.#of = { scene, edits, version }));
    this.selection = this.selection.filter((k) => this.remains(k));
    this.#tell(...others, ...(isNew ? ["tokens"] : []), "edits", "selection");
    if (this.#misfit) this.#refuse(this.#misfit);
    else if (!edits.length || this.lacking.length) this.picture.show(this.plain);
    else this.picture.draw(scene, edits, (refusal) => this.#refuse(refusal));
  }

  /** Make the edited tokens. */
  #apply({ edits }) {
    const { donors } = this;
    this.lacking = missing(edits, donors);
    this.#misfit = null;
    try {
      this.edited = applyEdits(this.tokens, this.lacking.length ? [] : edits, donors.map((donor) => donor.tokens));
    } catch (error) {
      this.#misfit = new Problem(`The edits don't fit this picture: ${error.message}.`, { code: "bad_edit" });
      this.edited = applyEdits(this.tokens, [], []);
    }
  }

  /** The edits are not drawn, and will not be. @param {Problem} problem */
  #refuse(problem) {
    this.picture.fail();
    this.messages.report(problem);
  }

  #tell(...kinds) {
    for (const kind of kinds) this.dispatchEvent(new Event(kind));
  }
}
