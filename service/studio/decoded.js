// A file as a picture, as this browser reads it.

const DRAWING_SIDE = 1024;

/**
 * Its pixels, upright.
 * @param {Blob} file @returns {Promise<ImageBitmap>} @throws {DOMException} where the browser can't read it
 */
export async function decoded(file) {
  if (!file.type.startsWith("image/svg")) return createImageBitmap(file);
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    const [width, height] = [image.naturalWidth || DRAWING_SIDE, image.naturalHeight || DRAWING_SIDE];
    // A drawing has any size: its longer side gets this one.
    const scale = DRAWING_SIDE / Math.max(width, height);
    const [across, down] = [width, height].map((length) => Math.max(1, Math.round(length * scale)));
    const canvas = new OffscreenCanvas(across, down);
    canvas.getContext("2d").drawImage(image, 0, 0, across, down);
    return canvas.transferToImageBitmap();
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
