// One token as a small picture: the photo around the token's places, in shadow where the token is not.

const HEAT_SIDE = 72;
const PHOTO_SIDE = 288;
const SHADOW = 0.3;
const EDGE_SHARE = 0.5;
const SMALLEST = 0.34;
const UNSEEN = 1 / 128;

/** A canvas with one token on it. It is drawn anew only where one would see that. */
export class Heat {
  #map = new Float32Array(0);
  #photo = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    canvas.width = canvas.height = HEAT_SIDE;
  }

  /** @param {import("./tokens.js").Tokens} tokens @param {number} k @param {import("./photo.js").Photo} photo */
  draw(tokens, k, photo) {
    const map = tokens.map(k);
    // Bright where the token holds as much as it holds anywhere; with 16 tokens a tenth of a place is already a lot.
    const most = map.reduce((a, b) => Math.max(a, b), 0.1);
    if (photo === this.#photo && map.every((value, i) => Math.abs(value - this.#map[i]) <= UNSEEN * most)) return;
    [this.#map, this.#photo] = [map, photo];
    drawMap(this.canvas, map, most, tokens.grid, photo.pixels(PHOTO_SIDE));
  }
}

function drawMap(canvas, map, most, [h, w], pixels) {
  const { left, top, across, down } = squareAround(map, w, h, EDGE_SHARE * most);
  const image = new ImageData(HEAT_SIDE, HEAT_SIDE);
  for (let y = 0; y < HEAT_SIDE; y++) {
    const v = top + (down * (y + 0.5)) / HEAT_SIDE;
    for (let x = 0; x < HEAT_SIDE; x++) {
      const u = left + (across * (x + 0.5)) / HEAT_SIDE;
      const share = SHADOW + (1 - SHADOW) * Math.min(1, valueAt(map, w, h, u, v) / most) ** 0.75;
      const from = 4 * (Math.floor(v * PHOTO_SIDE) * PHOTO_SIDE + Math.floor(u * PHOTO_SIDE));
      const to = 4 * (y * HEAT_SIDE + x);
      for (let c = 0; c < 3; c++) image.data[to + c] = pixels[from + c] * share;
      image.data[to + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** A small square around the places that hold at least so much, as far as there is one, in shares of the picture. */
function squareAround(map, w, h, least) {
  let [left, top, right, bottom] = [w, h, 0, 0];
  map.forEach((value, i) => {
    if (value < least) return;
    const [x, y] = [i % w, Math.floor(i / w)];
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
  });
  const most = Math.min(w, h);
  // In cells, which are squares.
  const side = right <= left ? most : Math.min(most, Math.max(SMALLEST * most, right - left + 1, bottom - top + 1));
  const within = (middle, cells) => Math.min(cells - side, Math.max(0, middle - side / 2)) / cells;
  return { left: within((left + right) / 2, w), top: within((top + bottom) / 2, h), across: side / w, down: side / h };
}

/** A map's value between the middles of its cells. @param {number} u from 0 to 1, to the right @param {number} v downward */
function valueAt(map, w, h, u, v) {
  const [x, y] = [Math.min(w - 1, Math.max(0, u * w - 0.5)), Math.min(h - 1, Math.max(0, v * h - 0.5))];
  const [i, j] = [Math.floor(x), Math.floor(y)];
  const [right, below] = [Math.min(w - 1, i + 1), Math.min(h - 1, j + 1)];
  const above = map[j * w + i] + (map[j * w + right] - map[j * w + i]) * (x - i);
  const under = map[below * w + i] + (map[below * w + right] - map[below * w + i]) * (x - i);
  return above + (under - above) * (y - j);
}
