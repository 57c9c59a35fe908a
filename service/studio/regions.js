// Which token holds each place of the picture, with smooth borders, and how that looks in colour.

import { bordersOf } from "./outline.js";
import { rgb } from "./palette.js";

const SIDE = 288;
const LABEL_SHARE = 0.012;
const LABEL_ROOM = 18;
const LABEL_PX = 17;
const LIT_OPACITY = 0.45;
/** Of lines, in CSS pixels: white, with a dark rim, so that they show on any photo. */
const [THIN, STRONG, RIM] = [1.25, 2.5, 1.5];

/**
 * The pixels of a line of `side` in runs: each run lies between the middles of two of `cells` cells.
 * @param {number} cells @param {number} side
 * @returns {{start: number, end: number, first: number, second: number}[]}
 */
function runsBetween(cells, side) {
  const runs = [];
  for (let cell = -1; cell < cells; cell++) {
    // Pixel i is (i + 1/2) · cells / side - 1/2 cells from the middle of the first one.
    const [start, end] = [cell, cell + 1].map((place) => Math.min(side, Math.max(0, Math.ceil(((place + 0.5) * side) / cells - 0.5))));
    if (end > start) runs.push({ start, end, first: Math.max(0, cell), second: Math.min(cells - 1, cell + 1) });
  }
  return runs;
}

/**
 * The token that holds most of each pixel, between the middles of the grid's cells: (side · side) numbers.
 * @param {import("./tokens.js").Tokens} tokens @param {number} side
 */
function ownersOf({ localization, count, grid: [h, w] }, side) {
  const owner = new Uint8Array(side * side);
  const columns = runsBetween(w, side);
  for (const row of runsBetween(h, side)) {
    for (const column of columns) {
      const corners = [row.first * w + column.first, row.first * w + column.second, row.second * w + column.first, row.second * w + column.second];
      const values = corners.map((cell) => localization.subarray(cell * count, (cell + 1) * count));
      fillBlock(owner, side, values, contenders(values, count), { row, column, h, w });
    }
  }
  return owner;
}

/** The tokens that may hold most of a place between four cells: no other one holds more of all four. */
function contenders([a, b, c, d], count) {
  let floor = 0;
  for (let k = 0; k < count; k++) floor = Math.max(floor, Math.min(a[k], b[k], c[k], d[k]));
  const found = [];
  for (let k = 0; k < count; k++) if (Math.max(a[k], b[k], c[k], d[k]) >= floor) found.push(k);
  return found;
}

/** The pixels between four cells. */
function fillBlock(owner, side, [a, b, c, d], tokens, { row, column, h, w }) {
  const along = (i, run, cells) => Math.max(0, ((i + 0.5) * cells) / side - 0.5 - run.first);
  for (let y = row.start; y < row.end; y++) {
    if (tokens.length === 1) {
      owner.fill(tokens[0], y * side + column.start, y * side + column.end);
      continue;
    }
    const down = along(y, row, h);
    for (let x = column.start; x < column.end; x++) {
      const across = along(x, column, w);
      let most = -1;
      for (const k of tokens) {
        const left = a[k] + (c[k] - a[k]) * down;
        const value = left + (b[k] + (d[k] - b[k]) * down - left) * across;
        if (value > most) {
          most = value;
          owner[y * side + x] = k;
        }
      }
    }
  }
}

/** What a token holds of a pixel, between the middles of the grid's cells. @param {import("./tokens.js").Tokens} tokens */
function sharesIn({ localization, count, grid: [h, w] }) {
  const along = (cells) => Float32Array.from({ length: SIDE }, (_, i) => Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / SIDE - 0.5)));
  const [across, down] = [along(w), along(h)];
  return (k, x, y) => {
    const [u, v] = [across[x], down[y]];
    const [left, top] = [Math.floor(u), Math.floor(v)];
    const [right, bottom] = [Math.min(w - 1, left + 1), Math.min(h - 1, top + 1)];
    const at = (column, row) => localization[(row * w + column) * count + k];
    const above = at(left, top) + (at(right, top) - at(left, top)) * (u - left);
    const below = at(left, bottom) + (at(right, bottom) - at(left, bottom)) * (u - left);
    return above + (below - above) * (v - top);
  };
}

/** A pixel as image data holds it. @param {number[]} colour red, green, blue @param {number} opacity */
function packed([red, green, blue], opacity) {
  return ((Math.min(255, Math.round(255 * opacity)) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The regions of some tokens. */
export class Regions {
  /** @param {import("./tokens.js").Tokens} tokens */
  constructor(tokens) {
    this.tokens = tokens;
    this.count = tokens.count;
    this.owner = ownersOf(tokens, SIDE);
    this.canvas = new OffscreenCanvas(SIDE, SIDE);
  }

  /** The token at a place. @param {number} x from 0 to 1 @param {number} y the same */
  at(x, y) {
    const column = Math.min(SIDE - 1, Math.max(0, Math.floor(x * SIDE)));
    const row = Math.min(SIDE - 1, Math.max(0, Math.floor(y * SIDE)));
    return this.owner[row * SIDE + column];
  }

  /**
   * Paint the regions over what a canvas shows.
   * @param {CanvasRenderingContext2D} context
   * @param {{opacity: number, lit: number | null, selected: number[], labels: boolean, only?: boolean}} look `only`: nothing
   *   but what is lit or selected
   */
  draw(context, look) {
    const { width } = context.canvas;
    const lit = look.lit !== null ? [look.lit] : look.selected;
    const colours = Array.from({ length: this.count }, (_, k) => {
      if (lit.includes(k)) return packed(rgb(k), look.only ? 0 : Math.max(LIT_OPACITY, 1.15 * look.opacity));
      return packed(rgb(k), lit.length ? 0.42 * look.opacity : look.opacity);
    });
    if (colours.some((colour) => colour >>> 24)) this.#fill(context, colours);
    // Pixels of the canvas for one of the page.
    const unit = width / (context.canvas.clientWidth || width);
    this.#outline(context, lit, look.only ?? false, unit);
    if (look.labels) this.#label(context, lit, unit);
  }

  #fill(context, colours) {
    const image = new ImageData(SIDE, SIDE);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[this.owner[i]];
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(this.canvas, 0, 0, context.canvas.width, context.canvas.height);
  }

  #outline(context, lit, only, unit) {
    this.borders ??= bordersOf(this.owner, SIDE, sharesIn(this.tokens));
    const [strong, others] = [new Path2D(), new Path2D()];
    for (const { tokens, path } of this.borders) (tokens.some((k) => lit.includes(k)) ? strong : others).addPath(path);
    const { width } = context.canvas;
    const stroke = (path, colour, thickness) => {
      context.strokeStyle = colour;
      context.lineWidth = (thickness * unit) / width;
      context.stroke(path);
    };
    context.save();
    context.scale(width, width);
    context.lineJoin = "round";
    if (!only) {
      stroke(others, "#0007", THIN + RIM);
      stroke(others, "#fffc", THIN);
    }
    stroke(strong, "#0009", STRONG + RIM);
    stroke(strong, "#fff", STRONG);
    context.restore();
  }

  /** Numbers in the middle of regions that have room for them. */
  #label(context, lit, unit) {
    const scale = context.canvas.width / SIDE;
    const size = Math.min(LABEL_PX * unit, context.canvas.width / 34);
    context.font = `600 ${Math.round(size)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    const placed = [];
    const most = (k) => (lit.includes(k) ? 1 : 0);
    for (const { k, x, y } of this.#middles().toSorted((one, other) => most(other.k) - most(one.k))) {
      if (placed.some((other) => Math.hypot(other.x - x, other.y - y) < LABEL_ROOM)) continue;
      placed.push({ x, y });
      context.globalAlpha = !lit.length || lit.includes(k) ? 1 : 0.35;
      context.lineWidth = 0.3 * size;
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
