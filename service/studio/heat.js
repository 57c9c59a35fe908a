// One token's map as a small picture: the photo in its colour where the token is, dark where it is not.

import { enlarged } from "./regions.js";
import { rgb } from "./palette.js";

export const HEAT_SIDE = 72;

/**
 * @param {HTMLCanvasElement} canvas @param {import("./tokens.js").Tokens} tokens @param {number} k
 * @param {Uint8ClampedArray} photo RGBA values, HEAT_SIDE × HEAT_SIDE
 */
export function drawHeat(canvas, tokens, k, photo) {
  canvas.width = canvas.height = HEAT_SIDE;
  const fine = enlarged(tokens.map(k), tokens.grid, HEAT_SIDE);
  const image = new ImageData(HEAT_SIDE, HEAT_SIDE);
  const ink = rgb(k);
  // Bright where the token holds as much as it holds anywhere; with 16 tokens a tenth of a place is already a lot.
  const most = fine.reduce((a, b) => Math.max(a, b), 0.1);
  fine.forEach((value, i) => {
    const share = Math.sqrt(value / most);
    const grey = (photo[4 * i] * 0.3 + photo[4 * i + 1] * 0.59 + photo[4 * i + 2] * 0.11) / 255;
    for (let c = 0; c < 3; c++) {
      const dark = 20 + 50 * grey;
      const light = ink[c] * 0.8 + 110 * grey;
      image.data[4 * i + c] = dark + (light - dark) * share;
    }
    image.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
