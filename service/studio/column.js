// One side of the compare view: a model, the regions of its tokens, its picture, and what was measured.

import { Regions } from "./regions.js";
import { element } from "./element.js";
import { percent } from "./strip.js";
import { scaledTo } from "./size.js";

const SIDE = 480;
const HINT = "Point at a place to see which token holds it.";

/** A model's side. `pointed` is told the place under the pointer, from 0 to 1, or null. */
export class Column {
  /** @type {{canvas: HTMLCanvasElement, ground: OffscreenCanvas, look: object}[]} */
  #pictures;
  /** @type {Regions | null} */
  #regions = null;
  #shares = [];
  /** @type {number | null} */
  #lit = null;

  /** @param {string} side @param {() => void} chosen @param {(place: number[] | null) => void} pointed */
  constructor(side, chosen, pointed) {
    this.select = element("select", { "aria-label": `${side} model`, onchange: chosen });
    const looks = { regions: { opacity: 0.45, labels: true }, reconstruction: { opacity: 0, labels: false, only: true } };
    this.#pictures = Object.entries(looks).map(([what, look]) => {
      const canvas = element("canvas", {
        width: SIDE, height: SIDE, role: "img", "aria-label": `${side}: ${what}`,
        onpointermove: (event) => pointed(placeIn(canvas, event)), onpointerleave: () => pointed(null),
      });
      return { canvas, ground: new OffscreenCanvas(SIDE, SIDE), look };
    });
    this.held = element("p", { className: "minor held" }, HINT);
    this.facts = element("dl", { className: "facts" });
    const pair = element("div", { className: "pair" }, ...this.#pictures.map(({ canvas }) => canvas));
    this.node = element("section", { className: "panel column", "aria-label": side }, this.select, pair, this.held, this.facts);
  }

  /** @param {import("./tokens.js").Tokens} tokens @param {ImageBitmap} photo @param {ImageBitmap} drawn */
  show(tokens, photo, drawn) {
    this.#regions = new Regions(tokens);
    this.#shares = tokens.shares();
    const size = scaledTo(photo, SIDE);
    [photo, drawn].forEach((bitmap, i) => {
      const { canvas, ground } = this.#pictures[i];
      for (const each of [canvas, ground]) Object.assign(each, size);
      ground.getContext("2d").drawImage(bitmap, 0, 0, size.width, size.height);
    });
    this.#draw(null);
  }

  /** Show what holds a place. @param {number[] | null} place from 0 to 1 */
  point(place) {
    const lit = (place && this.#regions?.at(place[0], place[1])) ?? null;
    if (lit !== this.#lit) this.#draw(lit);
  }

  #draw(lit) {
    this.#lit = lit;
    this.held.textContent = lit === null ? HINT : `Token ${lit}, ${percent(this.#shares[lit])} of the picture`;
    for (const { canvas, ground, look } of this.#pictures) {
      const context = canvas.getContext("2d");
      context.drawImage(ground, 0, 0);
      this.#regions.draw(context, { ...look, lit, selected: [] });
    }
  }
}

/** @param {HTMLElement} node @param {PointerEvent} event */
function placeIn(node, { clientX, clientY }) {
  const box = node.getBoundingClientRect();
  return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
}
