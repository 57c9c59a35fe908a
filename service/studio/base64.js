// Base64 of bytes and of little-endian float32 numbers.

/** @param {string} text @returns {Uint8Array} */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** @param {string} text @returns {Float32Array} */
export function floatsOf(text) {
  return new Float32Array(bytesOf(text).buffer);
}

/** @param {Uint8Array} bytes @returns {string} */
export function base64Of(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** @param {Float32Array} floats @returns {string} */
export function base64OfFloats(floats) {
  return base64Of(new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
}
