// Which part of a photo that has another shape the model sees: a frame on a small picture of all of it, to be dragged.

import { byId } from "./element.js";
import { sizeOf } from "./size.js";

const STEP = 0.1;
const DIGITS = 4;
const STEPS = { ArrowLeft: -STEP, ArrowUp: -STEP, ArrowRight: STEP, ArrowDown: STEP, Home: -1, End: 1 };
const MIDDLE = 0.5;

/** The chooser in the corner of the photo. The frame's place is told from 0, at the left or top, to 1. */
export class Crop {
  #at = MIDDLE;
  /** @type {number | null} where the frame is held, while it is dragged: in shares of the side along which it moves, from its start */
  #held = null;

  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.node = byId("crop");
    this.node.addEventListener("pointerdown", (event) => this.#grasp(event));
    this.node.addEventListener("pointermove", (event) => this.#held !== null && this.#show(this.#placeOf(event)));
    this.node.addEventListener("pointerup", () => this.#release());
    this.node.addEventListener("pointercancel", () => this.#reset());
    this.node.addEventListener("keydown", (event) => this.#key(event));
    this.node.addEventListener("keyup", (event) => event.key in STEPS && this.#choose());
    studio.addEventListener("photo", () => this.#open());
    studio.arrivals.addEventListener("change", () => studio.arrivals.photo || this.#reset());
  }

  /** How much wider the photo is than the frame, both being as high. */
  get #wider() {
    const { width, height } = this.studio.tokens.source;
    const frame = sizeOf(this.studio.photo.side);
    return (width * frame.height) / (height * frame.width);
  }

  /** How long the frame is, in shares of the photo's side along which it moves. */
  get #share() {
    return Math.min(this.#wider, 1 / this.#wider);
  }

  get #lies() {
    return this.#wider > 1;
  }

  #open() {
    const { photo, tokens } = this.studio;
    const { width, height } = tokens.source;
    this.node.hidden = photo.fit !== "crop" || !photo.small;
    if (this.node.hidden) return;
    const canvas = byId("crop-photo");
    [canvas.width, canvas.height] = [photo.small.width, photo.small.height];
    canvas.getContext("2d").drawImage(photo.small, 0, 0);
    const { style } = this.node;
    style.setProperty("--across", String(width / Math.max(width, height)));
    style.setProperty("--ratio", `${width} / ${height}`);
    this.node.setAttribute("aria-orientation", this.#lies ? "horizontal" : "vertical");
    this.#reset();
  }

  /** Back to what the model sees. */
  #reset() {
    this.#held = null;
    if (this.node.hidden || !this.studio.photo) return;
    const [left, top] = this.studio.photo.box ? this.studio.photo.box.split(",").map(Number) : [];
    this.#show(left === undefined ? MIDDLE : (this.#lies ? left : top) / (1 - this.#share));
  }

  #show(at) {
    this.#at = Number(Math.min(1, Math.max(0, at)).toFixed(3));
    const start = this.#at * (1 - this.#share);
    const [across, down] = this.#lies ? [this.#share, 1] : [1, this.#share];
    const { style } = this.node;
    const places = { left: this.#lies ? start : 0, top: this.#lies ? 0 : start, width: across, height: down };
    for (const [name, share] of Object.entries(places)) style.setProperty(`--square-${name}`, `${100 * share}%`);
    const value = Math.round(100 * this.#at);
    this.node.setAttribute("aria-valuenow", String(value));
    this.node.setAttribute("aria-valuetext", value === 50 ? "the middle" : `${value} % of the way from the ${this.#lies ? "left" : "top"}`);
  }

  /** Where the pointer is, in shares of the side along which the frame moves. */
  #along({ clientX, clientY }) {
    const box = this.node.getBoundingClientRect();
    return this.#lies ? (clientX - box.left) / box.width : (clientY - box.top) / box.height;
  }

  #grasp(event) {
    if (event.button > 0) return;
    this.node.setPointerCapture(event.pointerId);
    const within = this.#along(event) - this.#at * (1 - this.#share);
    this.#held = within >= 0 && within <= this.#share ? within : this.#share / 2;
    this.#show(this.#placeOf(event));
  }

  #placeOf(event) {
    return (this.#along(event) - this.#held) / (1 - this.#share);
  }

  #release() {
    if (this.#held === null) return;
    this.#held = null;
    this.#choose();
  }

  #key(event) {
    if (!(event.key in STEPS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#show(this.#at + STEPS[event.key]);
  }

  /** Let the model see what is chosen. */
  #choose() {
    const box = this.#box();
    if (box !== (this.studio.photo.box ?? "")) void this.studio.arrivals.useBox(box);
  }

  /** As the API takes it; nothing for the middle, which is what it crops to. */
  #box() {
    if (Math.round(100 * this.#at) === 50) return "";
    const start = this.#at * (1 - this.#share);
    const [from, to] = [start, start + this.#share].map((share) => String(Number(Math.min(1, share).toFixed(DIGITS))));
    return this.#lies ? `${from},0,${to},1` : `0,${from},1,${to}`;
  }
}
