// Tokens as a safetensors file, as the service writes them: an 8-byte length, a header in JSON, the numbers.
// https://huggingface.co/docs/safetensors

import { Problem } from "./problem.js";
import { Tokens } from "./tokens.js";

/** @param {Blob & {name?: string}} file */
export function isTokenFile(file) {
  return /\.safetensors$/i.test(file.name ?? "");
}

/**
 * One image's tokens.
 * @param {Blob} file @returns {Promise<{tokens: Tokens, model: string}>} and its model's name@version @throws {Problem}
 */
export async function tokensIn(file) {
  try {
    const bytes = await file.arrayBuffer();
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, start - 8)));
    const { model, sources } = header.__metadata__;
    const [source] = JSON.parse(sources);
    const [semantics, localization] = ["semantics", "localization"].map((name) => {
      const { dtype, shape, data_offsets: [from, to] } = header[name];
      if (dtype !== "F32" || shape[0] !== 1) throw new TypeError(name);
      return new Float32Array(bytes.slice(start + from, start + to));
    });
    return { tokens: new Tokens(semantics, localization, header.localization.shape.slice(1, 3), source), model };
  } catch {
    throw new Problem("The file does not hold the tokens of one image as float32.", { code: "bad_token_file" });
  }
}

/**
 * @param {Tokens} tokens @param {string} model its name@version
 * @returns {Blob}
 */
export function tokenFileOf({ semantics, localization, grid, source, count, width }, model) {
  const entry = (shape, from, { byteLength }) => ({ dtype: "F32", shape, data_offsets: [from, from + byteLength] });
  const header = JSON.stringify({
    __metadata__: { model, sources: JSON.stringify([source]) },
    semantics: entry([1, count, width], 0, semantics),
    localization: entry([1, ...grid, count], semantics.byteLength, localization),
  });
  const padded = new TextEncoder().encode(header.padEnd(8 * Math.ceil(header.length / 8)));
  const length = new BigUint64Array([BigInt(padded.length)]);
  return new Blob([length, padded, semantics, localization], { type: "application/octet-stream" });
}
