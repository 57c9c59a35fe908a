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
  fine.forEach((value, i) => {
    // With 16 tokens a tenth of a place is already a lot.
    const share = Math.sqrt(Math.min(1, Math.max(0, value)));
    const grey = (photo[4 * i] * 0.3 + photo[4 * i + 1] * 0.59 + photo[4 * i + 2] * 0.11) / 255;
    for (let c = 0; c < 3; c++) {
      const dark = 22 + 46 * grey;
      const light = ink[c] * (0.5 + 0.7 * grey);
      image.data[4 * i + c] = dark + (light - dark) * share;
    }
    image.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
