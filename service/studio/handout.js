// What visitors take with them: calls and the link to copy, and what can be downloaded.

import { CallBox } from "./callbox.js";
import { FIRST_SAMPLE } from "./samples.js";
import { Problem } from "./problem.js";
import { byId, element } from "./element.js";
import { copy } from "./clipboard.js";
import { fragmentOf } from "./link.js";
import { tokenFileOf } from "./tokenfile.js";

const BUTTONS = ["copy-link", "share", "save-picture", "save-tokens", "save-edits"];

/** The panel of calls, the link in the address bar, the downloads. */
export class HandOut {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.box = new CallBox(byId("call-panel"), "call", ["curl", "python", "json"]);
    byId("copy-link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
    byId("save-picture").addEventListener("click", () => this.#savePicture());
    byId("save-edits").addEventListener("click", () => {
      save(new Blob([JSON.stringify(this.#shared, null, 2)], { type: "application/json" }), `${this.#stem()}-edits.json`);
    });
    byId("share").hidden = !navigator.share;
    byId("share").addEventListener("click", () => this.#share());
    byId("save-tokens").addEventListener("click", () => this.#saveTokens());
    studio.addEventListener("edits", () => this.#show());
    studio.addEventListener("models", () => this.#show());
  }

  #stem() {
    return this.studio.photo.name.replace(/\.[^.]*$/, "");
  }

  /** What a link and a file of edits hold. @returns {import("./link.js").Shared} */
  get #shared() {
    const { studio } = this;
    const { edits, donors } = studio.compact();
    const { sample, name, mark, fit, box } = studio.photo;
    const named = donors.map((donor) => ({ name: donor.name, sample: donor.sample, mark: donor.mark, self: donor.self }));
    return { edits, donors: named, model: studio.model, sample, name, mark, fit, box: box || undefined };
  }

  async #savePicture() {
    const { studio } = this;
    // The picture may lag behind the edits.
    const picture = await studio.picture.settled();
    if (!picture) return studio.messages.report(new Problem("There is no picture of these edits.", { code: "bad_edit" }));
    const kind = picture.edits.length ? "edited" : "reconstructed";
    save(picture.blob, `${this.#stem()}-${kind}.png`);
  }

  /** Hand the link and the picture to the system, which knows where people send things. */
  async #share() {
    const picture = await this.studio.picture.settled();
    const files = picture ? [new File([picture.blob], `${this.#stem()}.png`, { type: "image/png" })] : [];
    const link = { title: "STELLAR studio", url: location.href };
    const all = { ...link, files };
    // Who closes the sheet has changed their mind.
    await navigator.share(navigator.canShare?.(all) ? all : link).catch(() => undefined);
  }

  #show() {
    const { studio } = this;
    if (!studio.photo) return;
    for (const id of BUTTONS) byId(id).disabled = false;
    const { edits, donors } = studio.callable();
    const files = [[studio.photo.ofTokens ? "tokens" : "image", studio.photo], ...donors.map((donor) => ["donor", donor])];
    const model = studio.namedModel;
    const fit = studio.namedFit;
    const { box } = studio.photo;
    this.box.show([{ ...studio.api.about, route: "reconstruct", files, fields: { model, fit, box, edits }, out: "out.png" }], callNote(studio.photo));
    // Browsers let pages change their address so often only.
    if (!studio.history.drafting) {
      const { sample } = studio.photo;
      const linked = edits.length || (sample && (sample !== FIRST_SAMPLE || model || fit || box));
      history.replaceState(null, "", linked ? `#${fragmentOf(this.#shared)}` : location.pathname + location.search);
    }
    byId("link-note").textContent = noteOf(studio.photo, studio.compact().donors, edits.length);
  }

  async #saveTokens() {
    const { studio } = this;
    // What the page has edited only the page has.
    if (studio.edits.length || studio.photo.ofTokens) {
      const file = tokenFileOf(studio.edited.tokens, studio.manifest.id);
      return save(file, `${this.#stem()}${studio.edits.length ? "-edited" : ""}.safetensors`);
    }
    try {
      save(await studio.api.safetensors(studio.photo.file, studio.model, studio.photo.how), `${this.#stem()}.safetensors`);
    } catch (problem) {
      studio.messages.report(problem);
    }
  }
}

/** In what the call differs from what the page did. */
function callNote({ file, sent, ofTokens }) {
  if (sent === file || ofTokens) return "";
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
