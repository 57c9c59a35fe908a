// A photo of a search as a small square, with light on what was found.

import { Regions } from "./regions.js";
import { colour } from "./palette.js";
import { decoded } from "./decoded.js";
import { squareOf } from "./photo.js";

/** Its side in pixels. */
export const THUMB = 200;

/**
 * The square that the model sees.
 * @param {HTMLCanvasElement} canvas @param {Blob} file @param {string} fit how it becomes square
 * @returns {Promise<ImageBitmap>} the same, to draw it again
 */
export async function drawThumb(canvas, file, fit) {
  const whole = await decoded(file);
  const { width, height } = whole;
  const side = fit === "pad" ? Math.max(width, height) : Math.min(width, height);
  const cut = fit === "stretch" ? [0, 0, width, height] : [(width - side) / 2, (height - side) / 2, side, side];
  const small = await squareOf(whole, cut, THUMB);
  whole.close();
  canvas.getContext("2d").drawImage(small, 0, 0);
  return small;
}

/**
 * Leave light on one token's region.
 * @param {HTMLCanvasElement} canvas @param {Regions} regions @param {number} token @param {number} hue
 */
export function outline(canvas, regions, token, hue) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const step = 2;
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const inside = regions.at((x + 1) / width, (y + 1) / height) === token;
      context.fillStyle = inside ? `${colour(hue)}55` : "#000a";
      context.fillRect(x, y, step, step);
    }
  }
}
