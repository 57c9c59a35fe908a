// The photos of a search as a map: what is alike lies close together.

import { element } from "./element.js";
import { placesOf } from "./plane.js";

const MOST = 150;

/** A picture of places; the list below it says the same in order, and is for keys and screen readers. */
export class FoundMap {
  /** @param {(item: any) => void} open */
  constructor(open) {
    this.open = open;
    this.area = element("div", { className: "area", role: "img", "aria-label": "Map of the photos: what is alike lies close together" });
    this.node = element("details", { className: "panel map", id: "search-map", ontoggle: () => this.#draw() },
      element("summary", {}, "Map of these photos"), this.area,
      element("p", { className: "minor" }, "What is alike lies close together (the two principal components of the vectors). The ring marks the photo that is searched for."));
    this.show(null, []);
  }

  /**
   * @param {{vector: Float32Array, canvas: HTMLCanvasElement} | null} asked what is searched for
   * @param {{vector: Float32Array, item: any}[]} found best first
   */
  show(asked, found) {
    this.shown = asked && found.length > 1 ? { asked, found: found.slice(0, MOST) } : null;
    this.node.hidden = !this.shown;
    this.#draw();
  }

  #draw() {
    if (!this.shown || !this.node.open) return this.area.replaceChildren();
    const { asked, found } = this.shown;
    const places = placesOf([asked, ...found].map(({ vector }) => vector));
    const spots = [asked.canvas, ...found.map(({ item }) => item.canvas)].map((canvas, i) => {
      const small = element("canvas", { width: canvas.width, height: canvas.height });
      small.getContext("2d").drawImage(canvas, 0, 0);
      const [x, y] = places[i];
      const item = i ? found[i - 1].item : null;
      const spot = element("span", { className: item ? "spot" : "spot asked", title: item ? `Open ${item.file.name}` : "What is searched for" }, small);
      spot.style.setProperty("--x", x.toFixed(4));
      spot.style.setProperty("--y", y.toFixed(4));
      if (item) spot.addEventListener("click", () => this.open(item));
      return spot;
    });
    // The best ones lie above the others.
    this.area.replaceChildren(...spots.toReversed());
  }
}
