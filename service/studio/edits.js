// Edits on tokens: the same rules as service/tokens/edits.py, so that regions and shares follow at once.
// The picture itself always comes from the service.

import { Tokens } from "./tokens.js";

const TINY = 1.1754943508222875e-38;

/** @typedef {{op: string, token?: number, tokens?: number[], [field: string]: any}} Edit */

/** The tokens that an edit is about, its partners included. @param {Edit} edit @returns {number[]} */
export function tokensOf(edit) {
  return edit.tokens ?? [edit.token];
}

/** Where an edit takes a token from, if it does. @param {Edit} edit */
export function origin(edit) {
  return edit.with ?? edit.toward ?? null;
}

/**
 * A list with one more edit. One that goes on where the last one stopped takes its place: two moves of a token
 * become one. One that does nothing goes.
 * @param {Edit[]} edits @param {Edit} edit @returns {Edit[]}
 */
export function extended(edits, edit) {
  const last = edits.at(-1);
  const joined = last && last.op === edit.op && last.token === edit.token ? joinedOf(last, edit) : null;
  const before = joined ? edits.slice(0, -1) : edits;
  const now = joined ?? edit;
  return doesNothing(now) ? before : [...before, now];
}

/** Two edits of one kind and token as one, or null where they are two. @param {Edit} last @param {Edit} edit */
function joinedOf(last, edit) {
  switch (edit.op) {
    case "scale":
      return edit;
    case "move":
      return { ...edit, dx: last.dx + edit.dx, dy: last.dy + edit.dy };
    case "paint": {
      if (!last.cells) return null;
      const cells = new Map([...last.cells, ...edit.cells].map((cell) => [String(cell), cell]));
      return { ...edit, cells: [...cells.values()] };
    }
    case "blend":
      return sameOrigin(last, edit) ? edit : null;
    default:
      return null;
  }
}

/** @param {Edit} edit */
function doesNothing({ op, factor, alpha, dx, dy }) {
  return (op === "scale" && factor === 1) || (op === "blend" && alpha === 0) || (op === "move" && !dx && !dy);
}

function sameOrigin(one, other) {
  return JSON.stringify(origin(one)) === JSON.stringify(origin(other));
}

/** @typedef {{tokens: Tokens, remaining: boolean[]}} Edited */

/**
 * Tokens after all edits, in their order; the arguments are not changed.
 * @param {Tokens} tokens @param {Edit[]} edits @param {Tokens[]} donors
 * @returns {Edited} @throws {RangeError} where an edit is impossible here
 */
export function applyEdits(tokens, edits, donors) {
  const canvas = new Canvas(tokens, donors);
  for (const edit of edits) canvas.apply(edit);
  const { semantics, localization } = canvas;
  const edited = new Tokens(new Float32Array(semantics), new Float32Array(localization), tokens.grid, tokens.source);
  return { tokens: edited, remaining: canvas.remaining };
}

class Canvas {
  constructor(tokens, donors) {
    this.count = tokens.count;
    this.width = tokens.width;
    [this.h, this.w] = tokens.grid;
    this.donors = donors;
    this.semantics = Float64Array.from(tokens.semantics);
    this.localization = Float64Array.from(tokens.localization);
    this.logits = this.localization.map((value) => Math.log(Math.max(value, TINY)));
    this.remaining = new Array(this.count).fill(true);
  }

  apply(edit) {
    for (const k of tokensOf(edit)) this.check(k);
    const k = edit.token;
    switch (edit.op) {
      case "drop":
        return this.remove([k]);
      case "keep":
        return this.remove(this.remaining.flatMap((_, m) => (edit.tokens.includes(m) ? [] : [m])));
      case "scale":
        return edit.factor === 0 ? this.remove([k]) : this.scale(k, edit.factor);
      case "swap":
        return this.swap(edit.tokens);
      case "replace":
        return this.mix(k, this.foreign(edit.with), 1);
      case "blend":
        return this.mix(k, this.foreign(edit.toward), edit.alpha);
      case "move":
        return this.move(k, edit.dx, edit.dy);
      case "paint":
        return this.paint(k, edit.cells ?? cellsOf(edit.rectangle));
      default:
        throw new RangeError(`there is no edit called ${edit.op}`);
    }
  }

  check(k) {
    if (!(k >= 0 && k < this.count)) throw new RangeError(`there are tokens 0 to ${this.count - 1}, not ${k}`);
    if (!this.remaining[k]) throw new RangeError(`token ${k} was dropped before`);
  }

  foreign({ donor, token, semantics }) {
    if (semantics) return semantics;
    const from = this.donors[donor];
    if (!from || token >= from.count) throw new RangeError(`token ${token} of photo ${donor} is not here`);
    return from.row(token);
  }

  remove(tokens) {
    for (const k of tokens) this.remaining[k] = false;
    if (!this.remaining.includes(true)) throw new RangeError("no token would be left");
    this.localization.forEach((_, i) => {
      if (!this.remaining[i % this.count]) this.localization[i] = 0;
    });
    this.renormalize();
  }

  scale(k, factor) {
    for (let i = k; i < this.localization.length; i += this.count) this.localization[i] *= factor;
    this.renormalize();
  }

  swap([a, b]) {
    for (let d = 0; d < this.width; d++) {
      const [i, j] = [a * this.width + d, b * this.width + d];
      [this.semantics[i], this.semantics[j]] = [this.semantics[j], this.semantics[i]];
    }
  }

  mix(k, other, alpha) {
    for (let d = 0; d < this.width; d++) {
      const i = k * this.width + d;
      this.semantics[i] = (1 - alpha) * this.semantics[i] + alpha * other[d];
    }
  }

  move(k, dx, dy) {
    const column = Float64Array.from({ length: this.h * this.w }, (_, i) => this.localization[i * this.count + k]);
    for (let y = 0; y < this.h; y++) {
      for (let x = 0; x < this.w; x++) {
        const [fromX, fromY] = [x - dx, y - dy];
        const inside = fromX >= 0 && fromX < this.w && fromY >= 0 && fromY < this.h;
        this.localization[(y * this.w + x) * this.count + k] = inside ? column[fromY * this.w + fromX] : 0;
      }
    }
    this.renormalize(k);
  }

  paint(k, cells) {
    for (const [x, y] of cells) {
      if (x >= this.w || y >= this.h) throw new RangeError(`the grid has ${this.w} × ${this.h} cells`);
      const start = (y * this.w + x) * this.count;
      this.localization.fill(0, start, start + this.count);
      this.localization[start + k] = 1;
    }
  }

  /** Make rows sum to 1; one without mass takes the softmax over the remaining tokens, less one that just left. */
  renormalize(without = -1) {
    const several = this.remaining.filter(Boolean).length > 1;
    const heirs = this.remaining.map((remains, k) => remains && !(several && k === without));
    for (let start = 0; start < this.localization.length; start += this.count) {
      const row = this.localization.subarray(start, start + this.count);
      let mass = row.reduce((sum, value) => sum + value, 0);
      if (mass === 0) {
        const logits = this.logits.subarray(start, start + this.count);
        const top = Math.max(...logits.filter((_, k) => heirs[k]));
        heirs.forEach((heir, k) => (row[k] = heir ? Math.exp(logits[k] - top) : 0));
        mass = row.reduce((sum, value) => sum + value, 0);
      }
      row.forEach((value, k) => (row[k] = value / mass));
    }
  }
}

/** @param {number[]} rectangle left, top, right, bottom @returns {number[][]} */
function cellsOf([left, top, right, bottom]) {
  const cells = [];
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) cells.push([x, y]);
  return cells;
}
