// Tokens in a row: each with its map, its number and its share of the picture.

import { Heat } from "./heat.js";
import { colour } from "./palette.js";
import { element } from "./element.js";

const LONGEST_ROW = 16;
const ALIKE = 3;

/** @param {number} share @returns {string} */
export function percent(share) {
  return share < 0.0995 && share > 0 ? `${(100 * share).toFixed(1)} %` : `${Math.round(100 * share)} %`;
}

/**
 * @typedef {object} Deeds what tokens of a strip can do
 * @property {(k: number, add: boolean) => void} [select]
 * @property {(k: number | null) => void} [hover]
 * @property {(k: number) => void} [remove] by the Delete key
 * @property {(node: HTMLElement, k: number) => void} [carry] make it possible to drag one
 */

/** A row of tokens. */
export class Strip {
  /** @type {HTMLElement[]} */
  #cards = [];
  /** @type {Heat[]} */
  #heats = [];

  /** @param {HTMLElement} node @param {string} prefix of the numbers @param {Deeds} deeds */
  constructor(node, prefix, deeds) {
    this.node = node;
    this.prefix = prefix;
    this.deeds = deeds;
    node.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * Show tokens.
   * @param {import("./tokens.js").Tokens} tokens @param {import("./photo.js").Photo} photo @param {boolean[]} [remaining]
   */
  show(tokens, photo, remaining) {
    if (this.#cards.length !== tokens.count) this.#build(tokens.count);
    const shares = tokens.shares();
    this.#cards.forEach((card, k) => {
      const gone = remaining ? !remaining[k] : false;
      this.#heats[k].draw(tokens, k, photo);
      card.querySelector(".share").textContent = gone ? "gone" : percent(shares[k]);
      const alike = gone ? [] : tokens.nearest(k, tokens.count).filter(({ token }) => remaining?.[token] ?? true).slice(0, ALIKE);
      const dots = card.querySelectorAll(".dot");
      dots.forEach((dot, i) => dot.style.setProperty("--token", alike[i] ? colour(alike[i].token) : "transparent"));
      const about = `${percent(shares[k])} of the picture, most like ${alike.map(({ token }) => this.prefix + token).join(", ")}`;
      card.setAttribute("aria-label", `Token ${this.prefix}${k}, ${gone ? "dropped" : about}`);
      card.title = gone ? "" : `Most like ${alike.map(({ token }) => this.prefix + token).join(", ")}`;
      card.setAttribute("aria-disabled", String(gone));
    });
  }

  /** Mark tokens. @param {number[]} selection @param {number | null} hovered */
  mark(selection, hovered) {
    this.#cards.forEach((card, k) => {
      card.setAttribute("aria-pressed", String(selection.includes(k)));
      card.classList.toggle("hovered", k === hovered);
    });
  }

  #build(count) {
    this.#cards = Array.from({ length: count }, (_, k) => {
      const card = element(
        "button",
        { type: "button", className: "token", "data-token": k, "aria-pressed": "false", tabIndex: k ? -1 : 0 },
        element("canvas", { "aria-hidden": "true" }),
        element("span", { className: "number" }, `${this.prefix}${k}`),
        element("span", { className: "share" }),
        element("span", { className: "alike" }, ...Array.from({ length: ALIKE }, () => element("span", { className: "dot" }))),
      );
      card.style.setProperty("--token", colour(k));
      card.addEventListener("click", (event) => this.#click(card, k, event));
      card.addEventListener("pointerenter", () => this.deeds.hover?.(k));
      card.addEventListener("pointerleave", () => this.deeds.hover?.(null));
      card.addEventListener("focus", () => this.#rove(k));
      this.deeds.carry?.(card, k);
      return card;
    });
    this.#heats = this.#cards.map((card) => new Heat(card.querySelector("canvas")));
    const rows = Math.ceil(count / LONGEST_ROW);
    this.node.style.setProperty("--columns", String(Math.ceil(count / rows)));
    this.node.replaceChildren(...this.#cards);
  }

  #click(card, k, event) {
    if (card.getAttribute("aria-disabled") === "true") return;
    this.deeds.select?.(k, event.shiftKey || event.ctrlKey || event.metaKey);
  }

  #rove(k) {
    this.#cards.forEach((card, m) => (card.tabIndex = m === k ? 0 : -1));
  }

  #key(event) {
    const at = this.#cards.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (at < 0) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      this.#cards[(at + step + this.#cards.length) % this.#cards.length].focus();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.shiftKey)) {
      event.preventDefault();
      this.#click(this.#cards[at], at, event);
    } else if ((event.key === "Delete" || event.key === "Backspace") && this.deeds.remove) {
      event.preventDefault();
      this.deeds.remove(at);
    }
  }
}
