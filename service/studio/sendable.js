// A photo as it is sent: no larger than a model needs, in a format that the service reads.

import { decoded } from "./decoded.js";
import { sizeOf } from "./size.js";

/** Times the model's longer side that the shorter one is sent: what is lost by sending no more is no level in what the model sees. */
const MARGIN = 4;
const SMALL_BYTES = 100e3;
const QUALITY = 0.95;
const READ = new Set(["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"].map((format) => `image/${format}`));

/**
 * What to send of a file: the file itself where it is small, or where this browser can't read it.
 * @param {Blob} file @param {import("./size.js").ImageSize} size the model's
 * @returns {Promise<Blob>}
 */
export async function sendable(file, size) {
  const isRead = READ.has(file.type);
  if (isRead && file.size <= SMALL_BYTES) return file;
  const whole = await decoded(file).catch(() => null);
  if (!whole) return file;
  const { width, height } = sizeOf(size);
  const scale = Math.min(1, (MARGIN * Math.max(width, height)) / Math.min(whole.width, whole.height));
  const small = isRead && scale === 1 ? file : await encoded(whole, scale);
  whole.close();
  return isRead && small.size >= file.size ? file : small;
}

/** @param {ImageBitmap} whole @param {number} scale @returns {Promise<Blob>} WebP, or PNG where the browser writes no WebP */
async function encoded(whole, scale) {
  const [width, height] = [whole.width, whole.height].map((length) => Math.max(1, Math.round(length * scale)));
  const small = await createImageBitmap(whole, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(small, 0, 0);
  small.close();
  return canvas.convertToBlob({ type: "image/webp", quality: QUALITY });
}
