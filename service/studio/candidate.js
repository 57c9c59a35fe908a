// A photo that a search may find, with its card among the results.

import { element } from "./element.js";
import { Embedded } from "./embedded.js";
import { Regions } from "./regions.js";
import { sendable } from "./sendable.js";
import { THUMB, drawSmall, outline, thumbOf } from "./thumb.js";

/** A photo to search. */
export class Candidate extends Embedded {
  /** @type {import("./tokens.js").Tokens | null} fetched for the best results only */
  #tokens = null;
  /** @type {ImageBitmap | null} */
  #thumb = null;
  /** @type {number | null} the token whose region is lit */
  #lit = null;
  #card = element("li", { className: "found" });

  /** @param {import("./studio.js").Studio} studio @param {File} file @param {string} sample its name among the samples, or "" */
  constructor(studio, file, sample) {
    super(file);
    this.studio = studio;
    this.sample = sample;
    this.canvas = element("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
  }

  async take(answer, way, pooling) {
    if (this.seenAs !== way) this.#tokens = this.#thumb = null;
    super.take(answer, way, pooling);
    if (this.vector(pooling)) await this.#draw();
  }

  /** Its card. @param {{token: number | null, score: number}} found the whole, or a token, and how close it comes @param {boolean} lit whether its region is drawn */
  card({ token, score }, lit) {
    const { file, sample } = this;
    const text = token === null ? "" : ` · token ${token}`;
    const name = element("span", {}, file.name);
    const open = element("button", { type: "button", title: `Open ${file.name}`, onclick: () => this.studio.arrivals.open(file, sample) }, this.canvas, name);
    this.#card.replaceChildren(open, element("p", { className: "minor" }, `${score.toFixed(3)}${text}`));
    this.#card.dataset.score = score.toFixed(6);
    if (lit) void this.#light(token);
    return this.#card;
  }

  /** Draw it again, without light on it. What the browser can't read has no picture. */
  async #draw() {
    const [model, fit] = this.seenAs.split(" ");
    this.#thumb ??= await thumbOf(this.file, fit, this.studio.models.named(model).image_size).catch(() => null);
    if (this.#thumb) drawSmall(this.canvas, this.#thumb);
  }

  /** Draw where the found token is. @param {number | null} token */
  async #light(token) {
    this.#lit = token;
    if (token !== null && !this.#tokens) {
      const { seenAs } = this;
      const sent = await sendable(this.file, this.studio.manifest.image_size);
      const [model, fit] = seenAs.split(" ");
      const answer = await this.studio.api.tokens(sent, model, { fit }).catch(() => null);
      if (this.seenAs === seenAs) this.#tokens = answer?.tokens ?? null;
    }
    if (this.#lit !== token) return;
    await this.#draw();
    if (token !== null && this.#tokens && this.#lit === token) outline(this.canvas, new Regions(this.#tokens), token, this.studio.selected ?? 0);
  }
}
