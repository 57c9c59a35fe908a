// Vectors of many files, as many at a time as a request should carry.

import { Problem } from "./problem.js";
import { sendable } from "./sendable.js";

const BATCH = 8;
const BATCH_BYTES = 16e6;

/** As many items as one request should carry: at least one. @template {{file: Blob}} T @param {T[]} items @returns {T[]} */
export function firstOf(items) {
  let bytes = 0;
  const fitting = items.slice(0, BATCH).filter(({ file }) => (bytes += file.size) <= BATCH_BYTES);
  return fitting.length ? fitting : items.slice(0, 1);
}

/**
 * Vectors of each file, or its problem. What is too much at once goes one by one.
 * @param {import("./api.js").Api} api @param {Blob[]} files
 * @param {{model: any, how: import("./api.js").How, pooling: string}} way a model's manifest, what it sees of the files, which vectors
 * @returns {Promise<(Float32Array | Problem)[]>} @throws {Problem} for what will pass, or a key that is missing
 */
export async function vectorsOf(api, files, way) {
  const { model, how, pooling } = way;
  try {
    const sent = await Promise.all(files.map((file) => sendable(file, model.image_size)));
    return await api.embed(sent, model.name, how, pooling);
  } catch (error) {
    if (!(error instanceof Problem) || error.passes || error.status === 401) throw error;
    if (files.length === 1) return [error];
    const answers = [];
    for (const file of files) answers.push(...(await vectorsOf(api, [file], way)));
    return answers;
  }
}
