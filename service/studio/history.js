// What was done, undone, and is just being done.

/** Lists of edits, one a step. A draft is shown while a gesture lasts and becomes a step when it ends. */
export class History {
  #steps = [[]];
  #at = 0;
  #draft = null;

  /** @param {object[]} [edits] what to begin with */
  constructor(edits = []) {
    this.#steps = [edits];
  }

  /** The edits to show. */
  get present() {
    return this.#draft ?? this.committed;
  }

  /** The edits without the gesture that lasts. */
  get committed() {
    return this.#steps[this.#at];
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
    if (JSON.stringify(edits) === JSON.stringify(this.committed)) return;
    this.#steps = [...this.#steps.slice(0, this.#at + 1), edits];
    this.#at += 1;
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
