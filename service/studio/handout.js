// What visitors take with them: calls and the link to copy, and what can be downloaded.

import { CallBox } from "./callbox.js";
import { FIRST_SAMPLE } from "./samples.js";
import { Problem } from "./problem.js";
import { byId, element } from "./element.js";
import { copy } from "./clipboard.js";
import { fragmentOf } from "./link.js";

const BUTTONS = ["copy-link", "save-picture", "save-tokens", "save-edits"];

/** The panel of calls, the link in the address bar, the downloads. */
export class HandOut {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.box = new CallBox(byId("call-panel"), "call", ["curl", "python", "json"]);
    byId("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
    byId("save-picture").addEventListener("click", () => this.#savePicture());
    byId("save-edits").addEventListener("click", () => {
      save(new Blob([JSON.stringify(this.#document(), null, 2)], { type: "application/json" }), `${this.#stem()}-edits.json`);
    });
    byId("save-tokens").addEventListener("click", () => this.#saveTokens());
    studio.addEventListener("edits", () => this.#show());
    studio.addEventListener("models", () => this.#show());
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
    const picture = await studio.picture.settled();
    if (!picture) return studio.messages.report(new Problem("There is no picture of these edits.", { code: "bad_edit" }));
    const kind = picture.edits.length ? "edited" : "reconstructed";
    save(picture.blob, `${this.#stem()}-${kind}.png`);
  }

  #show() {
    const { studio } = this;
    if (!studio.photo) return;
    for (const id of BUTTONS) byId(id).disabled = false;
    const { edits, donors } = studio.compact();
    const files = [["image", studio.photo], ...donors.map((donor) => ["donor", donor])];
    const model = studio.namedModel;
    const fit = studio.namedFit;
    this.box.show([{ ...studio.api.about, route: "reconstruct", files, fields: { model, fit, edits }, out: "out.png" }], callNote(studio.photo));
    const shared = {
      edits,
      donors: donors.map(({ name, sample, mark, self }) => ({ name, sample, mark, self })),
      model: studio.model,
      sample: studio.photo.sample,
      name: studio.photo.name,
      mark: studio.photo.mark,
      fit: studio.photo.fit,
    };
    // Browsers let pages change their address so often only.
    if (!studio.history.drafting) {
      const linked = edits.length || (shared.sample && (shared.sample !== FIRST_SAMPLE || model || fit));
      history.replaceState(null, "", linked ? `#${fragmentOf(shared)}` : location.pathname + location.search);
    }
    byId("link-note").textContent = noteOf(studio.photo, donors, edits.length);
  }

  async #saveTokens() {
    const { studio } = this;
    try {
      save(await studio.api.safetensors(studio.photo.file, studio.model, studio.photo.fit), `${this.#stem()}.safetensors`);
    } catch (problem) {
      studio.messages.report(problem);
    }
  }
}

/** In what the call differs from what the page did. */
function callNote({ file, sent }) {
  if (sent === file) return "";
  return "The page sent the photo smaller, which changes the picture by a level or so; the call sends your file, in a format that the service reads.";
}

/** What a link holds. */
function noteOf(photo, donors, edited) {
  const own = [photo, ...donors.filter((donor) => !donor.self)].filter((file) => !file.sample).map((file) => file.name);
  if (!edited && own.length) return "Edit something, and the page's address becomes a link to the edit.";
  if (!own.length) return edited ? "The link restores this edit on the sample photo." : "The link opens this sample.";
  return `The link holds the edits, not the image: whoever opens it needs ${[...new Set(own)].join(" and ")} too.`;
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
