// Pictures: those that visitors open, and those that the service draws.

import { Problem } from "./problem.js";
import { decoded } from "./decoded.js";
import { sendable } from "./sendable.js";
import { areAlike, scaledTo, sizeOf } from "./size.js";

/** Of the part that is shown, the longer one at most. */
const VIEW_SIDE = 1024;
const SMALL_SIDE = 320;

/** How a photo gets the model's shape, in the service's words and in people's. */
export const FITS = { crop: "a part of it", pad: "all, with margins", stretch: "all, stretched" };

/** Of margins, as the service has them. */
const MARGIN = "rgb(124 116 104)";

/**
 * @typedef {object} PhotoFacts
 * @property {Blob & {name?: string}} file the bytes as they were chosen
 * @property {Blob} sent those that go to the service
 * @property {string} name what the page calls it: no other file beside it has that name
 * @property {string} sample its name among the samples, or ""
 * @property {string} fit how it gets the model's shape: one of FITS
 * @property {string} [box] the part of it that is seen, as the service has it; "" or none for all
 * @property {string} mark what tells its bytes from others
 * @property {import("./tokens.js").Source} source what the model sees of it
 * @property {import("./size.js").ImageSize} side the model's image_size
 * @property {boolean} [ofTokens] whether the file holds tokens: then what is sent is the picture that they make
 */

/**
 * A part of a picture at some size, on white where it is transparent: what the service makes of it.
 * @param {ImageBitmap} whole @param {number[]} cut left, top, width, height @param {import("./size.js").Size} size
 * @returns {Promise<ImageBitmap>}
 */
export async function partOf(whole, cut, size) {
  const [left, top, width, height] = cut.map(Math.round);
  const options = { resizeWidth: size.width, resizeHeight: size.height, resizeQuality: "high" };
  const part = await createImageBitmap(whole, left, top, width, height, options);
  const canvas = new OffscreenCanvas(size.width, size.height);
  const context = canvas.getContext("2d");
  context.fillStyle = MARGIN;
  context.fillRect(0, 0, size.width, size.height);
  context.fillStyle = "#fff";
  const [across, down] = [size.width / width, size.height / height];
  context.fillRect(-left * across, -top * down, whole.width * across, whole.height * down);
  context.drawImage(part, 0, 0);
  part.close();
  return canvas.transferToImageBitmap();
}

/** @param {ImageBitmap} whole */
function smallOf(whole) {
  const scale = SMALL_SIDE / Math.max(whole.width, whole.height);
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((length) => Math.max(1, Math.round(length * scale)));
  return createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
}

/** @param {Blob & {name?: string}} file @returns {string} */
export function nameOf(file) {
  return file.name || "photo.png";
}

/** Eight hexadecimal digits that tell files apart (FNV-1a): who means harm can make two alike. @param {Blob} file */
export async function markOf(file) {
  let hash = 0x811c9dc5;
  for (const byte of new Uint8Array(await file.arrayBuffer())) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** A photo as it was opened, and, while it is awake, the part of it that the model sees. */
export class Photo {
  /** @type {Map<number, Uint8ClampedArray>} */
  #pixels = new Map();
  /** Its width and height in pixels, once it was awake. */
  size = [0, 0];
  /** @type {ImageBitmap | null} the part, for the screen */
  view = null;
  /** @type {ImageBitmap | null} the part at the model's size */
  seen = null;

  /** @type {ImageBitmap | null} all of a photo that has not the model's shape, small */
  small = null;

  /** @param {PhotoFacts} facts */
  constructor(facts) {
    this.facts = facts;
    Object.assign(this, facts);
  }

  /** What the model sees of it. @returns {import("./api.js").How} */
  get how() {
    return { fit: this.fit, ...(this.box ? { box: this.box } : {}) };
  }

  /** What shows it: the file itself, or the picture that its tokens make. */
  get picture() {
    return this.ofTokens ? this.sent : this.file;
  }

  /** The same as calls name it: of tokens, the picture that the page saves of them. */
  get pictured() {
    return this.ofTokens ? { name: this.name.replace(/\.[^.]*$/, "-reconstructed.png"), sample: "" } : this;
  }

  /** Whether it has the model's shape. */
  get fits() {
    return areAlike(this.source, sizeOf(this.side));
  }

  /** What to send of it to a model of some size. @param {import("./size.js").ImageSize} size @returns {Promise<Blob>} */
  async sentTo(size) {
    return String(size) === String(this.side) ? this.sent : sendable(this.picture, size);
  }

  /** Make its pictures. @throws {Problem} where this browser can't show it */
  async wake() {
    if (this.view) return;
    const whole = await decoded(this.picture).catch(() => {
      throw new Problem("The service reads this file, but this browser can't show it.", { code: "unknown_image_format" });
    });
    const { source } = this;
    const size = sizeOf(this.side);
    this.size = [whole.width, whole.height];
    const [scaleX, scaleY] = [whole.width / source.width, whole.height / source.height];
    const [left, top, right, bottom] = source.rectangle;
    const cut = [left * scaleX, top * scaleY, (right - left) * scaleX, (bottom - top) * scaleY];
    // A small photo has no more to show than its own pixels: the screen's enlarge them.
    const longer = Math.min(VIEW_SIDE, Math.max(cut[2], cut[3]));
    [this.view, this.seen] = await Promise.all([partOf(whole, cut, scaledTo(size, longer)), partOf(whole, cut, size)]);
    if (!this.fits) this.small = await smallOf(whole);
    whole.close();
  }

  /** Give back its memory, which browsers are slow to do by themselves. */
  sleep() {
    this.view?.close();
    this.seen?.close();
    this.small?.close();
    this.view = this.seen = this.small = null;
    this.#pixels.clear();
  }

  /** RGBA values of the part, stretched to a square of some size. @param {number} side */
  pixels(side) {
    let pixels = this.#pixels.get(side);
    if (!pixels) {
      const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
      context.imageSmoothingQuality = "high";
      context.drawImage(side === this.seen.width ? this.seen : this.view, 0, 0, side, side);
      pixels = context.getImageData(0, 0, side, side).data;
      this.#pixels.set(side, pixels);
    }
    return pixels;
  }

  /** Bytes of the part at the model's size as JPEG. */
  async jpegBytes() {
    const canvas = new OffscreenCanvas(this.seen.width, this.seen.height);
    canvas.getContext("2d").drawImage(this.seen, 0, 0);
    return (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 })).size;
  }
}

/** A picture that the service drew from tokens, and the edits that it shows. */
export class Drawing {
  /** @type {ImageBitmap | null} while it is awake */
  bitmap = null;

  /** @param {import("./api.js").Drawn} drawn @param {object[]} edits */
  constructor({ blob, timing }, edits) {
    Object.assign(this, { blob, timing, edits });
  }

  /** @param {import("./api.js").Drawn} drawn @param {object[]} edits @returns {Promise<Drawing>} awake */
  static async of(drawn, edits) {
    const drawing = new Drawing(drawn, edits);
    await drawing.wake();
    return drawing;
  }

  async wake() {
    this.bitmap ??= await createImageBitmap(this.blob);
  }

  /** Give back its memory. */
  sleep() {
    this.bitmap?.close();
    this.bitmap = null;
  }
}
