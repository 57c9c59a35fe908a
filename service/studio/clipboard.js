// Copying text, and telling that it was copied.

import { element, say } from "./element.js";

const TOLD_MS = 1600;

/** @param {string} text @param {HTMLButtonElement} button the one that was pressed */
export async function copy(text, button) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  const told = done || copyByHand(text, button) ? "Copied" : "Copying is not allowed";
  say(`${told}.`);
  button.dataset.label ??= button.textContent;
  button.textContent = told;
  setTimeout(() => (button.textContent = button.dataset.label), TOLD_MS);
}

/** Without HTTPS browsers have the old way only: what is selected. @returns {boolean} whether it worked */
function copyByHand(text, button) {
  const field = element("textarea", { value: text, className: "hidden", readOnly: true });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  button.focus();
  return done;
}
