// An image in the model's terms. N = h·w patches · r tokens · D width

import { base64OfFloats } from "./base64.js";

/** @typedef {{width: number, height: number, rectangle: number[]}} Source what the model sees of the photo */

/** Semantics S (r × D), what there is, and localization L (N × r), where it is. */
export class Tokens {
  /** @type {{semantics: string, localization: string, grid: number[]} | null} */
  #document = null;

  /**
   * @param {Float32Array} semantics @param {Float32Array} localization
   * @param {number[]} grid [h, w] @param {Source} source
   */
  constructor(semantics, localization, grid, source) {
    this.semantics = semantics;
    this.localization = localization;
    this.grid = grid;
    this.source = source;
    this.count = localization.length / (grid[0] * grid[1]);
    this.width = semantics.length / this.count;
  }

  /** The numbers of one token: a view, D long. @param {number} k */
  row(k) {
    return this.semantics.subarray(k * this.width, (k + 1) * this.width);
  }

  /** One token's share of every place, h·w long. @param {number} k */
  map(k) {
    const places = this.localization.length / this.count;
    const map = new Float32Array(places);
    for (let i = 0; i < places; i++) map[i] = this.localization[i * this.count + k];
    return map;
  }

  /** Each token's share of the whole picture; they sum to 1. @returns {number[]} */
  shares() {
    const sums = new Array(this.count).fill(0);
    for (let i = 0; i < this.localization.length; i++) sums[i % this.count] += this.localization[i];
    return sums.map((sum) => (sum * this.count) / this.localization.length);
  }

  /** The tokens that resemble token k most: indices with cosines. @param {number} k @param {number} many */
  nearest(k, many) {
    const others = Array.from({ length: this.count }, (_, m) => m).filter((m) => m !== k);
    const scored = others.map((m) => ({ token: m, cosine: cosine(this.row(k), this.row(m)) }));
    return scored.sort((a, b) => b.cosine - a.cosine).slice(0, many);
  }

  /** As the service takes them; kept, since edits are sent beside the same tokens each time. */
  get document() {
    this.#document ??= { semantics: base64OfFloats(this.semantics), localization: base64OfFloats(this.localization), grid: this.grid };
    return this.#document;
  }

  /** Bytes of all numbers as float32. */
  get bytes() {
    return this.semantics.byteLength + this.localization.byteLength;
  }
}

/** @param {ArrayLike<number>} a @param {ArrayLike<number>} b */
export function cosine(a, b) {
  let dot = 0;
  let normA = 0;
  let normB = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    normA += a[i] * a[i];
    normB += b[i] * b[i];
  }
  return dot / (Math.sqrt(normA * normB) || 1);
}

/** The token that comes closest to a row. @param {Float32Array} vectors @param {Float32Array} row */
export function bestOf(vectors, row) {
  let best = { token: 0, score: -Infinity };
  for (let k = 0; k * row.length < vectors.length; k++) {
    const score = cosine(vectors.subarray(k * row.length, (k + 1) * row.length), row);
    if (score > best.score) best = { token: k, score };
  }
  return best;
}
