// The first edit, step by step, for who was never here.

import { byId } from "./element.js";
import { keep } from "./kept.js";

/** Three steps beside the pictures, gone for good after the last. */
export class Guide {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.steps = [...byId("guide").querySelectorAll("li")];
    byId("guide-close").addEventListener("click", () => this.#close());
    for (const kind of ["edits", "selection"]) studio.addEventListener(kind, () => this.#show());
    this.#show();
  }

  #show() {
    const { edits, selection, history } = this.studio;
    const at = edits.length ? 2 : selection.length ? 1 : 0;
    this.steps.forEach((step, i) => {
      step.classList.toggle("done", i < at);
      if (i === at) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    if (!edits.length && history.canRedo) this.#close();
  }

  #close() {
    document.documentElement.dataset.guided = "";
    keep("localStorage", "stellar-guided", "yes");
  }
}
