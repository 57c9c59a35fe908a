// Which token holds each place of the picture, with smooth borders, and how that looks in colour.

import { rgb } from "./palette.js";

const SIDE = 256;
const LABEL_SHARE = 0.012;

/** A grid's values at a finer size, between the middles of its cells. @param {Float32Array} map @param {number[]} grid */
export function enlarged(map, [h, w], side) {
  const fine = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    const placeY = Math.min(h - 1, Math.max(0, ((y + 0.5) * h) / side - 0.5));
    const top = Math.floor(placeY);
    const [rowA, rowB, shareY] = [top * w, Math.min(h - 1, top + 1) * w, placeY - top];
    for (let x = 0; x < side; x++) {
      const placeX = Math.min(w - 1, Math.max(0, ((x + 0.5) * w) / side - 0.5));
      const left = Math.floor(placeX);
      const [right, shareX] = [Math.min(w - 1, left + 1), placeX - left];
      const upper = map[rowA + left] * (1 - shareX) + map[rowA + right] * shareX;
      const lower = map[rowB + left] * (1 - shareX) + map[rowB + right] * shareX;
      fine[y * side + x] = upper * (1 - shareY) + lower * shareY;
    }
  }
  return fine;
}

/** The regions of some tokens. */
export class Regions {
  /** @param {import("./tokens.js").Tokens} tokens */
  constructor(tokens) {
    this.count = tokens.count;
    this.owner = new Uint8Array(SIDE * SIDE);
    const most = new Float32Array(SIDE * SIDE).fill(-1);
    for (let k = 0; k < this.count; k++) {
      enlarged(tokens.map(k), tokens.grid, SIDE).forEach((value, i) => {
        if (value > most[i]) {
          most[i] = value;
          this.owner[i] = k;
        }
      });
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
   * @param {{opacity: number, lit: number | null, selected: number[], labels: boolean}} look
   */
  draw(context, look) {
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    const image = new ImageData(SIDE, SIDE);
    const lit = look.lit !== null ? [look.lit] : look.selected;
    const colours = Array.from({ length: this.count }, (_, k) => {
      const strength = !lit.length ? 1 : lit.includes(k) ? 1.15 : 0.42;
      return [...rgb(k), Math.min(255, Math.round(255 * look.opacity * strength))];
    });
    this.owner.forEach((k, i) => image.data.set(colours[k], 4 * i));
    if (look.opacity > 0 || lit.length) this.#outline(image.data, look.opacity, lit);
    this.canvas.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.canvas, 0, 0, width, height);
    if (look.labels) this.#label(context, lit);
  }

  #outline(data, opacity, lit) {
    const { owner } = this;
    for (let i = SIDE + 1; i < owner.length - SIDE - 1; i++) {
      if (i % SIDE === 0 || i % SIDE === SIDE - 1) continue;
      const k = owner[i];
      const other = [owner[i + 1], owner[i + SIDE], owner[i - 1], owner[i - SIDE]].find((m) => m !== k);
      if (other === undefined) continue;
      if (lit.includes(k) || lit.includes(other)) data.set([255, 255, 255, 255], 4 * i);
      else data.set([255, 255, 255, Math.round(150 * opacity)], 4 * i);
    }
  }

  /** Numbers in the middle of regions that have room for them. */
  #label(context, lit) {
    const scale = context.canvas.width / SIDE;
    context.font = `600 ${Math.round(context.canvas.width / 34)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const { k, x, y } of this.#middles()) {
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
    const sums = Array.from({ length: this.count }, () => ({ n: 0, x: 0, y: 0 }));
    this.owner.forEach((k, i) => {
      sums[k].n += 1;
      sums[k].x += i % SIDE;
      sums[k].y += Math.floor(i / SIDE);
    });
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
