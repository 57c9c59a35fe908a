// A file's vectors, by which a search compares it.

import { Problem } from "./problem.js";

/** What a model makes of a file, or of a part of it. */
export class Embedded {
  /** By which model, and how the file got its shape: what the vectors come from. */
  seenAs = "";
  /** @type {Map<string, Float32Array | null>} by their pooling: D or r × D numbers, null where the file can't be read */
  #vectors = new Map();

  /** @param {File} file @param {import("./api.js").How["box"]} [box] the part that is seen; all of it if absent */
  constructor(file, box) {
    this.file = file;
    this.box = box;
  }

  /** Whether vectors are there, or can't be. @param {string} way what they come from @param {string} pooling */
  has(way, pooling) {
    return this.seenAs === way && this.#vectors.has(pooling);
  }

  /** @param {string} pooling */
  vector(pooling) {
    return this.#vectors.get(pooling);
  }

  /** Keep an answer; vectors that come from elsewhere go. @param {Float32Array | Problem} answer @param {string} way @param {string} pooling */
  take(answer, way, pooling) {
    if (this.seenAs !== way) this.#vectors.clear();
    this.seenAs = way;
    this.#vectors.set(pooling, answer instanceof Problem ? null : answer);
  }
}
