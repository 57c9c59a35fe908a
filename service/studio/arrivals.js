// What is on its way into the editor: a photo, a second one, and the edits that a link brings for them.

import { Problem } from "./problem.js";
import { Scene } from "./scene.js";
import { isFile, renumbered } from "./donors.js";
import { markOf, nameOf } from "./photo.js";
import { areAlike, sizeOf } from "./size.js";

/** Fires "change" when something sets out or ends. Of photos that are opened one after the other only the newest arrives. */
export class Arrivals extends EventTarget {
  #turn = new AbortController();
  #secondTurn = new AbortController();
  /** The file that is on its way to be shown, or "". */
  photo = "";
  /** How much of it has been sent, up to 1. */
  share = 0;
  /** The same for the second photo. */
  second = "";
  /** @type {import("./link.js").Shared | null} what a link brought and a photo is still missing for */
  pending = null;

  /** @param {import("./studio.js").Studio} studio where they arrive */
  constructor(studio) {
    super();
    this.studio = studio;
  }

  /** Show the photo as another model sees it. @param {string} name */
  async useModel(name) {
    const { photo, models } = this.studio;
    if (!photo) {
      this.studio.model = name;
      return;
    }
    // A part that was chosen for another shape is none of this one's.
    const alike = areAlike(sizeOf(photo.side), sizeOf(models.named(name).image_size));
    await this.open(photo.file, photo.sample, name, photo.fit, alike ? photo.box : "");
  }

  /** Give the photo the model's shape in another way. @param {string} fit */
  async useFit(fit) {
    const { photo, model } = this.studio;
    await this.open(photo.file, photo.sample, model, fit, "");
  }

  /** See another part of the photo. @param {string} box as calls have it, "" for the middle */
  async useBox(box) {
    const { photo, model } = this.studio;
    await this.open(photo.file, photo.sample, model, photo.fit, box);
  }

  /**
   * Show another photo; undo brings back what was there.
   * @param {Blob | null} file null for a sample @param {string} [sample] its name among the samples @param {string} [model]
   * @param {string} [fit] how it gets the model's shape @param {string} [box] which part of it is seen; a link tells it where none is given
   */
  async open(file, sample = "", model = this.#wanted.model, fit = this.#wanted.fit, box = undefined) {
    const { studio } = this;
    this.#secondTurn.abort();
    const { signal } = (this.#turn = renewed(this.#turn));
    studio.messages.clear();
    studio.picture.wait();
    this.#become({ photo: file ? nameOf(file) : `${sample}.jpg`, share: 0 });
    const told = (share) => signal.aborted || this.#become({ share });
    const open = async () => {
      if (!studio.models.all.length) await studio.start();
      const part = box ?? (await this.#partOf(file));
      const scene = await Scene.open(studio.api, { model: studio.models.named(model), file, sample, fit, box: part }, signal, told);
      if (signal.aborted) scene.sleep();
      else this.#opened(scene);
    };
    const refused = (problem) => {
      studio.picture.stay();
      studio.messages.report(problem);
    };
    try {
      await studio.connection.attempt("open", signal, open, () => this.open(file, sample, model, fit, box), refused);
    } finally {
      if (!signal.aborted) this.#become({ photo: "", share: 0 });
    }
  }

  /** Open a photo to take tokens from. @param {Blob | null} file null for a sample @param {string} [sample] */
  async openSecond(file, sample = "") {
    const { studio } = this;
    const { scene, messages } = studio;
    if (!scene) return messages.report(new Problem("Open the photo that is to be edited first."));
    const { signal } = (this.#secondTurn = renewed(this.#secondTurn));
    this.#become({ second: file ? nameOf(file) : `${sample}.jpg` });
    const open = async () => {
      const seen = await Scene.see(studio.api, { model: studio.manifest, file, sample, fit: scene.photo.fit }, signal);
      if (signal.aborted || scene !== studio.scene) seen.photo.sleep();
      else this.#openedSecond(seen);
    };
    try {
      await studio.connection.attempt("second", signal, open, () => this.openSecond(file, sample), (problem) => messages.report(problem));
    } finally {
      this.#become(signal.aborted ? {} : { second: "" });
    }
  }

  /**
   * Show what a link brings: at once where its photo is here, else as soon as that is opened.
   * @param {import("./link.js").Shared} shared
   */
  async follow(shared) {
    const { photo, model, models } = this.studio;
    this.pending = shared;
    const wanted = models.named(shared.model).name;
    const here = photo !== null && isFile(shared, photo);
    const { fit, box } = shared;
    if (here && wanted === model && fit === photo.fit && box === (photo.box ?? "")) this.#applyPending();
    else if (here) await this.open(photo.file, shared.sample, wanted, fit, box);
    else if (shared.sample) await this.open(null, shared.sample, wanted, fit, box);
    for (const donor of shared.donors) if (donor.sample && !donor.self && !this.pending) await this.openSecond(null, donor.sample);
  }

  /** The photo that is on its way does not arrive. @returns {boolean} whether there was one */
  cancel() {
    const opening = this.photo !== "";
    this.#turn.abort();
    this.#become({ photo: "" });
    return opening;
  }

  /** How the next photo is to be seen: as a link says that waits for it, else by the same model. */
  get #wanted() {
    const { pending } = this;
    const { model, models } = this.studio;
    if (!pending || pending.sample) return { model, fit: "crop" };
    return { model: models.named(pending.model)?.name ?? model, fit: pending.fit };
  }

  /** The part of a file that is to be seen: a link's where it is the photo that the link waits for, else all. @param {Blob | null} file */
  async #partOf(file) {
    const { pending } = this;
    if (!file || !pending?.box) return "";
    return isFile(pending, { name: nameOf(file), sample: "", mark: await markOf(file) }) ? pending.box : "";
  }

  /** A photo was opened: show it, and say what became of what was there. @param {Scene} scene */
  #opened(scene) {
    const { studio, pending } = this;
    const { photo: before, edits, messages } = studio;
    const meant = pending !== null && isFile(pending, scene.photo);
    studio.show(scene, meant ? this.#brought(scene) : []);
    if (pending && !meant) {
      const text = `These edits were made on ${pending.name}; this is another photo, so they are not applied.`;
      messages.suggest(text, "Apply them all the same", () => this.#applyPending());
    } else if (before && edits.length) {
      const { name, mark } = scene.photo;
      const text = mark === before.mark ? `${name} is seen anew, without its edits.` : `${name} took the place of ${before.name} and its edits.`;
      messages.suggest(text, "Undo", () => studio.undo());
    }
  }

  /** @param {import("./scene.js").Seen} seen */
  #openedSecond(seen) {
    const { studio } = this;
    const { scene, messages, lacking } = studio;
    messages.clear();
    // A link may have named the photo already.
    const waiting = scene.donors.findIndex((donor) => !donor.tokens && isFile(donor, seen.photo));
    scene.addSecond(seen, waiting);
    const [needed] = lacking;
    if (needed && waiting < 0) {
      const text = `The edits take tokens of ${needed.name}, and ${seen.photo.name} is another photo.`;
      messages.suggest(text, "Use it all the same", () => {
        scene.standIn(needed);
        studio.refresh();
      });
    }
    studio.refresh("donors");
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
    this.studio.replaceEdits(this.#brought(this.studio.scene));
  }

  #become(state) {
    Object.assign(this, state);
    this.dispatchEvent(new Event("change"));
  }
}

/** What was waited for before is not any more. @param {AbortController} turn */
function renewed(turn) {
  turn.abort();
  return new AbortController();
}
