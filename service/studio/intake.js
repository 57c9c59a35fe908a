// How photos come in: chosen, dropped, pasted, or one of the samples.

import { byId } from "./element.js";

/**
 * Let a button open the file dialog of an input.
 * @param {string} button @param {string} input @param {(files: File[]) => void} take
 */
export function chooseFiles(button, input, take) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", () => {
    const files = [...byId(input).files];
    byId(input).value = "";
    if (files.length) take(files);
  });
}

/**
 * Take files that are dropped or pasted anywhere on the page.
 * @param {(files: Promise<File[]>, over: Element) => void} take what was dropped, and on what
 */
export function takeFilesAnywhere(take) {
  const veil = byId("drop");
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (hasFiles(event)) veil.hidden = ++depth === 0;
  });
  addEventListener("dragleave", (event) => {
    if (hasFiles(event)) veil.hidden = --depth <= 0;
  });
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    // Entries are gone when this listener returns: ask for them now.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length ? filesIn(entries) : Promise.resolve([...event.dataTransfer.files]);
    take(files, /** @type {Element} */ (event.target));
  });
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(Promise.resolve(files), document.body);
  });
}

/** All files below dropped files and folders. @param {any[]} entries @returns {Promise<File[]>} */
async function filesIn(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    else found.push(...(await filesIn(await childrenOf(entry))));
  }
  return found;
}

/** @returns {Promise<any[]>} what a folder holds: readers hand it out in parts */
async function childrenOf(folder) {
  const reader = folder.createReader();
  const children = [];
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return children;
    children.push(...part);
  }
}
