// Photos that edits take tokens from. An edit names them by their place in a list, as the API does.

import { isTokenFile } from "./tokenfile.js";
import { origin } from "./edits.js";

/**
 * @typedef {object} Donor
 * @property {string} name the file's name
 * @property {string} sample its name among the samples, or ""
 * @property {string} mark what tells its bytes from others, or "" where that is not known
 * @property {boolean} self whether it is the photo that is edited
 * @property {import("./tokens.js").Tokens | null} tokens null until the photo is open
 */

/** The edits with only those donors that they use, numbered anew. @param {any[]} edits @param {Donor[]} donors */
export function compacted(edits, donors) {
  const used = [...new Set(edits.flatMap((edit) => origin(edit)?.donor ?? []))];
  return { edits: renumbered(edits, (donor) => used.indexOf(donor)), donors: used.map((i) => donors[i]) };
}

/** The edits with other places of their donors. @param {any[]} edits @param {(donor: number) => number} place */
export function renumbered(edits, place) {
  return edits.map((edit) => withOrigin(edit, (from) => ({ ...from, donor: place(from.donor) })));
}

/** Whether a photo is the one that a link or a donor names. @param {Omit<Donor, "self" | "tokens">} named @param {import("./photo.js").Photo} photo */
export function isFile({ name, sample, mark }, photo) {
  if (sample || photo.sample) return sample === photo.sample;
  return mark ? mark === photo.mark : name === photo.name;
}

/** The edits with donors' tokens written out as numbers. @param {any[]} edits @param {Donor[]} donors */
export function spelledOut(edits, donors) {
  return edits.map((edit) => withOrigin(edit, (from) => numbersOf(from, donors)));
}

/**
 * The same as `compacted` for calls, where a donor is a whole picture: others are written out.
 * @param {any[]} edits @param {Donor[]} donors @param {boolean} boxed whether the photo is seen in part
 */
export function callable(edits, donors, boxed) {
  const whole = (donor) => !isTokenFile(donor) && !(donor.self && boxed);
  const pictured = ({ donor }) => whole(donors[donor]) || !donors[donor].tokens;
  return compacted(edits.map((edit) => withOrigin(edit, (from) => (pictured(from) ? from : numbersOf(from, donors)))), donors);
}

function numbersOf({ donor, token }, donors) {
  return { semantics: Array.from(donors[donor].tokens.row(token)) };
}

/** Donors that edits need and that are not open. @param {any[]} edits @param {Donor[]} donors */
export function missing(edits, donors) {
  return donors.filter((donor, i) => !donor.tokens && edits.some((edit) => origin(edit)?.donor === i));
}

function withOrigin(edit, change) {
  if (edit.with?.donor !== undefined) return { ...edit, with: change(edit.with) };
  if (edit.toward?.donor !== undefined) return { ...edit, toward: change(edit.toward) };
  return edit;
}
