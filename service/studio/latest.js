// Work of which only the latest counts.

const SHORTEST_MS = 40;
const LONGEST_MS = 500;

/**
 * Runs one piece of work at a time; a newer one aborts it. Starts are a little further apart than the work takes, so
 * that pieces end while new ones keep coming.
 */
export class Latest {
  #controller = new AbortController();
  /** @type {((signal: AbortSignal) => Promise<void>) | null} */
  #next = null;
  #timer = 0;
  #started = -Infinity;
  #spacing = SHORTEST_MS;
  #running = false;

  /**
   * Do this, and nothing that was asked for before.
   * @param {(signal: AbortSignal) => Promise<void>} work must heed the signal and not throw
   */
  schedule(work) {
    const waits = this.#next !== null;
    this.#next = work;
    // A timer that runs already is left alone: it would never end while work keeps coming.
    if (waits) return;
    const wait = Math.max(0, this.#started + this.#spacing - performance.now());
    this.#timer = setTimeout(() => this.#start(), wait);
  }

  /** Drop what waits and abort what runs. */
  cancel() {
    clearTimeout(this.#timer);
    this.#next = null;
    this.#controller.abort();
  }

  async #start() {
    const work = this.#next;
    this.#next = null;
    if (this.#running) this.#space(1.5 * this.#spacing);
    this.#controller.abort();
    const { signal } = (this.#controller = new AbortController());
    const started = (this.#started = performance.now());
    this.#running = true;
    await work(signal);
    if (signal.aborted) return;
    this.#running = false;
    this.#space(1.25 * (performance.now() - started));
  }

  #space(ms) {
    this.#spacing = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, ms));
  }
}
