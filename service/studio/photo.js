// Pictures: those that visitors open, and those that the service draws.

import { Problem } from "./problem.js";

export const VIEW_SIDE = 640;

/** @param {number} side */
function canvasOf(side) {
  return new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
}

/**
 * A square of a picture at some size, on white where it is transparent: what the service makes of it.
 * @param {ImageBitmap} whole @param {number[]} cut left, top, width, height @param {number} side
 * @returns {Promise<ImageBitmap>}
 */
export async function squareOf(whole, cut, side) {
  const [left, top, width, height] = cut.map(Math.round);
  const options = { resizeWidth: side, resizeHeight: side, resizeQuality: "high" };
  const square = await createImageBitmap(whole, left, top, width, height, options);
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.drawImage(square, 0, 0);
  square.close();
  return canvas.transferToImageBitmap();
}

/** @param {Blob & {name?: string}} file @returns {string} */
export function nameOf(file) {
  return file.name || "photo.png";
}

/** A photo as it was opened, and the square of it that the model sees. */
export class Photo {
  /** @type {Map<number, Uint8ClampedArray>} */
  #pixels = new Map();

  /**
   * @param {Blob & {name?: string}} file the bytes that go to the service
   * @param {ImageBitmap} view the square, for the screen
   * @param {ImageBitmap} seen the square at the model's size
   * @param {string} sample its name among the samples, or ""
   */
  constructor(file, view, seen, sample) {
    this.file = file;
    this.view = view;
    this.seen = seen;
    this.sample = sample;
    this.name = nameOf(file);
  }

  /**
   * @param {Blob} file @param {import("./tokens.js").Source} source @param {number} side the model's @param {string} sample
   * @throws {Problem} where this browser can't show the picture
   */
  static async open(file, source, side, sample) {
    const whole = await createImageBitmap(file).catch(() => {
      throw new Problem("The service reads this file, but this browser can't show it.", { code: "unknown_image_format" });
    });
    const [scaleX, scaleY] = [whole.width / source.width, whole.height / source.height];
    const [left, top, right, bottom] = source.rectangle;
    const cut = [left * scaleX, top * scaleY, (right - left) * scaleX, (bottom - top) * scaleY];
    const [view, seen] = await Promise.all([squareOf(whole, cut, VIEW_SIDE), squareOf(whole, cut, side)]);
    whole.close();
    return new Photo(file, view, seen, sample);
  }

  /** Give back its memory, which browsers are slow to do by themselves. */
  close() {
    this.view.close();
    this.seen.close();
  }

  /** RGBA values of the square at some size. @param {number} side */
  pixels(side) {
    let pixels = this.#pixels.get(side);
    if (!pixels) {
      const context = canvasOf(side);
      context.imageSmoothingQuality = "high";
      context.drawImage(side === this.seen.width ? this.seen : this.view, 0, 0, side, side);
      pixels = context.getImageData(0, 0, side, side).data;
      this.#pixels.set(side, pixels);
    }
    return pixels;
  }

  /** Bytes of the square at the model's size as JPEG. */
  async jpegBytes() {
    const side = this.seen.width;
    const canvas = new OffscreenCanvas(side, side);
    canvas.getContext("2d").drawImage(this.seen, 0, 0);
    return (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 })).size;
  }
}

/** A picture that the service drew from tokens, and the edits that it shows. */
export class Drawing {
  /** @param {Blob} blob @param {ImageBitmap} bitmap @param {object[]} edits @param {string} timing */
  constructor(blob, bitmap, edits, timing) {
    this.blob = blob;
    this.bitmap = bitmap;
    this.edits = edits;
    this.timing = timing;
  }

  /** @param {import("./api.js").Drawn} drawn @param {object[]} edits */
  static async of({ blob, timing }, edits) {
    return new Drawing(blob, await createImageBitmap(blob), edits, timing);
  }

  /** Give back its memory. */
  close() {
    this.bitmap.close();
  }

  /** How close it comes to the photo, in dB. @param {Photo} photo */
  psnr(photo) {
    const side = this.bitmap.width;
    const context = canvasOf(side);
    context.drawImage(this.bitmap, 0, 0);
    return psnr(context.getImageData(0, 0, side, side).data, photo.pixels(side));
  }
}

/** Of RGBA values; alpha is left out. @param {ArrayLike<number>} one @param {ArrayLike<number>} other */
export function psnr(one, other) {
  let sum = 0;
  for (let i = 0; i < one.length; i++) if (i % 4 !== 3) sum += (one[i] - other[i]) ** 2;
  const mean = sum / (one.length * 0.75);
  return mean === 0 ? Infinity : 10 * Math.log10(255 ** 2 / mean);
}
