// A photo of a search, small, with light on what was found.

import { Regions } from "./regions.js";
import { colour } from "./palette.js";
import { decoded } from "./decoded.js";
import { partOf } from "./photo.js";
import { scaledTo, sizeOf } from "./size.js";

/** Its longer side in pixels. */
export const THUMB = 200;

/** Draw a picture of a model's shape, which the canvas takes on. @param {HTMLCanvasElement} canvas @param {ImageBitmap} picture */
export function drawSmall(canvas, picture) {
  Object.assign(canvas, scaledTo(picture, THUMB));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
}

/**
 * What a model sees of a file.
 * @param {Blob} file @param {string} fit how it gets the model's shape @param {import("./size.js").ImageSize} size the model's
 * @returns {Promise<ImageBitmap>}
 */
export async function thumbOf(file, fit, size) {
  const whole = await decoded(file);
  const { width, height } = whole;
  const shape = sizeOf(size);
  const aspect = shape.width / shape.height;
  const choose = fit === "pad" ? Math.max : Math.min;
  const [across, down] = fit === "stretch" ? [width, height] : [choose(width, height * aspect), choose(height, width / aspect)];
  const cut = [(width - across) / 2, (height - down) / 2, across, down];
  const small = await partOf(whole, cut, scaledTo(shape, THUMB));
  whole.close();
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
