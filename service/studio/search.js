// Photos ranked against the current one, or by one of its tokens. Everything stays in the browser's memory.

import { CallBox } from "./callbox.js";
import { Problem } from "./problem.js";
import { byId, element, say } from "./element.js";
import { chooseFiles } from "./intake.js";
import { FoundMap } from "./foundmap.js";
import { bestOf, cosine } from "./tokens.js";
import { Candidate } from "./candidate.js";
import { Embedded } from "./embedded.js";
import { Regions } from "./regions.js";
import { firstOf, vectorsOf } from "./embedding.js";
import { SAMPLES } from "./samples.js";
import { THUMB, drawSmall, outline } from "./thumb.js";

const CALLED = 7; // results in the call that is shown
const LIT = 12; // results on which the found token's region is drawn

/** What a file that is added twice has in common with itself. @param {File} file */
function sameness({ name, webkitRelativePath, size, lastModified }) {
  return [webkitRelativePath || name, size, lastModified].join("/");
}

/** The search view. */
export class Search {
  /** @type {Candidate[]} */
  #items = [];
  /** @type {Embedded | null} the photo that is searched for */
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

  /** All photos, the one that is searched for first. */
  get #all() {
    const { photo } = this.studio;
    const { picture: file, box } = photo;
    if (this.#asked?.file !== file || this.#asked.box !== (box || undefined)) this.#asked = new Embedded(file, box || undefined);
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
      this.#items.push(new Candidate(this.studio, file, sampled ? file.name.replace(/\.jpg$/, "") : ""));
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
    if (this.#items.length && this.#all.some((item) => !item.has(this.#way, this.#pooling))) void this.#embed();
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
        const left = this.#all.filter((item) => !item.has(way, pooling));
        if (!left.length) break;
        this.note.textContent = `Reading ${left.length} photo${left.length > 1 ? "s" : ""}…`;
        // Of the photo that is searched for the model may see a part; of others the same as of all.
        const { box } = left[0];
        const batch = firstOf(left.filter((item) => item.box === box));
        const [model, fit] = way.split(" ");
        const how = { fit, ...(box ? { box } : {}) };
        const answers = await vectorsOf(studio.api, batch.map(({ file }) => file), { model: studio.models.named(model), how, pooling });
        await Promise.all(batch.map((item, i) => item.take(answers[i], way, pooling)));
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

  #rank() {
    const { studio } = this;
    if (!studio.photo) return;
    const [way, pooling] = [this.#way, this.#pooling];
    const [photo, ...items] = this.#all;
    const asked = photo.has(way, pooling) ? photo.vector(pooling) : null;
    const width = studio.tokens.width;
    const query = studio.selected === null ? asked : asked?.subarray(studio.selected * width, (studio.selected + 1) * width);
    const known = items.filter((item) => item.has(way, pooling));
    const read = query ? known.filter((item) => item.vector(pooling)) : [];
    const ranked = read.map((item) => ({
      item,
      ...(studio.selected === null
        ? { token: null, score: cosine(item.vector(pooling), query) }
        : bestOf(item.vector(pooling), query)),
    }));
    ranked.sort((a, b) => b.score - a.score);
    this.list.replaceChildren(...ranked.map(({ item, ...found }, i) => item.card(found, i < LIT)));
    const unread = known.filter((item) => !item.vector(pooling)).length + this.#refused.size;
    const by = studio.selected === null ? "the whole photo" : `token ${studio.selected}`;
    this.note.textContent = [
      read.length ? `${read.length} photo${read.length > 1 ? "s" : ""} ranked by ${by}.` : "No photos yet.",
      unread ? `${unread} file${unread > 1 ? "s" : ""} could not be read.` : "",
    ].join(" ").trim();
    if (read.length) say(this.note.textContent);
    this.#showCall(ranked.map(({ item }) => item));
    const whole = studio.selected === null && query;
    this.map.show(whole ? { vector: query, canvas: this.query } : null, ranked.map(({ item }) => ({ item, vector: item.vector(pooling) })));
  }

  /** The same by API: the vectors of this photo and of the best results. @param {Candidate[]} found */
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
}
