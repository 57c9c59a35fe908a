// The same by API: calls and the link to copy, and what can be downloaded.

import { byId, element, say } from "./element.js";
import { curl, python } from "./calls.js";
import { FIRST_SAMPLE } from "./samples.js";
import { fragmentOf } from "./link.js";

const LANGUAGES = ["curl", "python", "json"];
const HANDED_OUT = ["copy-call", "copy-link", "save-picture", "save-tokens", "save-edits"];

/** The panel of calls, the link in the address bar, the downloads. */
export class CallPanel {
  #language = "curl";

  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    for (const language of LANGUAGES) byId(`call-${language}`).addEventListener("click", () => this.#speak(language));
    byId("copy-call").addEventListener("click", (event) => copy(byId("call").textContent, event.currentTarget));
    byId("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
    byId("save-picture").addEventListener("click", () => this.#savePicture());
    byId("save-edits").addEventListener("click", () => {
      save(new Blob([JSON.stringify(this.#document(), null, 2)], { type: "application/json" }), `${this.#stem()}-edits.json`);
    });
    byId("save-tokens").addEventListener("click", () => this.#saveTokens());
    studio.addEventListener("edits", () => this.#show());
    studio.addEventListener("models", () => this.#show());
  }

  #speak(language) {
    this.#language = language;
    for (const each of LANGUAGES) byId(`call-${each}`).setAttribute("aria-pressed", String(each === language));
    this.#show();
  }

  #stem() {
    return this.studio.photo.name.replace(/\.[^.]*$/, "");
  }

  #document() {
    const { edits, donors } = this.studio.compact();
    return { edits, donors: donors.map((donor) => donor.name), model: this.studio.manifest.id };
  }

  async #savePicture() {
    const { studio } = this;
    // The picture may lag behind the edits.
    while (studio.busy) await new Promise((done) => studio.addEventListener("busy", done, { once: true }));
    const kind = studio.picture.edits.length ? "edited" : "reconstructed";
    save(studio.picture.blob, `${this.#stem()}-${kind}.png`);
  }

  #show() {
    const { studio } = this;
    if (!studio.photo) return;
    for (const id of HANDED_OUT) byId(id).disabled = false;
    const { edits, donors } = studio.compact();
    const call = {
      base: studio.api.base.href,
      model: studio.model === studio.defaultModel ? "" : studio.model,
      keyed: studio.api.keyed,
      photo: studio.photo,
      donors,
      edits,
    };
    const text = { curl: () => curl(call), python: () => python(call), json: () => JSON.stringify(edits, null, 1) };
    byId("call").textContent = text[this.#language]();
    const shared = {
      edits,
      donors: donors.map(({ name, sample, self }) => ({ name, sample, self })),
      model: studio.model,
      sample: studio.photo.sample,
      name: studio.photo.name,
    };
    // Browsers let pages change their address so often only.
    if (!studio.history.drafting) {
      const linked = edits.length || (shared.sample && (shared.sample !== FIRST_SAMPLE || call.model));
      history.replaceState(null, "", linked ? `#${fragmentOf(shared)}` : location.pathname + location.search);
    }
    byId("link-note").textContent = noteOf(studio.photo, donors, edits.length);
  }

  async #saveTokens() {
    const { studio } = this;
    try {
      save(await studio.api.safetensors(studio.photo.file, studio.model), `${this.#stem()}.safetensors`);
    } catch (problem) {
      studio.report(problem);
    }
  }
}

/** What a link holds. */
function noteOf(photo, donors, edited) {
  const own = [photo, ...donors.filter((donor) => !donor.self)].filter((file) => !file.sample).map((file) => file.name);
  if (!edited && own.length) return "Edit something, and the page's address becomes a link to the edit.";
  if (!own.length) return edited ? "The link restores this edit on the sample photo." : "The link opens this sample.";
  return `The link holds the edits, not the image: whoever opens it needs ${[...new Set(own)].join(" and ")} too.`;
}

async function copy(text, button) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  const told = done || copyByHand(text, button) ? "Copied" : "Copying is not allowed";
  say(`${told}.`);
  button.dataset.label ??= button.textContent;
  button.textContent = told;
  setTimeout(() => (button.textContent = button.dataset.label), 1600);
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

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
