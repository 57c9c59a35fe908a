// What was done, undone, and is just being done.

const MOST_STEPS = 200;
const MOST_SCENES = 8;

/** @typedef {{scene: import("./scene.js").Scene, edits: object[]}} Step */

/** Scenes and lists of edits, one a step. A draft is shown while a gesture lasts and becomes a step when it ends. */
export class History {
  /** @type {Step[]} */
  #steps = [];
  #at = -1;
  /** @type {object[] | null} */
  #draft = null;

  /** @param {Step[]} [steps] what to begin with @param {number} [at] which of them is shown */
  constructor(steps = [], at = steps.length - 1) {
    this.#steps = steps;
    this.#at = at;
  }

  /** All steps, the oldest first. */
  get steps() {
    return this.#steps;
  }

  /** Which of them is shown. */
  get at() {
    return this.#at;
  }

  /** The scene that is shown, or null. */
  get scene() {
    return this.#steps[this.#at]?.scene ?? null;
  }

  /** The edits to show. */
  get present() {
    return this.#draft ?? this.committed;
  }

  /** The edits without the gesture that lasts. */
  get committed() {
    return this.#steps[this.#at]?.edits ?? [];
  }

  /** Whether a gesture lasts. */
  get drafting() {
    return this.#draft !== null;
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#steps.length - 1;
  }

  /** @param {object[] | null} edits */
  draft(edits) {
    this.#draft = edits;
  }

  /** Make these edits a step; what was undone is gone. @param {object[]} edits */
  push(edits) {
    this.#draft = null;
    if (this.scene && JSON.stringify(edits) !== JSON.stringify(this.committed)) this.open(this.scene, edits);
  }

  /** Make another scene a step. Of very many steps and scenes the oldest go. @param {Step["scene"]} scene @param {object[]} edits */
  open(scene, edits) {
    this.#draft = null;
    this.#steps = [...this.#steps.slice(0, this.#at + 1), { scene, edits }].slice(-MOST_STEPS);
    const scenes = [...new Set(this.#steps.map((step) => step.scene))].slice(-MOST_SCENES);
    this.#steps = this.#steps.filter((step) => scenes.includes(step.scene));
    this.#at = this.#steps.length - 1;
  }

  undo() {
    this.#draft = null;
    if (this.canUndo) this.#at -= 1;
  }

  redo() {
    this.#draft = null;
    if (this.canRedo) this.#at += 1;
  }
}
