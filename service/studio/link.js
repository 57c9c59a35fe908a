// The state of an edit as a link. It holds no image: only which sample it was, or the file's name.

import { FITS } from "./photo.js";
import { base64Of, bytesOf } from "./base64.js";

/** Of a frame that was dragged along one side. */
const BOX = /^(0,[\d.]{1,6},1,[\d.]{1,6}|[\d.]{1,6},0,[\d.]{1,6},1)$/;

/**
 * @typedef {object} Shared
 * @property {object[]} edits
 * @property {{name: string, sample: string, mark: string, self: boolean}[]} donors
 * @property {string} model
 * @property {string} sample the photo among the samples, or ""
 * @property {string} fit how it gets the model's shape
 * @property {string} [box] the part of it that is seen, as calls have it
 * @property {string} name the photo's file name
 * @property {string} mark what tells its bytes from others; "" in links of before
 */

/** @param {Shared} shared @returns {string} what stands behind # */
export function fragmentOf(shared) {
  const bytes = new TextEncoder().encode(JSON.stringify(shared));
  return `edit=${base64Of(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** @param {string} fragment @returns {Shared | null} null where there is none @throws {SyntaxError} where it is damaged */
export function sharedIn(fragment) {
  const text = new URLSearchParams(fragment.replace(/^#/, "")).get("edit");
  if (!text) return null;
  try {
    return sharedOf(JSON.parse(new TextDecoder().decode(bytesOf(text.replaceAll("-", "+").replaceAll("_", "/")))));
  } catch {
    throw new SyntaxError("The link is damaged: parts of it are missing or were changed.");
  }
}

/** What a file of saved edits holds: the same as a link. @param {Blob} file @returns {Promise<Shared>} @throws {SyntaxError} */
export async function sharedInFile(file) {
  try {
    return sharedOf(JSON.parse(await file.text()));
  } catch {
    throw new SyntaxError("The file holds no edits that this page has saved.");
  }
}

/** Whether a box is one that the frame may have, or none. */
function isBox(box, fit) {
  if (box === "") return true;
  const [left, top, right, bottom] = BOX.test(box) && fit === "crop" ? box.split(",").map(Number) : [];
  return left < right && right <= 1 && top < bottom && bottom <= 1;
}

/** @returns {Shared} @throws {TypeError} where it is none */
function sharedOf({ edits, donors, model, sample, name, mark = "", fit = "crop", box = "" }) {
  if (!(fit in FITS) || !isBox(box, fit) || !Array.isArray(edits) || !edits.every((edit) => typeof edit?.op === "string")) throw new TypeError();
  const donorOf = (donor) => ({ name: String(donor.name), sample: String(donor.sample), mark: String(donor.mark ?? ""), self: Boolean(donor.self) });
  return { edits, donors: Array.from(donors, donorOf), model: String(model), sample: String(sample), name: String(name), fit, box, mark: String(mark) };
}
