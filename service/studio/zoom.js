// How near one looks at the two pictures: both show the same part, by wheel, fingers, keys or buttons.

import { byId, say } from "./element.js";

const LARGEST = 8;
const STEP = 1.5;
const PAN = 0.1;
const WHEEL = 0.0025;
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** The part of the pictures that their frames show. Shares are of a frame's side. */
export class Zoom {
  #scale = 1;
  /** Where the pictures' left upper corner lies. */
  #at = [0, 0];
  /** @type {Map<number, PointerEvent>} fingers on a picture */
  #fingers = new Map();

  /** @param {import("./studio.js").Studio} studio @param {import("./stage.js").Stage} stage gives up its gesture when a second finger comes */
  constructor(studio, stage) {
    this.stage = stage;
    for (const id of ["picture-frame", "result-frame"]) this.#listen(byId(id));
    byId("zoom-in").addEventListener("click", () => this.#to(STEP * this.#scale));
    byId("zoom-out").addEventListener("click", () => this.#to(this.#scale / STEP));
    byId("overlay").addEventListener("keydown", (event) => this.#key(event));
    studio.addEventListener("photo", () => this.#to(1));
    this.#show();
  }

  #listen(frame) {
    frame.addEventListener("wheel", (event) => this.#wheel(event, frame), { passive: false });
    frame.addEventListener("pointerdown", (event) => this.#press(event), { capture: true });
    frame.addEventListener("pointermove", (event) => this.#pinch(event, frame), { capture: true });
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => this.#fingers.delete(event.pointerId), { capture: true });
    // Two fingers are for the picture, one scrolls the page.
    frame.addEventListener("touchmove", (event) => event.touches.length > 1 && event.preventDefault(), { passive: false });
  }

  /** What wheels with a key pressed, and fingers on touchpads, tell; without, it scrolls: in the picture, once that is enlarged. */
  #wheel(event, frame) {
    if (event.ctrlKey) {
      event.preventDefault();
      this.#to(this.#scale * Math.exp(-WHEEL * event.deltaY * (event.deltaMode ? 16 : 1)), placeIn(frame, event));
    } else if (this.#scale > 1) {
      event.preventDefault();
      const { width } = frame.getBoundingClientRect();
      this.#pan(-event.deltaX / width, -event.deltaY / width);
    }
  }

  #press(event) {
    if (event.pointerType !== "touch") return;
    this.#fingers.set(event.pointerId, event);
    if (this.#fingers.size < 2) return;
    this.stage.giveUp();
    event.stopPropagation();
  }

  /** What lies under two fingers goes on lying there. */
  #pinch(event, frame) {
    if (!this.#fingers.has(event.pointerId)) return;
    const before = this.#pair(frame);
    this.#fingers.set(event.pointerId, event);
    if (this.#fingers.size < 2) return;
    event.stopPropagation();
    const after = this.#pair(frame);
    this.#to(this.#scale * (after.apart / before.apart), before.middle);
    this.#pan(after.middle[0] - before.middle[0], after.middle[1] - before.middle[1]);
  }

  #pair(frame) {
    const [[x, y], [u, v] = [x, y]] = [...this.#fingers.values()].map((finger) => placeIn(frame, finger));
    return { middle: [(x + u) / 2, (y + v) / 2], apart: Math.max(0.01, Math.hypot(u - x, v - y)) };
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey) return;
    const step = event.altKey && this.#scale > 1 ? ARROWS[event.key] : null;
    if (step) this.#pan(PAN * step[0], PAN * step[1]);
    else if (event.key === "+" || event.key === "=") this.#to(STEP * this.#scale);
    else if (event.key === "-") this.#to(this.#scale / STEP);
    else if (event.key === "0") this.#to(1);
    else return;
    event.preventDefault();
  }

  /** Enlarge, and leave a place of the frame where it is. @param {number} scale @param {number[]} [place] the middle */
  #to(scale, place = [0.5, 0.5]) {
    const before = this.#scale;
    this.#scale = Math.min(LARGEST, Math.max(1, scale));
    this.#at = this.#at.map((corner, i) => place[i] - ((place[i] - corner) * this.#scale) / before);
    this.#pan(0, 0);
    if (Math.round(100 * before) !== Math.round(100 * this.#scale)) say(`Enlarged to ${Math.round(100 * this.#scale)} %.`);
  }

  #pan(dx, dy) {
    const least = 1 - this.#scale;
    this.#at = [this.#at[0] + dx, this.#at[1] + dy].map((corner) => Math.min(0, Math.max(least, corner)));
    this.#show();
  }

  #show() {
    const { style } = byId("view-edit");
    style.setProperty("--zoom", String(this.#scale));
    style.setProperty("--left", `${100 * this.#at[0]}%`);
    style.setProperty("--top", `${100 * this.#at[1]}%`);
    byId("zoom-out").disabled = this.#scale === 1;
    byId("zoom-in").disabled = this.#scale === LARGEST;
  }
}

/** Where in a frame something happened. @param {HTMLElement} frame @param {{clientX: number, clientY: number}} event */
function placeIn(frame, { clientX, clientY }) {
  const box = frame.getBoundingClientRect();
  return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
}
