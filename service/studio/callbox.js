// A panel with the same by API: a call in one of several languages, to copy.

import { copy } from "./clipboard.js";
import { curl, python } from "./calls.js";
import { element } from "./element.js";

const LANGUAGES = { curl: "curl", python: "Python", json: "JSON" };

/** What a view does, as calls. */
export class CallBox {
  #language = "curl";
  /** @type {import("./calls.js").Call[]} */
  #calls = [];

  /** @param {HTMLElement} panel @param {string} id of the text @param {string[]} languages */
  constructor(panel, id, languages) {
    const button = (text, properties) => element("button", { type: "button", ...properties }, text);
    this.buttons = languages.map((language) =>
      button(LANGUAGES[language], { id: `${id}-${language}`, "data-language": language, onclick: () => this.#speak(language) }));
    this.text = element("pre", { id, tabIndex: 0, role: "region", "aria-label": "The call" });
    this.copy = button("Copy", { id: `copy-${id}`, disabled: true, onclick: () => copy(this.text.textContent, this.copy) });
    this.note = element("p", { className: "minor", hidden: true });
    panel.append(
      element("div", { className: "row" }, element("h2", { id: `${id}-title` }, "The same by API"),
        element("div", { className: "segments", role: "group", "aria-label": "Language" }, ...this.buttons), this.copy),
      this.text, this.note,
    );
    this.#speak(this.#language);
  }

  /** @param {import("./calls.js").Call[]} calls one after the other @param {string} [note] what is left to do with the answers */
  show(calls, note = "") {
    this.#calls = calls;
    this.copy.disabled = !calls.length;
    this.note.textContent = note;
    this.note.hidden = !note;
    const json = () => JSON.stringify(calls[0].fields.edits ?? [], null, 1);
    this.text.textContent = calls.length ? { curl, python, json }[this.#language](calls) : "";
  }

  #speak(language) {
    this.#language = language;
    for (const each of this.buttons) each.setAttribute("aria-pressed", String(each.dataset.language === language));
    this.show(this.#calls, this.note.textContent);
  }
}
