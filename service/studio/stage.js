// The photo with its tokens' regions: hover, select, move and paint on it.

import { byId, element, say } from "./element.js";
import { fitToScreen } from "./canvas.js";
import { FITS } from "./photo.js";
import { Regions } from "./regions.js";
import { sizeOf } from "./size.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {{kind: "move" | "paint" | "tap", token: number, from: number[], cells: Map<string, number[]>, moved: boolean,
 *   fresh: boolean, add: boolean}} Gesture */

/** The cells from one to another, both among them. @param {number[]} from @param {number[]} to @returns {number[][]} */
function line([x, y], to) {
  const [dx, dy] = [to[0] - x, to[1] - y];
  const steps = Math.max(Math.abs(dx), Math.abs(dy), 1);
  return Array.from({ length: steps + 1 }, (_, i) => [Math.round(x + (dx * i) / steps), Math.round(y + (dy * i) / steps)]);
}

/** @param {number} share */
function percentSent(share) {
  return share ? ` ${Math.round(100 * share)} % sent` : "";
}

/** The left picture. */
export class Stage {
  /** @type {Gesture | null} */
  #gesture = null;
  /** @type {number[] | null} the cell under the brush */
  #cursor = null;
  #frame = 0;
  #tool = "move";
  /** @type {Regions | null} */
  regions = null;

  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.overlay = byId("overlay");
    this.brush = byId("brush");
    fitToScreen(byId("photo"), () => this.#drawPhoto());
    fitToScreen(this.overlay, () => this.#draw());
    for (const kind of ["models", "photo"]) studio.addEventListener(kind, () => this.#shape());
    studio.addEventListener("photo", () => this.#showPhoto());
    studio.addEventListener("tokens", () => {
      this.regions = new Regions(studio.edited.tokens);
      this.#redraw();
    });
    studio.arrivals.addEventListener("change", () => this.#showCaption());
    for (const kind of ["selection", "hover"]) studio.addEventListener(kind, () => this.#redraw());
    for (const id of ["show-regions", "opacity"]) byId(id).addEventListener("input", () => this.#redraw());
    byId("fit").append(...Object.entries(FITS).map(([value, words]) => element("option", { value }, words)));
    byId("fit").addEventListener("change", (event) => studio.arrivals.useFit(event.target.value));
    for (const tool of ["move", "paint"]) byId(`tool-${tool}`).addEventListener("click", () => this.#use(tool));
    this.overlay.addEventListener("pointerdown", (event) => this.#begin(event));
    this.overlay.addEventListener("pointermove", (event) => this.#follow(event));
    this.overlay.addEventListener("pointerup", () => this.#end());
    this.overlay.addEventListener("pointercancel", () => this.giveUp());
    // What is no gesture of ours scrolls the page.
    const ours = () => this.#gesture && this.#gesture.kind !== "tap";
    this.overlay.addEventListener("touchmove", (event) => ours() && event.preventDefault(), { passive: false });
    this.overlay.addEventListener("pointerleave", () => this.#leave());
    this.overlay.addEventListener("keydown", (event) => this.#key(event));
    this.overlay.addEventListener("blur", () => this.#leave());
  }

  /** The token at a point of the window, or null beside the picture. @param {number} x @param {number} y */
  tokenAt(x, y) {
    const frame = this.overlay.parentElement.getBoundingClientRect();
    const inside = x >= frame.left && x < frame.right && y >= frame.top && y < frame.bottom;
    const box = this.overlay.getBoundingClientRect();
    return inside && this.regions ? this.regions.at((x - box.left) / box.width, (y - box.top) / box.height) : null;
  }

  /** Give both pictures the model's shape. */
  #shape() {
    const { width, height } = sizeOf(this.studio.manifest.image_size);
    byId("view-edit").style.setProperty("--shape", String(width / height));
  }

  #use(tool) {
    this.#tool = tool;
    this.#cursor = null;
    for (const each of ["move", "paint"]) byId(`tool-${each}`).setAttribute("aria-pressed", String(each === tool));
    byId("brush-label").hidden = tool !== "paint";
    this.overlay.dataset.tool = tool;
    if (tool === "paint" && this.studio.selected === null) say("Select the token that you want to paint with.");
    this.#redraw();
  }

  #showPhoto() {
    const { photo } = this.studio;
    this.#drawPhoto();
    byId("waiting").hidden = true;
    this.#showCaption();
    this.overlay.setAttribute("aria-label", `${photo.name} with the regions of its ${this.studio.tokens.count} tokens`);
  }

  #drawPhoto() {
    const context = byId("photo").getContext("2d");
    const { width, height } = context.canvas;
    context.imageSmoothingQuality = "high";
    if (this.studio.photo?.view) context.drawImage(this.studio.photo.view, 0, 0, width, height);
  }

  #showCaption() {
    const { photo } = this.studio;
    const { photo: opening, share } = this.studio.arrivals;
    byId("picture-frame").setAttribute("aria-busy", String(Boolean(opening)));
    if (opening && !share) say(`Opening ${opening}…`);
    if (!photo) byId("waiting").textContent = opening ? "Opening…" : "Nothing to show yet.";
    byId("waiting").hidden ||= photo !== null && Boolean(opening);
    byId("fit-label").hidden = !photo || photo.fits;
    byId("fit").value = photo?.fit ?? "crop";
    const size = photo && `${photo.name} · ${photo.size.join(" × ")}`;
    byId("source-size").title = photo?.name ?? "";
    byId("source-size").textContent = opening ? `Opening ${opening}…${percentSent(share)}` : size;
  }

  #cell(event) {
    const box = this.overlay.getBoundingClientRect();
    const [h, w] = this.studio.tokens.grid;
    const place = (value, cells) => Math.min(cells - 1, Math.max(0, Math.floor(value * cells)));
    return [place((event.clientX - box.left) / box.width, w), place((event.clientY - box.top) / box.height, h)];
  }

  /** The cells that the brush covers around one. */
  #covered([x, y]) {
    const size = Number(this.brush.value);
    const [h, w] = this.studio.tokens.grid;
    const start = Math.floor((size - 1) / 2);
    const cells = [];
    for (let row = y - start; row < y - start + size; row++) {
      for (let column = x - start; column < x - start + size; column++) {
        if (row >= 0 && row < h && column >= 0 && column < w) cells.push([column, row]);
      }
    }
    return cells;
  }

  #begin(event) {
    const { studio } = this;
    if (!studio.tokens || event.button > 0) return;
    this.overlay.setPointerCapture(event.pointerId);
    const under = this.tokenAt(event.clientX, event.clientY);
    const from = this.#cell(event);
    const add = event.shiftKey || event.ctrlKey || event.metaKey;
    if (this.#tool === "paint") {
      if (studio.selected === null) studio.select(under);
      this.#gesture = { kind: "paint", token: studio.selected, from, cells: new Map(), moved: true, fresh: false, add };
      this.#paint(from);
    } else {
      const fresh = !studio.selection.includes(under);
      // A finger moves what it has selected before; elsewhere it scrolls the page.
      const kind = fresh && event.pointerType !== "mouse" ? "tap" : "move";
      if (fresh && kind === "move") studio.select(under, add);
      this.#gesture = { kind, token: under, from, cells: new Map(), moved: false, fresh, add };
    }
  }

  #follow(event) {
    const { studio } = this;
    if (!studio.tokens) return;
    const cell = this.#cell(event);
    const gesture = this.#gesture;
    if (!gesture) {
      studio.hover(this.tokenAt(event.clientX, event.clientY));
      if (this.#tool === "paint") this.#point(cell);
      return;
    }
    if (gesture.kind === "tap") return;
    if (gesture.kind === "paint") {
      this.#point(cell);
      // Browsers tell of a fast pointer once a frame, with the places between; what they leave out lies on a line.
      const way = event.getCoalescedEvents?.() ?? [];
      for (const each of way.length ? way : [event]) this.#paint(this.#cell(each));
      return;
    }
    const [dx, dy] = [cell[0] - gesture.from[0], cell[1] - gesture.from[1]];
    if (!gesture.moved && !dx && !dy) return;
    gesture.moved = true;
    studio.hover(gesture.token);
    const now = `${dx},${dy}`;
    if (gesture.last === now) return;
    gesture.last = now;
    // Who drags one of several drags all.
    const moved = studio.selection.includes(gesture.token) ? studio.selection : [gesture.token];
    studio.draft(...(dx || dy ? moved.map((token) => ({ op: "move", token, dx, dy })) : []));
  }

  #paint(cell) {
    const { token, cells, from } = this.#gesture;
    const before = cells.size;
    for (const step of line(from, cell)) for (const each of this.#covered(step)) cells.set(String(each), each);
    this.#gesture.from = cell;
    if (cells.size > before) this.studio.draft({ op: "paint", token, cells: [...cells.values()] });
  }

  #end() {
    const gesture = this.#gesture;
    this.#gesture = null;
    if (!gesture) return;
    if (gesture.moved) this.studio.commit();
    else if (gesture.kind === "tap" || !gesture.fresh) this.studio.select(gesture.token, gesture.add);
  }

  /** Leave off what a pointer has begun. */
  giveUp() {
    if (this.#gesture?.moved) this.studio.draft();
    this.#gesture = null;
  }

  #leave() {
    if (this.#gesture) return;
    this.#point(null);
    this.studio.hover(null);
  }

  #point(cell) {
    if (String(cell) === String(this.#cursor)) return;
    this.#cursor = cell;
    this.#redraw();
  }

  #key(event) {
    const step = ARROWS[event.key];
    const { studio } = this;
    if (!studio.tokens || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.#tool === "paint" && (step || event.key === " ")) {
      event.preventDefault();
      const [h, w] = studio.tokens.grid;
      const at = this.#cursor ?? [Math.floor(w / 2), Math.floor(h / 2)];
      if (step) this.#point([Math.min(w - 1, Math.max(0, at[0] + step[0])), Math.min(h - 1, Math.max(0, at[1] + step[1]))]);
      else if (studio.selected !== null) studio.edit({ op: "paint", token: studio.selected, cells: this.#covered(at) });
      say(step ? `Column ${this.#cursor[0] + 1}, row ${this.#cursor[1] + 1}` : `Painted token ${studio.selected}`);
    } else if (step && studio.selected !== null) {
      event.preventDefault();
      studio.edit(...studio.selection.map((token) => ({ op: "move", token, dx: step[0], dy: step[1] })));
    }
  }

  #redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #draw() {
    if (!this.regions) return;
    const { studio } = this;
    const shown = byId("show-regions").checked;
    byId("opacity").disabled = !shown;
    const context = this.overlay.getContext("2d");
    const opacity = Number(byId("opacity").value);
    const lit = studio.hovered !== null && studio.remains(studio.hovered) ? studio.hovered : null;
    const labels = shown && this.#tool === "move";
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    this.regions.draw(context, { opacity: shown ? opacity : 0, lit, selected: studio.selection, labels, only: !shown });
    if (this.#tool === "paint" && this.#cursor) this.#drawBrush(context);
  }

  #drawBrush(context) {
    const [h, w] = this.studio.tokens.grid;
    const [x, y] = this.#covered(this.#cursor)[0];
    const cells = this.#covered(this.#cursor);
    const [right, bottom] = cells.at(-1);
    const [stepX, stepY] = [context.canvas.width / w, context.canvas.height / h];
    context.lineWidth = 4;
    context.strokeStyle = "#fff";
    context.strokeRect(x * stepX, y * stepY, (right - x + 1) * stepX, (bottom - y + 1) * stepY);
    context.lineWidth = 1.5;
    context.strokeStyle = "#000";
    context.strokeRect(x * stepX, y * stepY, (right - x + 1) * stepX, (bottom - y + 1) * stepY);
  }
}
