// Which token holds each place of the picture, with smooth borders, and how that looks in colour.

import { rgb } from "./palette.js";

const SIDE = 288;
const LABEL_SHARE = 0.012;
const LABEL_ROOM = 18;
const LIT_OPACITY = 0.45;

/**
 * Between which cells of a row of `cells` the middles of `side` pixels lie, and how far along.
 * @param {number} cells @param {number} side
 */
function between(cells, side) {
  const first = new Int32Array(side);
  const second = new Int32Array(side);
  const share = new Float32Array(side);
  for (let i = 0; i < side; i++) {
    const place = Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / side - 0.5));
    first[i] = Math.floor(place);
    second[i] = Math.min(cells - 1, first[i] + 1);
    share[i] = place - first[i];
  }
  return { first, second, share };
}

/** A grid's values at a finer size, between the middles of its cells. @param {Float32Array} map @param {number[]} grid */
export function enlarged(map, [h, w], side) {
  const fine = new Float32Array(side * side);
  const [across, down] = [between(w, side), between(h, side)];
  const row = new Float32Array(w);
  for (let y = 0; y < side; y++) {
    const [top, bottom, share] = [down.first[y] * w, down.second[y] * w, down.share[y]];
    for (let x = 0; x < w; x++) row[x] = map[top + x] + (map[bottom + x] - map[top + x]) * share;
    for (let x = 0; x < side; x++) {
      const left = row[across.first[x]];
      fine[y * side + x] = left + (row[across.second[x]] - left) * across.share[x];
    }
  }
  return fine;
}

/** A pixel as image data holds it. @param {number[]} colour red, green, blue @param {number} opacity */
function packed([red, green, blue], opacity) {
  return ((Math.min(255, Math.round(255 * opacity)) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The regions of some tokens. */
export class Regions {
  /** @param {import("./tokens.js").Tokens} tokens */
  constructor(tokens) {
    this.count = tokens.count;
    this.owner = new Uint8Array(SIDE * SIDE);
    const most = new Float32Array(SIDE * SIDE).fill(-1);
    for (let k = 0; k < this.count; k++) {
      const fine = enlarged(tokens.map(k), tokens.grid, SIDE);
      for (let i = 0; i < fine.length; i++) {
        if (fine[i] > most[i]) {
          most[i] = fine[i];
          this.owner[i] = k;
        }
      }
    }
    this.canvas = new OffscreenCanvas(SIDE, SIDE);
  }

  /** The token at a place. @param {number} x from 0 to 1 @param {number} y the same */
  at(x, y) {
    const column = Math.min(SIDE - 1, Math.max(0, Math.floor(x * SIDE)));
    const row = Math.min(SIDE - 1, Math.max(0, Math.floor(y * SIDE)));
    return this.owner[row * SIDE + column];
  }

  /**
   * Paint the regions over a canvas.
   * @param {CanvasRenderingContext2D} context
   * @param {{opacity: number, lit: number | null, selected: number[], labels: boolean, only?: boolean}} look `only`: nothing
   *   but what is lit or selected
   */
  draw(context, look) {
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    const image = new ImageData(SIDE, SIDE);
    const pixels = new Uint32Array(image.data.buffer);
    const lit = look.lit !== null ? [look.lit] : look.selected;
    const colours = Array.from({ length: this.count }, (_, k) => {
      if (lit.includes(k)) return packed(rgb(k), look.only ? 0 : Math.max(LIT_OPACITY, 1.15 * look.opacity));
      return packed(rgb(k), lit.length ? 0.42 * look.opacity : look.opacity);
    });
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[this.owner[i]];
    this.#outline(pixels, lit, look.only ?? false);
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.canvas, 0, 0, width, height);
    if (look.labels) this.#label(context, lit);
  }

  /** White lines with a dark side, so that they show on any photo. */
  #outline(pixels, lit, only) {
    const { owner } = this;
    const bright = Array.from({ length: this.count }, (_, k) => lit.includes(k));
    const [strong, light, dark] = [packed([255, 255, 255], 1), packed([255, 255, 255], 0.7), packed([0, 0, 0], 0.45)];
    for (let y = 1; y < SIDE - 1; y++) {
      for (let i = y * SIDE + 1; i < (y + 1) * SIDE - 1; i++) {
        const k = owner[i];
        const [right, below, left, above] = [owner[i + 1], owner[i + SIDE], owner[i - 1], owner[i - SIDE]];
        if (right === k && below === k && left === k && above === k) continue;
        if (bright[k] || bright[right] || bright[below] || bright[left] || bright[above]) pixels[i] = strong;
        else if (!only) pixels[i] = right !== k || below !== k ? light : dark;
      }
    }
  }

  /** Numbers in the middle of regions that have room for them. */
  #label(context, lit) {
    const scale = context.canvas.width / SIDE;
    context.font = `600 ${Math.round(context.canvas.width / 34)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const placed = [];
    const most = (k) => (lit.includes(k) ? 1 : 0);
    for (const { k, x, y } of this.#middles().toSorted((one, other) => most(other.k) - most(one.k))) {
      if (placed.some((other) => Math.hypot(other.x - x, other.y - y) < LABEL_ROOM)) continue;
      placed.push({ x, y });
      context.globalAlpha = !lit.length || lit.includes(k) ? 1 : 0.35;
      context.lineWidth = context.canvas.width / 110;
      context.strokeStyle = "#000b";
      context.strokeText(String(k), x * scale, y * scale);
      context.fillStyle = "#fff";
      context.fillText(String(k), x * scale, y * scale);
    }
    context.globalAlpha = 1;
  }

  /** For each large region its point that is nearest to its centre of mass. */
  #middles() {
    this.middles ??= this.#findMiddles();
    return this.middles;
  }

  #findMiddles() {
    const sums = Array.from({ length: this.count }, () => ({ n: 0, x: 0, y: 0 }));
    for (let i = 0; i < this.owner.length; i++) {
      const sum = sums[this.owner[i]];
      sum.n += 1;
      sum.x += i % SIDE;
      sum.y += Math.floor(i / SIDE);
    }
    const best = sums.map((sum, k) => ({ k, distance: Infinity, x: 0, y: 0, large: sum.n > LABEL_SHARE * SIDE * SIDE }));
    for (let y = 4; y < SIDE - 4; y += 3) {
      for (let x = 4; x < SIDE - 4; x += 3) {
        const i = y * SIDE + x;
        const k = this.owner[i];
        // Inside, not on a border.
        if ([i - 4, i + 4, i - 4 * SIDE, i + 4 * SIDE].some((near) => this.owner[near] !== k)) continue;
        const distance = (x - sums[k].x / sums[k].n) ** 2 + (y - sums[k].y / sums[k].n) ** 2;
        if (distance < best[k].distance) Object.assign(best[k], { distance, x, y });
      }
    }
    return best.filter(({ large, distance }) => large && distance < Infinity);
  }
}
