// Edits on tokens: the same rules as service/tokens/canvas.py, so that regions and shares follow at once.
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
 * A list with one more edit. What goes on with an earlier one takes its place: a token has one factor, moves and
 * strokes without anything else between them add up, a token that is shown hides what was shown before. What does
 * nothing goes. The picture is the same as of the longer list, save that moves add up before they leave the grid.
 * @param {Edit[]} edits @param {Edit} edit @returns {Edit[]}
 */
export function extended(edits, edit) {
  if (edit.op === "paint" && edit.cells) return painted(edits, edit);
  const before = edit.op === "replace" ? edits.filter((_, i) => !hidden(edits, i, edit.token)) : edits;
  const at = goesOnWith(before, edit);
  const now = at < 0 ? edit : joined(before[at], edit);
  const list = at < 0 ? [...before, now] : before.with(at, now);
  return list.filter((each) => each !== now || !doesNothing(now));
}

/** Where in the list the edit stands that a new one goes on with, or -1. @param {Edit[]} edits @param {Edit} edit */
function goesOnWith(edits, edit) {
  const at = edits.findLastIndex((each) => alike(each, edit));
  const between = edits.slice(at + 1);
  switch (edit.op) {
    case "scale":
      return at;
    case "move":
      return between.every(({ op }) => op === "move") ? at : -1;
    case "blend":
      return between.some((each) => changesWhat(each, edit.token)) ? -1 : at;
    default:
      return -1;
  }
}

/** Whether two edits may become one: of one kind and token, and with one origin. @param {Edit} one @param {Edit} other */
function alike(one, other) {
  return one.op === other.op && one.token !== undefined && one.token === other.token && sameOrigin(one, other);
}

/** @param {Edit} one @param {Edit} next of the same kind and token @returns {Edit} */
function joined(one, next) {
  return next.op === "move" ? { ...next, dx: one.dx + next.dx, dy: one.dy + next.dy } : next;
}

/** Whether an edit changes what a token shows, not where. @param {Edit} edit @param {number} k */
function changesWhat({ op, token, tokens }, k) {
  return ((op === "replace" || op === "blend") && token === k) || (op === "swap" && tokens.includes(k));
}

/** Whether nothing of an edit would be left once its token shows something else. */
function hidden(edits, i, k) {
  const { op, token } = edits[i];
  if (token !== k || (op !== "replace" && op !== "blend")) return false;
  return !edits.slice(i + 1).some((each) => each.op === "swap" && each.tokens.includes(k));
}

/** Strokes that follow one another: each cell belongs to the last one over it, and each token has one stroke. */
function painted(edits, edit) {
  const isStroke = ({ op, cells }) => op === "paint" && cells !== undefined;
  const start = edits.findLastIndex((each) => !isStroke(each)) + 1;
  const covered = new Set(edit.cells.map(String));
  const others = edits.slice(start).map((each) => ({ ...each, cells: each.cells.filter((cell) => !covered.has(String(cell))) }));
  const mine = others.findIndex(({ token }) => token === edit.token);
  const strokes = mine < 0 ? [...others, edit] : others.with(mine, { ...edit, cells: [...others[mine].cells, ...edit.cells] });
  return [...edits.slice(0, start), ...strokes.filter(({ cells }) => cells.length)];
}

/**
 * A list that is short enough: edits of one kind and token become one, in the place of the later, whatever stands
 * between them. That can change the picture a little.
 * @param {Edit[]} edits @param {number} most @returns {Edit[] | null} null where it stays too long
 */
export function shortened(edits, most) {
  let list = edits;
  while (list.length > most) {
    const at = list.findIndex((edit, i) => JOINABLE.has(edit.op) && list.slice(i + 1).some((later) => mayJoin(edit, later)));
    if (at < 0) return null;
    const later = list.findIndex((each, i) => i > at && mayJoin(list[at], each));
    const cells = new Map([...(list[at].cells ?? []), ...(list[later].cells ?? [])].map((cell) => [String(cell), cell]));
    const one = list[later].op === "paint" ? { ...list[later], cells: [...cells.values()] } : joined(list[at], list[later]);
    list = list.with(later, one).toSpliced(at, 1);
  }
  return list;
}

const JOINABLE = new Set(["move", "paint", "blend", "replace"]);

function mayJoin(one, later) {
  return alike(one, later) && (one.op !== "paint" || Boolean(one.cells && later.cells));
}

/** The factor by which a token is scaled. @param {Edit[]} edits @param {number} k */
export function factorOf(edits, k) {
  return edits.findLast(({ op, token }) => op === "scale" && token === k)?.factor ?? 1;
}

/** How far a token is blended toward another one. @param {Edit[]} edits @param {number} k @param {object} toward */
export function alphaOf(edits, k, toward) {
  const last = edits.findLast((edit) => changesWhat(edit, k));
  return last?.op === "blend" && sameOrigin(last, { toward }) ? last.alpha : 0;
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
    this.places = tokens.localization;
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
    const { localization, count } = this;
    for (let start = 0; start < localization.length; start += count) {
      if (massOf(localization, start, count) === 0) {
        const logits = Array.from(this.places.subarray(start, start + count), (value) => Math.log(Math.max(value, TINY)));
        const top = Math.max(...logits.filter((_, k) => heirs[k]));
        heirs.forEach((heir, k) => (localization[start + k] = heir ? Math.exp(logits[k] - top) : 0));
      }
      const mass = massOf(localization, start, count);
      for (let i = start; i < start + count; i++) localization[i] /= mass;
    }
  }
}

function massOf(localization, start, count) {
  let mass = 0;
  for (let i = start; i < start + count; i++) mass += localization[i];
  return mass;
}

/** @param {number[]} rectangle left, top, right, bottom @returns {number[][]} */
function cellsOf([left, top, right, bottom]) {
  const cells = [];
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) cells.push([x, y]);
  return cells;
}
