// The state of the editor. Views listen to its events and call its methods; it alone talks to the service.

import { History } from "./history.js";
import { Picture } from "./picture.js";
import { Problem } from "./problem.js";
import { Scene } from "./scene.js";
import { applyEdits, extended, shortened } from "./edits.js";
import { compacted, isFile, missing, renumbered } from "./donors.js";
import { nameOf } from "./photo.js";

/** @typedef {{text: string, label: string, deed: () => void}} Offer what may be done about what just happened */

/**
 * Events: "models", "opening", "photo", "edits", "selection", "hover", "donors", "problem", "offer"; the picture has its own.
 */
export class Studio extends EventTarget {
  #turn = new AbortController();
  #secondTurn = new AbortController();
  #frame = 0;
  history = new History();
  /** @type {any[]} */
  models = [];
  defaultModel = "";
  model = "";
  maxEdits = Infinity;
  /** @type {Scene | null} what is shown */
  scene = null;
  /** @type {import("./edits.js").Edited | null} after the edits */
  edited = null;
  /** @type {number[]} tokens that are selected, the last one above all */
  selection = [];
  /** @type {number | null} */
  hovered = null;
  /** The file that is on its way to be shown, or "". */
  opening = "";
  /** The same for the second photo. */
  openingSecond = "";
  /** @type {import("./donors.js").Donor[]} photos that edits need and that are not open: nothing is edited until they are */
  lacking = [];
  /** @type {Problem | null} */
  problem = null;
  /** @type {Offer | null} */
  offer = null;
  /** @type {import("./link.js").Shared | null} what a link brought and a photo is still missing for */
  pending = null;

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection */
  constructor(api, connection) {
    super();
    this.api = api;
    this.connection = connection;
    this.picture = new Picture(api, connection);
  }

  /** Ask what is served. @throws {Problem} */
  async start() {
    const { default: name, models, max_edits } = await this.api.models();
    Object.assign(this, { models, defaultModel: name, maxEdits: max_edits });
    this.model = this.#served(this.model).name;
    this.#tell("models");
  }

  /** @type {import("./photo.js").Photo | null} */
  get photo() {
    return this.scene?.photo ?? null;
  }

  /** @type {import("./tokens.js").Tokens | null} as the model saw the photo */
  get tokens() {
    return this.scene?.tokens ?? null;
  }

  /** @type {import("./photo.js").Drawing | null} what the tokens without edits show */
  get plain() {
    return this.scene?.plain ?? null;
  }

  get donors() {
    return this.scene?.donors ?? [];
  }

  get second() {
    return this.scene?.second ?? null;
  }

  /** The model's description, as /models tells it. */
  get manifest() {
    return this.#served(this.model);
  }

  /** The model's name for calls, "" for the default one. */
  get namedModel() {
    return this.model === this.defaultModel ? "" : this.model;
  }

  /** How the photo becomes square, for calls; "" for the default way. */
  get namedFit() {
    return this.photo.fit === "crop" ? "" : this.photo.fit;
  }

  get edits() {
    return this.history.present;
  }

  /** The selected token above all, or null. */
  get selected() {
    return this.selection.at(-1) ?? null;
  }

  /** Show the photo as another model sees it. @param {string} name */
  async useModel(name) {
    if (this.photo) await this.open(this.photo.file, this.photo.sample, name, this.photo.fit);
    else this.model = name;
  }

  /** Make the photo square in another way. @param {string} fit */
  async useFit(fit) {
    await this.open(this.photo.file, this.photo.sample, this.model, fit);
  }

  /**
   * Show another photo; undo brings back what was there.
   * @param {Blob | null} file null for a sample @param {string} [sample] its name among the samples @param {string} [model]
   * @param {string} [fit] how it becomes square
   */
  async open(file, sample = "", model = this.#wanted.model, fit = this.#wanted.fit) {
    this.#turn.abort();
    this.#secondTurn.abort();
    const { signal } = (this.#turn = new AbortController());
    this.#clear();
    this.picture.wait();
    this.opening = file ? nameOf(file) : `${sample}.jpg`;
    this.#tell("opening");
    try {
      const open = async () => {
        if (!this.models.length) await this.start();
        const scene = await Scene.open(this.api, this.#served(model), file, sample, fit, signal);
        if (signal.aborted) scene.sleep();
        else this.#opened(scene);
      };
      const refused = (problem) => {
        this.picture.stay();
        this.report(problem);
      };
      await this.connection.attempt("open", signal, open, () => this.open(file, sample, model, fit), refused);
    } finally {
      if (!signal.aborted) {
        this.opening = "";
        this.#tell("opening", "models");
      }
    }
  }

  /** Open a photo to take tokens from. @param {Blob | null} file null for a sample @param {string} [sample] */
  async openSecond(file, sample = "") {
    const { scene } = this;
    if (!scene) return this.report(new Problem("Open the photo that is to be edited first."));
    this.#secondTurn.abort();
    const { signal } = (this.#secondTurn = new AbortController());
    this.openingSecond = file ? nameOf(file) : `${sample}.jpg`;
    this.#tell("opening");
    try {
      const open = async () => {
        const seen = await Scene.see(this.api, this.manifest, file, sample, scene.photo.fit, signal);
        if (signal.aborted || scene !== this.scene) return seen.photo.sleep();
        this.#clear();
        // A link may have named the photo already.
        const waiting = scene.donors.findIndex((donor) => !donor.tokens && isFile(donor, seen.photo));
        scene.addSecond(seen, waiting);
        const [needed] = this.lacking;
        if (needed && waiting < 0) {
          const text = `The edits take tokens of ${needed.name}, and ${seen.photo.name} is another photo.`;
          this.suggest(text, "Use it all the same", () => this.#standIn(scene.donors.indexOf(needed)));
        }
        this.#tell("donors");
        this.#changed();
      };
      const again = () => this.openSecond(file, sample);
      await this.connection.attempt("second", signal, open, again, (problem) => this.report(problem));
    } finally {
      if (!signal.aborted) this.openingSecond = "";
      this.#tell("opening");
    }
  }

  /** The place of the photo itself among the donors. */
  selfDonor() {
    return this.scene.selfDonor();
  }

  /**
   * Show what a link brings: at once where its photo is here, else as soon as that is opened.
   * @param {import("./link.js").Shared} shared
   */
  async follow(shared) {
    this.pending = shared;
    const model = this.#served(shared.model).name;
    const here = this.photo !== null && isFile(shared, this.photo);
    const { fit } = shared;
    if (here && model === this.model && fit === this.photo.fit) this.#applyPending();
    else if (here) await this.open(this.photo.file, shared.sample, model, fit);
    else if (shared.sample) await this.open(null, shared.sample, model, fit);
    for (const donor of shared.donors) if (donor.sample && !donor.self && !this.pending) await this.openSecond(null, donor.sample);
  }

  /**
   * Go on where somebody stopped.
   * @param {import("./history.js").Step[]} steps @param {number} at @param {number[]} selection
   * @returns {Promise<boolean>} whether there was something to go on with
   */
  async restore(steps, at, selection) {
    const wanted = steps[at];
    const usable = steps.filter(({ scene }) => this.models.some((model) => model.id === scene.modelId));
    this.history = new History(usable, usable.includes(wanted) ? usable.indexOf(wanted) : usable.length - 1);
    if (usable.includes(wanted)) {
      try {
        await this.#enter();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.history = new History();
        return false;
      }
      this.selection = selection.filter((k) => this.remains(k));
      this.#tell("selection");
      return true;
    }
    if (!wanted) return false;
    const { file, sample, fit } = wanted.scene.photo;
    await this.open(file, sample, this.model, fit);
    if (wanted.edits.length) this.report(new Problem("The model has been replaced since: what was edited for the old one is not shown."));
    return true;
  }

  /** Add edits. @param {...any} edits */
  edit(...edits) {
    this.replaceEdits(edits.reduce(extended, this.history.committed));
  }

  /** Show edits while a gesture lasts; none takes them back. @param {...any} edits */
  draft(...edits) {
    const drafted = shortened(edits.reduce(extended, this.history.committed), this.maxEdits);
    this.history.draft(edits.length ? drafted : null);
    // Gestures come faster than frames.
    this.#frame ||= requestAnimationFrame(() => this.#changed());
  }

  /** Make the draft an edit. */
  commit() {
    this.replaceEdits(this.history.present);
  }

  /** Put another list in the place of the edits. @param {any[]} edits */
  replaceEdits(edits) {
    this.#clear();
    const fitting = shortened(edits, this.maxEdits);
    this.history.push(fitting ?? this.history.committed);
    if (!fitting) this.report(new Problem(`The service takes at most ${this.maxEdits} edits.`, { code: "too_many_edits" }));
    else if (fitting !== edits) {
      this.suggest(`At most ${this.maxEdits} edits are taken: some of the same kind and token became one.`, "Undo", () => this.undo());
    }
    this.#changed();
  }

  undo() {
    this.#go(() => this.history.undo());
  }

  redo() {
    this.#go(() => this.history.redo());
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

  /** Withdraw the offer. */
  decline() {
    this.offer = null;
    this.#tell("offer");
  }

  /** The edits and the donors that they use, as links and calls tell them. */
  compact() {
    return compacted(this.edits, this.donors);
  }

  /** How the next photo is to be seen: as a link says that waits for it, else by the same model. */
  get #wanted() {
    const { pending } = this;
    if (!pending || pending.sample) return { model: this.model, fit: "crop" };
    return { model: this.#served(pending.model)?.name ?? this.model, fit: pending.fit };
  }

  /** The description of a model, or of the default one where it is not served. @param {string} name */
  #served(name) {
    return this.models.find((model) => model.name === name) ?? this.models.find((model) => model.name === this.defaultModel);
  }

  /** A photo was opened: show it, and say what became of what was there. @param {Scene} scene */
  #opened(scene) {
    const { photo: before, edits } = this;
    const { pending } = this;
    const meant = pending !== null && isFile(pending, scene.photo);
    this.history.open(scene, meant ? this.#brought(scene) : []);
    void this.#enter();
    if (pending && !meant) {
      const text = `The link's edits were made on ${pending.name}; this is another photo, so they are not applied.`;
      this.suggest(text, "Apply them all the same", () => this.#applyPending());
    } else if (before && edits.length) {
      const { name, mark } = scene.photo;
      const text = mark === before.mark ? `${name} is seen anew, without its edits.` : `${name} took the place of ${before.name} and its edits.`;
      this.suggest(text, "Undo", () => this.undo());
    }
  }

  /** What the link brought, for this scene. @param {Scene} scene @returns {any[]} its edits */
  #brought(scene) {
    const { edits, donors } = this.pending;
    const first = scene.donors.length;
    scene.donors.push(...donors.map((donor) => ({ ...donor, tokens: donor.self ? scene.tokens : null })));
    scene.version += 1;
    this.pending = null;
    return renumbered(edits, (donor) => first + donor);
  }

  #applyPending() {
    this.replaceEdits(this.#brought(this.scene));
  }

  /** Let the second photo stand in for one that edits need. @param {number} slot its place among the donors */
  #standIn(slot) {
    const { scene } = this;
    const { index } = scene.second;
    scene.donors[slot] = scene.donors[index];
    scene.second.index = slot;
    scene.version += 1;
    this.#changed();
  }

  /** Go through what was done. @param {() => void} step */
  #go(step) {
    this.#clear();
    const opening = this.opening !== "";
    this.#turn.abort();
    this.opening = "";
    this.#tell("opening");
    // Who takes back what has not come yet takes back nothing else.
    if (!opening) step();
    if (this.history.scene === this.scene) this.#changed();
    else void this.#enter();
  }

  /** Show the scene at which the history stands. */
  async #enter() {
    const { scene } = this.history;
    await scene.wake();
    if (scene !== this.history.scene) {
      if (scene !== this.scene) scene.sleep();
      return;
    }
    this.picture.show(null);
    if (scene !== this.scene) this.scene?.sleep();
    this.scene = scene;
    Object.assign(this, { model: scene.model, selection: [], hovered: null });
    this.#changed(["models", "photo", "donors"]);
  }

  /** @param {string[]} [others] what has changed beside the edits */
  #changed(others = []) {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    // While another scene wakes up its edits are none of this one.
    if (!this.scene || this.scene !== this.history.scene) return;
    const { edits, donors } = this;
    const lacking = (this.lacking = missing(edits, donors));
    let problem = null;
    try {
      this.edited = applyEdits(this.tokens, lacking.length ? [] : edits, donors.map((donor) => donor.tokens));
    } catch (error) {
      problem = new Problem(`The edits don't fit this picture: ${error.message}.`, { code: "bad_edit" });
      this.edited = applyEdits(this.tokens, [], []);
    }
    this.selection = this.selection.filter((k) => this.remains(k));
    this.#tell(...others, "edits", "selection");
    if (problem) this.#refuse(problem);
    else if (!edits.length || lacking.length) this.picture.show(this.plain);
    else this.picture.draw(this.scene, edits, (refusal) => this.#refuse(refusal));
  }

  /** The edits are not drawn, and will not be. @param {Problem} problem */
  #refuse(problem) {
    this.picture.fail();
    this.report(problem);
  }

  /** What was told before is over when something else is done. */
  #clear() {
    this.report(null);
    this.decline();
  }

  /** Offer something. @param {string} text @param {string} label of the button @param {() => void} deed what it does */
  suggest(text, label, deed) {
    this.offer = { text, label, deed };
    this.#tell("offer");
  }

  #tell(...kinds) {
    for (const kind of kinds) this.dispatchEvent(new Event(kind));
  }
}
