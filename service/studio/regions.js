// Which token holds each place of the picture, with smooth borders, and how that looks in colour.

import { bordersOf } from "./outline.js";
import { rgb } from "./palette.js";
import { scaledTo } from "./size.js";

/** The longer one, in pixels. */
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
 * The token that holds most of each pixel, between the middles of the grid's cells, row by row.
 * @param {import("./tokens.js").Tokens} tokens @param {import("./size.js").Size} size
 */
function ownersOf({ localization, count, grid: [h, w] }, size) {
  const owner = new Uint8Array(size.width * size.height);
  const columns = runsBetween(w, size.width);
  for (const row of runsBetween(h, size.height)) {
    for (const column of columns) {
      const corners = [row.first * w + column.first, row.first * w + column.second, row.second * w + column.first, row.second * w + column.second];
      const values = corners.map((cell) => localization.subarray(cell * count, (cell + 1) * count));
      fillBlock(owner, size, values, contenders(values, count), { row, column, h, w });
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
function fillBlock(owner, { width, height }, [a, b, c, d], tokens, { row, column, h, w }) {
  const along = (i, run, cells, length) => Math.max(0, ((i + 0.5) * cells) / length - 0.5 - run.first);
  for (let y = row.start; y < row.end; y++) {
    if (tokens.length === 1) {
      owner.fill(tokens[0], y * width + column.start, y * width + column.end);
      continue;
    }
    const down = along(y, row, h, height);
    for (let x = column.start; x < column.end; x++) {
      const across = along(x, column, w, width);
      let most = -1;
      for (const k of tokens) {
        const left = a[k] + (c[k] - a[k]) * down;
        const value = left + (b[k] + (d[k] - b[k]) * down - left) * across;
        if (value > most) {
          most = value;
          owner[y * width + x] = k;
        }
      }
    }
  }
}

/** What a token holds of a pixel, between the middles of the grid's cells. @param {import("./tokens.js").Tokens} tokens @param {import("./size.js").Size} size */
function sharesIn({ localization, count, grid: [h, w] }, { width, height }) {
  const along = (cells, length) => Float32Array.from({ length }, (_, i) => Math.min(cells - 1, Math.max(0, ((i + 0.5) * cells) / length - 0.5)));
  const [across, down] = [along(w, width), along(h, height)];
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
    const [height, width] = tokens.grid;
    /** Of what is worked out here: the picture's shape. */
    this.size = scaledTo({ width, height }, SIDE);
    this.owner = ownersOf(tokens, this.size);
    this.canvas = new OffscreenCanvas(this.size.width, this.size.height);
  }

  /** The token at a place. @param {number} x from 0 to 1 @param {number} y the same */
  at(x, y) {
    const { width, height } = this.size;
    const column = Math.min(width - 1, Math.max(0, Math.floor(x * width)));
    const row = Math.min(height - 1, Math.max(0, Math.floor(y * height)));
    return this.owner[row * width + column];
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
    const image = new ImageData(this.size.width, this.size.height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[this.owner[i]];
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(this.canvas, 0, 0, context.canvas.width, context.canvas.height);
  }

  #outline(context, lit, only, unit) {
    this.borders ??= bordersOf(this.owner, this.size, sharesIn(this.tokens, this.size));
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
    const { canvas } = context;
    const scale = canvas.width / this.size.width;
    const size = Math.min(LABEL_PX * unit, Math.max(canvas.width, canvas.height) / 34);
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
    const { width, height } = this.size;
    const sums = Array.from({ length: this.count }, () => ({ n: 0, x: 0, y: 0 }));
    for (let i = 0; i < this.owner.length; i++) {
      const sum = sums[this.owner[i]];
      sum.n += 1;
      sum.x += i % width;
      sum.y += Math.floor(i / width);
    }
    const best = sums.map((sum, k) => ({ k, distance: Infinity, x: 0, y: 0, large: sum.n > LABEL_SHARE * width * height }));
    for (let y = 4; y < height - 4; y += 3) {
      for (let x = 4; x < width - 4; x += 3) {
        const i = y * width + x;
        const k = this.owner[i];
        // Inside, not on a border.
        if ([i - 4, i + 4, i - 4 * width, i + 4 * width].some((near) => this.owner[near] !== k)) continue;
        const distance = (x - sums[k].x / sums[k].n) ** 2 + (y - sums[k].y / sums[k].n) ** 2;
        if (distance < best[k].distance) Object.assign(best[k], { distance, x, y });
      }
    }
    return best.filter(({ large, distance }) => large && distance < Infinity);
  }
}
