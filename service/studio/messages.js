// What the page tells beside what it shows: what went wrong, and what may be done about what just happened.

/** @typedef {{text: string, label: string, deed: () => void}} Offer */

/** One problem and one offer at a time. Fires "problem" and "offer" when they change. */
export class Messages extends EventTarget {
  /** @type {import("./problem.js").Problem | null} */
  problem = null;
  /** @type {Offer | null} */
  offer = null;

  /** @param {import("./problem.js").Problem | null} problem */
  report(problem) {
    this.problem = problem;
    this.dispatchEvent(new Event("problem"));
  }

  /** Offer something. @param {string} text @param {string} label of the button @param {() => void} deed what it does */
  suggest(text, label, deed) {
    this.#become({ text, label, deed });
  }

  /** Withdraw the offer. */
  decline() {
    this.#become(null);
  }

  /** What was told before is over when something else is done. */
  clear() {
    this.report(null);
    this.decline();
  }

  #become(offer) {
    this.offer = offer;
    this.dispatchEvent(new Event("offer"));
  }
}
