// Two pictures of one photo against each other: a slider between them, and where they differ.

import { element } from "./element.js";
import { areAlike, scaledTo } from "./size.js";

const SIDE = 480;

/** @param {ImageBitmap} bitmap @returns {Uint8ClampedArray} its RGBA values */
function valuesOf(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

/** The panel. */
export class Versus {
  constructor() {
    const canvas = (properties) => element("canvas", { width: SIDE, height: SIDE, ...properties });
    this.pictures = [canvas({ "aria-hidden": "true" }), canvas({ className: "first", "aria-hidden": "true" })];
    this.frame = element("div", { className: "frame" }, ...this.pictures, element("div", { className: "divider", "aria-hidden": "true" }));
    this.split = element("input", {
      type: "range", id: "versus-split", min: "0", max: "100", value: "50", "aria-label": "How much of the picture is the left model's",
      oninput: () => this.#divide(),
    });
    this.difference = canvas({ id: "versus-difference", role: "img", "aria-label": "Where the pictures differ" });
    this.legend = element("figcaption", { className: "minor" });
    this.node = element("section", { className: "panel versus", "aria-labelledby": "versus-title", hidden: true },
      element("h2", { id: "versus-title" }, "One against the other"),
      element("div", { className: "columns" },
        element("figure", {}, this.frame, this.split),
        element("figure", {}, this.difference, this.legend)));
    this.#divide();
  }

  /** Show two pictures. @param {ImageBitmap} left @param {ImageBitmap} right @returns {string} how far they are apart, in words */
  show(left, right) {
    this.node.hidden = !areAlike(left, right);
    if (this.node.hidden) return "The models draw pictures of different shapes.";
    const size = scaledTo(left, SIDE);
    this.frame.style.setProperty("--shape", String(size.width / size.height));
    [right, left].forEach((bitmap, i) => {
      Object.assign(this.pictures[i], size);
      this.pictures[i].getContext("2d").drawImage(bitmap, 0, 0, size.width, size.height);
    });
    const comparable = left.width === right.width;
    this.difference.parentElement.hidden = !comparable;
    return comparable ? this.#compare(left, right) : "The models draw at different sizes.";
  }

  #divide() {
    this.frame.style.setProperty("--split", `${this.split.value}%`);
    this.split.setAttribute("aria-valuetext", `${this.split.value} % left`);
  }

  /** The largest difference is white. */
  #compare(left, right) {
    const [a, b] = [left, right].map(valuesOf);
    const levels = new Uint8ClampedArray(a.length / 4);
    let sum = 0;
    a.forEach((value, i) => {
      const apart = Math.abs(value - b[i]);
      sum += apart;
      levels[i >> 2] = Math.max(levels[i >> 2], apart);
    });
    const most = levels.reduce((one, other) => Math.max(one, other), 0);
    this.difference.hidden = !most;
    const image = new ImageData(left.width, left.height);
    levels.forEach((level, i) => image.data.set([level, level, level].map((value) => (255 * value) / (most || 1)).concat(255), 4 * i));
    Object.assign(this.difference, { width: left.width, height: left.height });
    this.difference.getContext("2d").putImageData(image, 0, 0);
    this.legend.textContent = most ? `Where they differ: white is ${most} of 255 levels.` : "They differ nowhere.";
    if (!most) return "The two reconstructions are the same.";
    return `The two reconstructions differ by ${((sum / a.length) * (4 / 3)).toFixed(2)} of 255 levels on average, by ${most} at most.`;
  }
}
