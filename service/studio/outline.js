// Where regions meet, as lines: they are as thin at any size.

/** Pixels between the places that are compared. */
const STEP = 4;

/**
 * @typedef {object} Point
 * @property {number} key the same for the same point
 * @property {number} x from 0 to 1 @property {number} y the same, at as many pixels
 */
/** @typedef {{tokens: number[], path: Path2D}} Border where the regions of two tokens meet; shares of the picture's width */

/** Steps from point to point, put together to lines: they are drawn much faster than the steps. */
class Lines {
  /** @type {Map<number, Point[]>} lines by their ends */
  #open = new Map();
  /** @type {Point[][]} those that end where they begin */
  #rings = [];

  /** @param {Point} from @param {Point} to */
  add(from, to) {
    const before = this.#ending(from);
    if (before[0].key === to.key && before.length > 2) {
      this.#rings.push([...before, to]);
      return this.#open.delete(to.key);
    }
    const after = this.#ending(to);
    const line = before.concat(after.reverse());
    for (const { key } of [line[0], line.at(-1)]) this.#open.set(key, line);
  }

  /** The line that ends at a point, which is no end any more, or a new one. */
  #ending(point) {
    const line = this.#open.get(point.key);
    if (!line) return [point];
    this.#open.delete(point.key);
    return line.at(-1).key === point.key ? line : line.reverse();
  }

  /** @returns {Path2D} */
  get path() {
    const path = new Path2D();
    for (const [{ x, y }, ...others] of new Set([...this.#open.values(), ...this.#rings])) {
      path.moveTo(x, y);
      for (const other of others) path.lineTo(other.x, other.y);
    }
    return path;
  }
}

/**
 * The lines between regions, by marching squares: where a pixel's token gives way to another one they hold as much.
 * @param {Uint8Array} owner the token at each pixel @param {import("./size.js").Size} size
 * @param {(k: number, x: number, y: number) => number} shareOf what a token holds of a pixel
 * @returns {Border[]}
 */
export function bordersOf(owner, size, shareOf) {
  /** @type {Map<number, {tokens: number[], lines: Lines}>} */
  const borders = new Map();
  const add = ({ pair, tokens }, from, to) => {
    if (!borders.has(pair)) borders.set(pair, { tokens, lines: new Lines() });
    borders.get(pair).lines.add(from, to);
  };
  const { width, height } = size;
  const [columns, rows] = [placesOf(width), placesOf(height)];
  for (let row = 1; row < rows.length; row++) {
    const [top, bottom] = [rows[row - 1] * width, rows[row] * width];
    for (let column = 1; column < columns.length; column++) {
      const [left, right] = [columns[column - 1], columns[column]];
      const first = top + left;
      const k = owner[first];
      if (k === owner[top + right] && k === owner[bottom + right] && k === owner[bottom + left]) continue;
      const corners = [first, top + right, bottom + right, bottom + left];
      const found = corners.flatMap((pixel, i) => crossing(pixel, corners[(i + 1) % 4], owner, size, shareOf));
      if (found.length === 2) add(found[0], found[0], found[1]);
      else {
        const mean = (axis) => found.reduce((sum, point) => sum + point[axis], 0) / found.length;
        // Regions of three and more meet in the middle.
        const middle = { key: -1 - first, x: mean("x"), y: mean("y") };
        for (const point of found) add(point, point, middle);
      }
    }
  }
  return Array.from(borders.values(), ({ tokens, lines }) => ({ tokens, path: lines.path }));
}

/** Pixels along a side that are compared: the last one is among them. @param {number} length */
function placesOf(length) {
  return [...Array.from({ length: Math.ceil((length - 1) / STEP) }, (_, i) => i * STEP), length - 1];
}

/** Where between two pixels one token gives way to another; none where one holds both. */
function crossing(one, other, owner, { width, height }, shareOf) {
  const [from, to] = one < other ? [one, other] : [other, one];
  const [a, b] = [owner[from], owner[to]];
  if (a === b) return [];
  const [left, right, top, bottom] = [from % width, to % width, Math.floor(from / width), Math.floor(to / width)];
  const before = shareOf(a, left, top) - shareOf(b, left, top);
  const after = shareOf(a, right, bottom) - shareOf(b, right, bottom);
  const share = before > after ? before / (before - after) : 0.5;
  const between = (start, end, length) => place(start, length) * (1 - share) + place(end, length) * share;
  const key = 2 * from + (top === bottom ? 0 : 1);
  return [{ key, x: between(left, right, width), y: (between(top, bottom, height) * height) / width, tokens: [a, b], pair: (Math.min(a, b) << 8) | Math.max(a, b) }];
}

/** A pixel's middle; the outermost stand for the picture's rim. */
function place(pixel, length) {
  if (pixel === 0 || pixel === length - 1) return pixel && 1;
  return (pixel + 0.5) / length;
}
