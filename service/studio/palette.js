// Colours of tokens: eight hues, each light and strong, so that neighbours in number differ most.

const COLOURS = [
  "#fd8a8c", "#0083b3", "#5ccb89", "#b64073", "#b0a0ff", "#4c8300", "#ed9d44", "#4769ce",
  "#00cbd4", "#ba480d", "#e78dd4", "#008d70", "#b7b840", "#9050b4", "#5bb9ff", "#996800",
];

/** @param {number} k @returns {string} */
export function colour(k) {
  return COLOURS[k % COLOURS.length];
}

/** @param {number} k @returns {[number, number, number]} */
export function rgb(k) {
  const value = parseInt(colour(k).slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}
