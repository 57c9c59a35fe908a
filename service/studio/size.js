// How large the pictures of a model are.

/** @typedef {number | number[]} ImageSize a square's side, or height and width, in pixels: as /models tells it */
/** @typedef {{width: number, height: number}} Size */

/** @param {ImageSize} size @returns {Size} */
export function sizeOf(size) {
  const [height, width] = typeof size === "number" ? [size, size] : size;
  return { width, height };
}

/** A size of the same shape, whose longer side is given. @param {Size} size @param {number} longer @returns {Size} */
export function scaledTo({ width, height }, longer) {
  const scale = longer / Math.max(width, height);
  return { width: Math.max(1, Math.round(scale * width)), height: Math.max(1, Math.round(scale * height)) };
}

/** Whether two have the same shape. @param {Size} one @param {Size} other */
export function areAlike(one, other) {
  return one.width * other.height === one.height * other.width;
}

/** For people. @param {ImageSize} size */
export function sizeText(size) {
  const { width, height } = sizeOf(size);
  return `${width} × ${height}`;
}
