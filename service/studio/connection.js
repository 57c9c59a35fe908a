// What could not be done because the service was away is done when it is back.

import { Problem } from "./problem.js";

const FIRST_WAIT_MS = 700;
const LONGEST_WAIT_MS = 5000;

/** Fires "change" when the service goes away or returns. */
export class Connection extends EventTarget {
  #waiting = new Map();
  #polling = false;
  /** @type {Problem | null} why it waits */
  problem = null;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.api = api;
  }

  /**
   * Do something again when the service is back; of one kind only the newest.
   * @param {string} kind @param {Problem} problem @param {() => unknown} again
   */
  retry(kind, problem, again) {
    this.#waiting.set(kind, again);
    this.problem = problem;
    this.dispatchEvent(new Event("change"));
    if (!this.#polling) void this.#poll();
  }

  /**
   * Do something. What fails for a while is done again when the service is back, what is refused is told.
   * @param {string} kind @param {AbortSignal} signal @param {() => Promise<unknown>} work
   * @param {() => unknown} again @param {(problem: Problem) => void} refused
   */
  async attempt(kind, signal, work, again, refused) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      if (error.passes) this.retry(kind, error, again);
      else refused(error);
    }
  }

  async #poll() {
    this.#polling = true;
    let wait = Math.max(FIRST_WAIT_MS, 1000 * this.problem.retryAfter);
    do {
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(LONGEST_WAIT_MS, wait * 1.4);
    } while (!(await this.api.ready()));
    this.#polling = false;
    this.problem = null;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.dispatchEvent(new Event("change"));
    for (const again of waiting) again();
  }
}
