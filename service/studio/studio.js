// The state of the editor. Views listen to its events and call its methods; it alone talks to the service.

import { applyEdits, extended } from "./edits.js";
import { compacted, missing, spelledOut } from "./donors.js";
import { Drawing, Photo, nameOf } from "./photo.js";
import { History } from "./history.js";
import { Latest } from "./latest.js";
import { Problem } from "./problem.js";

/**
 * Events: "models", "opening", "photo", "edits", "selection", "hover", "donors", "picture", "busy", "problem".
 */
export class Studio extends EventTarget {
  #latest = new Latest();
  #turn = new AbortController();
  #secondTurn = new AbortController();
  #frame = 0;
  history = new History();
  /** @type {any[]} */
  models = [];
  defaultModel = "";
  model = "";
  /** @type {Photo | null} */
  photo = null;
  /** @type {import("./tokens.js").Tokens | null} as the model saw the photo */
  tokens = null;
  /** @type {import("./edits.js").Edited | null} after the edits */
  edited = null;
  /** @type {import("./donors.js").Donor[]} */
  donors = [];
  /** @type {{photo: Photo, tokens: import("./tokens.js").Tokens, index: number} | null} */
  second = null;
  /** @type {number[]} tokens that are selected, the last one above all */
  selection = [];
  /** @type {number | null} */
  hovered = null;
  /** @type {Drawing | null} what the tokens without edits show */
  plain = null;
  /** @type {Drawing | null} what the edited tokens show */
  picture = null;
  /** The file that is on its way to be shown, or "". */
  opening = "";
  /** The same for the second photo. */
  openingSecond = "";
  /** @type {import("./donors.js").Donor[]} photos that edits need and that are not open: nothing is edited until they are */
  lacking = [];
  /** Whether the picture does not show the edits yet. */
  busy = false;
  /** @type {Problem | null} */
  problem = null;
  /** @type {import("./link.js").Shared | null} what a link brought and a photo is still missing for */
  pending = null;

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection */
  constructor(api, connection) {
    super();
    this.api = api;
    this.connection = connection;
  }

  /** Ask what is served. */
  async start() {
    const { default: name, models } = await this.api.models();
    this.models = models;
    this.defaultModel = name;
    const wanted = this.pending?.model || this.model;
    this.model = models.some((model) => model.name === wanted) ? wanted : name;
    this.#tell("models");
  }

  /** The model's description, as /models tells it. */
  get manifest() {
    return this.models.find((model) => model.name === this.model);
  }

  /** The model's name for calls, "" for the default one. */
  get namedModel() {
    return this.model === this.defaultModel ? "" : this.model;
  }

  get edits() {
    return this.history.present;
  }

  /** The selected token above all, or null. */
  get selected() {
    return this.selection.at(-1) ?? null;
  }

  /** @param {string} name */
  async useModel(name) {
    this.model = name;
    this.#tell("models");
    this.history = new History();
    this.donors = [];
    this.second = null;
    this.#tell("donors");
    if (this.photo) await this.open(this.photo.file, this.photo.sample);
  }

  /** Show another photo. @param {Blob | null} file null for a sample @param {string} [sample] its name among the samples */
  async open(file, sample = "") {
    this.#turn.abort();
    const { signal } = (this.#turn = new AbortController());
    this.#setBusy(true);
    this.opening = file ? nameOf(file) : `${sample}.jpg`;
    this.#tell("opening");
    await this.#try("open", () => this.open(file, sample), signal, async () => {
      const [photo, tokens] = await this.#see(file, sample, signal);
      const plain = await Drawing.of(await this.api.reconstruct(tokens, [], this.model, signal), []);
      if (signal.aborted) return;
      this.photo?.close();
      this.plain?.close();
      this.#show(plain);
      Object.assign(this, { photo, tokens, plain, selection: [], hovered: null, problem: null });
      this.history = new History(this.pending?.edits);
      this.donors = (this.pending?.donors ?? []).map((donor) => ({ ...donor, tokens: donor.self ? tokens : null }));
      this.second = null;
      this.pending = null;
      this.#tell("problem", "photo", "donors", "selection");
      this.#changed();
    });
    if (signal.aborted) return;
    this.opening = "";
    this.#tell("opening");
  }

  /** Open a photo to take tokens from. @param {Blob | null} file null for a sample @param {string} [sample] */
  async openSecond(file, sample = "") {
    this.#secondTurn.abort();
    const { signal } = (this.#secondTurn = new AbortController());
    this.openingSecond = file ? nameOf(file) : `${sample}.jpg`;
    this.#tell("opening");
    await this.#try("second", () => this.openSecond(file, sample), signal, async () => {
      const [photo, tokens] = await this.#see(file, sample, signal);
      if (signal.aborted) return;
      const slot = { name: photo.name, sample, self: false, tokens };
      // A link may have named the photo already.
      const waiting = this.donors.findIndex((d) => !d.tokens && (sample ? d.sample === sample : !d.sample));
      const index = waiting < 0 ? this.donors.length : waiting;
      this.donors[index] = slot;
      this.second = { photo, tokens, index };
      this.problem = null;
      this.#tell("problem", "donors");
      this.#changed();
    });
    if (signal.aborted) return;
    this.openingSecond = "";
    this.#tell("opening");
  }

  /** The place of the photo itself among the donors. */
  selfDonor() {
    const found = this.donors.findIndex((donor) => donor.self);
    if (found >= 0) return found;
    this.donors.push({ name: this.photo.name, sample: this.photo.sample, self: true, tokens: this.tokens });
    return this.donors.length - 1;
  }

  /** Add an edit. @param {any} edit */
  edit(edit) {
    this.history.push(extended(this.history.committed, edit));
    this.#changed();
  }

  /** Show an edit while a gesture lasts; null takes it back. @param {any} edit */
  draft(edit) {
    this.history.draft(edit && extended(this.history.committed, edit));
    // Gestures come faster than frames.
    this.#frame ||= requestAnimationFrame(() => this.#changed());
  }

  /** Make the draft an edit. */
  commit() {
    this.history.push(this.history.present);
    this.#changed();
  }

  /** Put another list in the place of the edits. @param {any[]} edits */
  replaceEdits(edits) {
    this.history.push(edits);
    this.#changed();
  }

  undo() {
    this.history.undo();
    this.#changed();
  }

  redo() {
    this.history.redo();
    this.#changed();
  }

  /** @param {number} k @param {boolean} [add] to what is selected already; again takes it away */
  select(k, add = false) {
    const others = this.selection.filter((m) => m !== k);
    const had = others.length < this.selection.length;
    this.selection = add ? (had ? others : [...others, k]) : had && this.selection.length === 1 ? [] : [k];
    this.#tell("selection");
  }

  /** Select nothing. */
  deselect() {
    this.selection = [];
    this.#tell("selection");
  }

  /** @param {number | null} k */
  hover(k) {
    if (k === this.hovered) return;
    this.hovered = k;
    this.#tell("hover");
  }

  /** Whether a token is still there after the edits. @param {number} k */
  remains(k) {
    return this.edited?.remaining[k] ?? false;
  }

  /** @param {Problem | null} problem */
  report(problem) {
    this.problem = problem;
    this.#tell("problem");
  }

  /** The edits and the donors that they use, as links and calls tell them. */
  compact() {
    return compacted(this.edits, this.donors);
  }

  async #see(file, sample, signal) {
    const bytes = file ?? (await this.api.sample(sample));
    const { tokens } = await this.api.tokens(bytes, this.model, signal);
    return [await Photo.open(bytes, tokens.source, this.manifest.image_size, sample), tokens];
  }

  #changed() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.tokens) return;
    const { edits, donors } = this;
    const lacking = (this.lacking = missing(edits, donors));
    if (this.problem?.code === "bad_edit") this.report(null);
    try {
      this.edited = applyEdits(this.tokens, lacking.length ? [] : edits, donors.map((donor) => donor.tokens));
    } catch (error) {
      this.#latest.cancel();
      this.edited = applyEdits(this.tokens, [], []);
      this.report(new Problem(`The edits don't fit this picture: ${error.message}.`, { code: "bad_edit" }));
      this.#setBusy(true);
      this.#tell("edits");
      return;
    }
    this.selection = this.selection.filter((k) => this.remains(k));
    this.#tell("edits", "selection");
    if (!edits.length || lacking.length) {
      this.#latest.cancel();
      this.#show(this.plain);
      this.#setBusy(false);
      this.#tell("picture");
      return;
    }
    this.#setBusy(true);
    this.#latest.schedule((signal) => this.#draw(edits, signal));
  }

  async #draw(edits, signal) {
    await this.#try("draw", () => this.#changed(), signal, async () => {
      const spelled = spelledOut(edits, this.donors);
      const drawing = await Drawing.of(await this.api.reconstruct(this.tokens, spelled, this.model, signal), edits);
      if (signal.aborted) return drawing.close();
      this.#show(drawing);
      if (this.problem) this.report(null);
      this.#setBusy(false);
      this.#tell("picture");
    });
  }

  /** Do something; what fails is told, and tried again where that may help. */
  async #try(kind, again, signal, work) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      if (error.passes) {
        this.connection.retry(kind, error, again);
      } else {
        if (kind !== "draw") this.#setBusy(false);
        this.report(error);
      }
    }
  }

  #show(drawing) {
    if (this.picture !== this.plain) this.picture?.close();
    this.picture = drawing;
  }

  #setBusy(busy) {
    this.busy = busy;
    this.#tell("busy");
  }

  #tell(...kinds) {
    for (const kind of kinds) this.dispatchEvent(new Event(kind));
  }
}
