// What the model is and how good, so that nobody takes a small one for more.

import { byId, element } from "./element.js";
import { bytesText } from "./result.js";
import { sizeText } from "./size.js";

const SMALL_BYTES = 50e6;

/** The name below the reconstruction, and the card that it opens. */
export class Card {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.dialog = byId("card");
    byId("drawn-by").addEventListener("click", () => this.#open());
    byId("card-close").addEventListener("click", () => this.dialog.close());
    studio.addEventListener("models", () => this.#show());
  }

  get #bytes() {
    return Object.values(this.studio.manifest.files).reduce((sum, file) => sum + file.bytes, 0);
  }

  #show() {
    const { manifest } = this.studio;
    if (!manifest) return;
    const { name } = manifest;
    byId("token-count").textContent = manifest.num_sparse_tokens;
    byId("drawn-by").replaceChildren(...(this.#bytes < SMALL_BYTES ? [element("span", { className: "wide" }, `${name}, a `), "small demo model"] : [name]));
    byId("drawn-by").hidden = false;
  }

  #open() {
    const { id, image_size, grid, num_sparse_tokens, width, precision, licence, provider, quality } = this.studio.manifest;
    byId("card-title").textContent = id;
    byId("card-words").textContent = this.#bytes < SMALL_BYTES
      ? "A small model, made to show what this is: it sees few pixels, and what it draws is coarse. Larger ones are served in the same way."
      : "What is served here, as it was measured when the model was made.";
    const facts = [
      ["Sees", `${sizeText(image_size)} pixels, in ${grid[1]} × ${grid[0]} places`],
      ["Tokens", `${num_sparse_tokens} of ${width} numbers`],
      ["Size", `${bytesText(this.#bytes)}, ${precision}`],
      ["Runs on", provider.replace("ExecutionProvider", "")],
      ["Licence", licence],
      ...(quality.psnr_db ? [["Drawing", `${quality.psnr_db.toFixed(1)} dB PSNR where it was judged`]] : []),
    ];
    byId("card-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
    this.dialog.showModal();
  }
}
