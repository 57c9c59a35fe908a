// Photos ranked against the current one, or by one of its tokens. Everything stays in the browser's memory.

import { CallBox } from "./callbox.js";
import { Problem } from "./problem.js";
import { byId, element, say } from "./element.js";
import { chooseFiles } from "./intake.js";
import { FoundMap } from "./foundmap.js";
import { bestOf, cosine } from "./tokens.js";
import { sendable } from "./sendable.js";
import { Regions } from "./regions.js";
import { firstOf, vectorsOf } from "./embedding.js";
import { SAMPLES } from "./samples.js";
import { THUMB, drawSmall, outline, thumbOf } from "./thumb.js";

const CALLED = 7; // results in the call that is shown
const LIT = 12; // results on which the found token's region is drawn

/**
 * @typedef {object} Item a photo to search
 * @property {File} file
 * @property {string} sample its name among the samples, or ""
 * @property {string} seenAs by which model, and how it got its shape: what the vectors come from
 * @property {Map<string, Float32Array | null>} vectors by their pooling: D or r × D numbers, null where the file can't be read
 * @property {import("./tokens.js").Tokens | null} tokens fetched for the best results only
 * @property {HTMLCanvasElement} canvas
 * @property {HTMLElement} card
 */

/** What a file that is added twice has in common with itself. @param {File} file */
function sameness({ name, webkitRelativePath, size, lastModified }) {
  return [webkitRelativePath || name, size, lastModified].join("/");
}

/** The search view. */
export class Search {
  /** @type {Item[]} */
  #items = [];
  /** @type {Pick<Item, "file" | "seenAs" | "vectors"> | null} the photo that is searched for */
  #asked = null;
  /** @type {Set<string>} files that are no pictures */
  #refused = new Set();
  #working = false;

  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.#build();
    for (const kind of ["photo", "selection", "models"]) studio.addEventListener(kind, () => this.#shown && this.#refresh());
  }

  get #shown() {
    return !byId("view-search").hidden;
  }

  /** Which vectors are compared: the model's best ones of a whole photo, or those of its tokens. */
  get #pooling() {
    const { selected, manifest } = this.studio;
    if (selected === null) return manifest.poolings[0];
    return manifest.poolings.includes("concepts") ? "concepts" : "tokens";
  }

  /** The model and the fit, as photos are to be seen. Names have no spaces. */
  get #way() {
    return `${this.studio.model} ${this.studio.photo?.fit}`;
  }

  /** Whether vectors of the model that is chosen are there, or can't be. @param {Item} item @param {string} pooling */
  #has(item, pooling) {
    return item.seenAs === this.#way && item.vectors.has(pooling);
  }

  /** All photos, the one that is searched for first. */
  get #all() {
    const { photo } = this.studio;
    const { picture: file, box } = photo;
    if (this.#asked?.file !== file || this.#asked.box !== (box || undefined)) this.#asked = { file, box: box || undefined, seenAs: "", vectors: new Map() };
    return [this.#asked, ...this.#items];
  }

  /** The view comes into sight. */
  open() {
    this.#refresh();
  }

  /** Take in photos. @param {File[]} files @param {boolean} [sampled] whether they are samples */
  async add(files, sampled = false) {
    const here = new Set(this.#items.map(({ file }) => sameness(file)));
    for (const file of files) {
      if (here.has(sameness(file))) continue;
      here.add(sameness(file));
      if (!file.type.startsWith("image/")) {
        this.#refused.add(sameness(file));
        continue;
      }
      const canvas = element("canvas", { width: THUMB, height: THUMB, "aria-hidden": "true" });
      const card = element("li", { className: "found" });
      const sample = sampled ? file.name.replace(/\.jpg$/, "") : "";
      this.#items.push({ file, sample, seenAs: "", vectors: new Map(), tokens: null, canvas, card });
    }
    await this.#embed();
  }

  #build() {
    const button = (id, text, properties = {}) => element("button", { type: "button", id, ...properties }, text);
    const input = (id, label, properties) => element("input", { type: "file", id, className: "hidden", multiple: true, tabIndex: -1, "aria-label": label, ...properties });
    this.by = element("select", { id: "search-by", onchange: () => this.#choose() });
    this.note = element("p", { className: "minor", id: "search-note", role: "status" });
    this.list = element("ol", { className: "results", id: "results", "aria-label": "Results, best first" });
    this.query = element("canvas", {
      width: THUMB, height: THUMB, role: "img", "aria-label": "What is searched for", title: "Click a thing to search for it", onclick: (event) => this.#point(event),
    });
    this.map = new FoundMap(({ file, sample }) => this.studio.arrivals.open(file, sample));
    const panel = element("section", { className: "panel call", "aria-labelledby": "search-call-title" });
    byId("view-search").append(
      element("section", { className: "panel ask", "aria-labelledby": "search-title" },
        this.query,
        element("div", {},
          element("h2", { id: "search-title" }, "Find photos like it"),
          element("p", { className: "minor" }, "Add photos, or drop a folder here. They are ranked by how much they resemble this one as a whole, or by the one token of theirs that comes closest to a token of this photo. How well that finds a thing depends on the model: the bundled one goes by colour and place more than by meaning. The ranking stays in this tab."),
          element("div", { className: "row wrap" },
            element("label", { htmlFor: "search-by" }, "Rank by"), this.by,
            button("search-choose", "Add photos"), button("search-folder", "Add a folder"),
            button("search-samples", "Add the samples", { onclick: () => this.#addSamples() }),
            button("search-clear", "Clear", { onclick: () => this.#clear() })),
          input("search-file", "Photos to search", { accept: "image/*" }),
          input("search-directory", "Folder to search", { webkitdirectory: true }),
          this.note)),
      this.map.node,
      this.list,
      panel,
    );
    this.box = new CallBox(panel, "search-call", ["curl", "python"]);
    chooseFiles("search-choose", "search-file", (files) => this.add(files));
    chooseFiles("search-folder", "search-directory", (files) => this.add(files));
  }

  async #addSamples() {
    try {
      const files = await Promise.all(Object.keys(SAMPLES).map((name) => this.studio.api.sample(name)));
      await this.add(files, true);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.studio.messages.report(error);
    }
  }

  #clear() {
    this.#items = [];
    this.#refused.clear();
    this.#refresh();
  }

  #choose() {
    const { studio } = this;
    const wanted = this.by.value === "photo" ? null : Number(this.by.value);
    if (wanted === null) studio.deselect();
    if (wanted !== null && studio.selected !== wanted) studio.select(wanted);
    this.#refresh();
  }

  /** Search for what was clicked in the photo; again, for all of it. */
  #point({ offsetX, offsetY }) {
    const { clientWidth: width, clientHeight: height } = this.query;
    if (this.regions) this.studio.select(this.regions.at(offsetX / width, offsetY / height));
  }

  #refresh() {
    const { studio } = this;
    if (!studio.tokens) {
      this.note.textContent = "Open a photo first.";
      return;
    }
    const tokens = Array.from({ length: studio.tokens.count }, (_, k) => element("option", { value: String(k) }, `token ${k}`));
    this.by.replaceChildren(element("option", { value: "photo" }, "the whole photo"), ...tokens);
    this.by.value = studio.selected === null ? "photo" : String(studio.selected);
    drawSmall(this.query, studio.photo.view);
    this.regions = new Regions(studio.tokens);
    if (studio.selected !== null) outline(this.query, this.regions, studio.selected, studio.selected);
    if (this.#items.length && this.#all.some((item) => !this.#has(item, this.#pooling))) void this.#embed();
    else this.#rank();
  }

  /** Ask for the vectors that are missing, some at a time. */
  async #embed() {
    const { studio } = this;
    if (this.#working || !studio.photo) return;
    this.#working = true;
    try {
      for (;;) {
        const way = this.#way;
        const pooling = this.#pooling;
        const left = this.#all.filter((item) => !this.#has(item, pooling));
        if (!left.length) break;
        this.note.textContent = `Reading ${left.length} photo${left.length > 1 ? "s" : ""}…`;
        // Of the photo that is searched for the model may see a part; of others the same as of all.
        const { box } = left[0];
        const batch = firstOf(left.filter((item) => item.box === box));
        const [model, fit] = way.split(" ");
        const how = { fit, ...(box ? { box } : {}) };
        const answers = await vectorsOf(studio.api, batch.map(({ file }) => file), { model: studio.models.named(model), how, pooling });
        await Promise.all(batch.map((item, i) => this.#take(item, answers[i], way, pooling)));
        if (this.#shown) this.#rank();
      }
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.note.textContent = error.sentence;
      if (error.passes) studio.connection.retry("search", error, () => this.#embed());
      else studio.messages.report(error);
    } finally {
      this.#working = false;
    }
  }

  async #take(item, answer, way, pooling) {
    if (item.seenAs !== way) {
      item.vectors.clear();
      item.tokens = item.thumb = null;
    }
    item.seenAs = way;
    item.vectors.set(pooling, answer instanceof Problem ? null : answer);
    if (item.canvas && item.vectors.get(pooling)) await this.#draw(item);
  }

  #rank() {
    const { studio } = this;
    if (!studio.photo) return;
    const pooling = this.#pooling;
    const [{ vectors }, ...items] = this.#all;
    const asked = this.#has(this.#asked, pooling) ? vectors.get(pooling) : null;
    const width = studio.tokens.width;
    const query = studio.selected === null ? asked : asked?.subarray(studio.selected * width, (studio.selected + 1) * width);
    const known = items.filter((item) => this.#has(item, pooling));
    const read = query ? known.filter((item) => item.vectors.get(pooling)) : [];
    const ranked = read.map((item) => ({
      item,
      ...(studio.selected === null
        ? { token: null, score: cosine(item.vectors.get(pooling), query) }
        : bestOf(item.vectors.get(pooling), query)),
    }));
    ranked.sort((a, b) => b.score - a.score);
    this.list.replaceChildren(...ranked.map((each, i) => this.#card(each, i)));
    const unread = known.filter((item) => !item.vectors.get(pooling)).length + this.#refused.size;
    const by = studio.selected === null ? "the whole photo" : `token ${studio.selected}`;
    this.note.textContent = [
      read.length ? `${read.length} photo${read.length > 1 ? "s" : ""} ranked by ${by}.` : "No photos yet.",
      unread ? `${unread} file${unread > 1 ? "s" : ""} could not be read.` : "",
    ].join(" ").trim();
    if (read.length) say(this.note.textContent);
    this.#showCall(ranked.map(({ item }) => item));
    const whole = studio.selected === null && query;
    this.map.show(whole ? { vector: query, canvas: this.query } : null, ranked.map(({ item }) => ({ item, vector: item.vectors.get(pooling) })));
  }

  /** The same by API: the vectors of this photo and of the best results. @param {Item[]} found */
  #showCall(found) {
    const { studio } = this;
    const others = found.slice(0, CALLED).map(({ file, sample }) => ["image", { name: file.name, sample }]);
    const left = studio.selected === null
      ? "Results are ranked by the cosine of their vector and the first one."
      : `Results are ranked by the highest cosine of any of their tokens and token ${studio.selected} of the first image.`;
    const fields = { model: studio.namedModel, fit: studio.namedFit, pooling: this.#pooling };
    const call = { ...studio.api.about, route: "embed", fields };
    const { box, pictured } = studio.photo;
    const asked = ["image", pictured];
    const calls = box && others.length
      ? [{ ...call, files: [asked], fields: { ...fields, box }, out: "asked.json" }, { ...call, files: others, out: "vectors.json" }]
      : [{ ...call, files: [asked, ...others], fields: { ...fields, box }, out: "vectors.json" }];
    this.box.show(calls, left);
  }

  #card({ item, token, score }, i) {
    const { card, canvas, file, sample } = item;
    const text = token === null ? "" : ` · token ${token}`;
    const name = element("span", {}, file.name);
    const open = element("button", { type: "button", title: `Open ${file.name}`, onclick: () => this.studio.arrivals.open(file, sample) }, canvas, name);
    card.replaceChildren(open, element("p", { className: "minor" }, `${score.toFixed(3)}${text}`));
    card.dataset.score = score.toFixed(6);
    if (i < LIT) void this.#light(item, token);
    return card;
  }

  /** Draw a photo again, without light on it. What the browser can't read has no picture. @param {any} item */
  async #draw(item) {
    const [model, fit] = item.seenAs.split(" ");
    item.thumb ??= await thumbOf(item.file, fit, this.studio.models.named(model).image_size).catch(() => null);
    if (item.thumb) drawSmall(item.canvas, item.thumb);
  }

  /** Draw where the found token is. */
  async #light(item, token) {
    item.lit = token;
    if (token !== null && !item.tokens) {
      const { seenAs } = item;
      const sent = await sendable(item.file, this.studio.manifest.image_size);
      const [model, fit] = seenAs.split(" ");
      const answer = await this.studio.api.tokens(sent, model, { fit }).catch(() => null);
      if (item.seenAs === seenAs) item.tokens = answer?.tokens ?? null;
    }
    if (item.lit !== token) return;
    await this.#draw(item);
    if (token !== null && item.tokens && item.lit === token) outline(item.canvas, new Regions(item.tokens), token, this.studio.selected ?? 0);
  }
}
