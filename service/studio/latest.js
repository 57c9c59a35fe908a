// Work of which only the latest counts.

const SHORTEST_MS = 40;
const LONGEST_MS = 500;

/** Runs one piece of work at a time; a newer one aborts it. Starts are as far apart as the work takes. */
export class Latest {
  #controller = new AbortController();
  #timer = 0;
  #started = -Infinity;
  #spacing = SHORTEST_MS;

  /**
   * Do this, and nothing that was asked for before.
   * @param {(signal: AbortSignal) => Promise<void>} work must heed the signal and not throw
   */
  schedule(work) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#start(work), Math.max(0, this.#started + this.#spacing - performance.now()));
  }

  /** Drop what waits and abort what runs. */
  cancel() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  async #start(work) {
    this.#controller.abort();
    const controller = (this.#controller = new AbortController());
    const started = (this.#started = performance.now());
    await work(controller.signal);
    if (!controller.signal.aborted) {
      // A little longer than it took, so that work can end while edits keep coming.
      this.#spacing = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, 1.25 * (performance.now() - started)));
    }
  }
}
