// Asks for an API key.

import { byId } from "./element.js";

/** @param {string} reason @returns {Promise<string | null>} the key, or null where the visitor has none */
export function askKey(reason) {
  const dialog = byId("key");
  const value = byId("key-value");
  byId("key-reason").textContent = reason.startsWith("This service wants") ? "Whoever runs it can give you one." : reason;
  value.value = "";
  return new Promise((resolve) => {
    const done = (key) => {
      dialog.removeEventListener("submit", submit);
      dialog.removeEventListener("close", close);
      byId("key-cancel").removeEventListener("click", cancel);
      if (dialog.open) dialog.close();
      value.value = "";
      resolve(key);
    };
    const submit = (event) => {
      event.preventDefault();
      done(value.value.trim());
    };
    const cancel = () => done(null);
    const close = () => {
      if (!dialog.open) cancel(); // else this is late, of the time before
    };
    dialog.addEventListener("submit", submit);
    dialog.addEventListener("close", close);
    byId("key-cancel").addEventListener("click", cancel);
    dialog.showModal();
  });
}
