// Photos that edits take tokens from. An edit names them by their place in a list, as the API does.

import { origin } from "./edits.js";

/**
 * @typedef {object} Donor
 * @property {string} name the file's name
 * @property {string} sample its name among the samples, or ""
 * @property {boolean} self whether it is the photo that is edited
 * @property {import("./tokens.js").Tokens | null} tokens null until the photo is open
 */

/** The edits with only those donors that they use, numbered anew. @param {any[]} edits @param {Donor[]} donors */
export function compacted(edits, donors) {
  const used = [...new Set(edits.flatMap((edit) => origin(edit)?.donor ?? []))];
  const renumbered = edits.map((edit) => withOrigin(edit, (from) => ({ ...from, donor: used.indexOf(from.donor) })));
  return { edits: renumbered, donors: used.map((i) => donors[i]) };
}

/** The edits with donors' tokens written out as numbers. @param {any[]} edits @param {Donor[]} donors */
export function spelledOut(edits, donors) {
  return edits.map((edit) =>
    withOrigin(edit, ({ donor, token }) => ({ semantics: Array.from(donors[donor].tokens.row(token)) })),
  );
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
