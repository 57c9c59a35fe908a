// What is open at a time: a photo as a model saw it, its picture without edits, and photos to take tokens from.

import { Problem } from "./problem.js";
import { Drawing, Photo, markOf, nameOf } from "./photo.js";
import { Tokens } from "./tokens.js";
import { isTokenFile, tokensIn } from "./tokenfile.js";
import { sendable } from "./sendable.js";
import { sizeOf } from "./size.js";

/** @typedef {{photo: Photo, tokens: Tokens}} Seen */
/** @typedef {{model: any, file: Blob | null, sample: string, fit: string, box?: string}} Wanted a model's manifest; no file for a sample; how it gets
 *   the model's shape, and which part of it */

/** A name that nothing else has. */
export function freshKey() {
  return `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
}

/** Only the scene that is shown is awake: the others hold no bitmaps. */
export class Scene {
  /** Counts what the session has to write again. */
  version = 0;
  /** @type {import("./donors.js").Donor[]} */
  donors = [];
  /** @type {(Seen & {index: number}) | null} the photo whose tokens are on offer, and its place among the donors */
  second = null;

  /** @type {number | null} how close the plain picture comes to the photo, in dB, once it was asked for */
  psnr = null;

  /** @param {{id: string, name: string}} model @param {Seen} seen @param {Drawing} plain */
  constructor(model, { photo, tokens }, plain) {
    this.model = model.name;
    this.modelId = model.id;
    this.photo = photo;
    this.tokens = tokens;
    this.plain = plain;
    /** Its name in the session. */
    this.key = freshKey();
  }

  /**
   * Let a model see a photo.
   * @param {import("./api.js").Api} api @param {Wanted} wanted @param {AbortSignal} signal @param {(share: number) => void} [told] how much of it
   *   has been sent
   * @returns {Promise<Seen>} awake
   */
  static async see(api, { model, file, sample, fit, box = "" }, signal, told) {
    const bytes = file ?? (await api.sample(sample));
    if (isTokenFile(bytes)) return Scene.#seeTokens(api, model, bytes, signal);
    const side = model.image_size;
    const sent = await sendable(bytes, side);
    const { tokens } = await api.tokens(sent, model.name, { fit, ...(box ? { box } : {}) }, signal, told);
    const facts = { file: bytes, sent, name: nameOf(bytes), sample, fit, box, mark: await markOf(bytes), source: tokens.source, side };
    const photo = new Photo(facts);
    await photo.wake();
    return { photo, tokens };
  }

  /** Tokens without a photo: what they show stands in its place. */
  static async #seeTokens(api, model, file, signal) {
    const { tokens, model: id } = await tokensIn(file);
    if (id !== model.id) throw new Problem(`These tokens are of the model ${id}, not of ${model.id}.`);
    const { blob } = await api.reconstruct(tokens, [], model.name, signal);
    const side = model.image_size;
    const { width, height } = sizeOf(side);
    const source = { width, height, rectangle: [0, 0, width, height] };
    const photo = new Photo({ file, sent: blob, name: nameOf(file), sample: "", fit: "crop", mark: await markOf(file), source, side, ofTokens: true });
    await photo.wake();
    return { photo, tokens };
  }

  /** Open a photo. The arguments are those of `see`. @returns {Promise<Scene>} awake */
  static async open(api, wanted, signal, told) {
    const { model } = wanted;
    const seen = await Scene.see(api, wanted, signal, told);
    return new Scene(model, seen, await Drawing.of(await api.reconstruct(seen.tokens, [], model.name, signal), []));
  }

  /**
   * Take in a photo to take tokens from.
   * @param {Seen} seen @param {number} [slot] where edits wait for it
   */
  addSecond({ photo, tokens }, slot = -1) {
    photo.name = this.#nameFor(photo);
    const index = slot < 0 ? this.donors.length : slot;
    const { name, sample, mark } = photo;
    this.donors[index] = { name, sample, mark, self: false, tokens };
    this.second?.photo.sleep();
    this.second = { photo, tokens, index };
    this.version += 1;
  }

  /** The place of the photo itself among the donors. */
  selfDonor() {
    const found = this.donors.findIndex((donor) => donor.self);
    if (found >= 0) return found;
    const { name, sample, mark } = this.photo;
    this.donors.push({ name, sample, mark, self: true, tokens: this.tokens });
    this.version += 1;
    return this.donors.length - 1;
  }

  /** Let the second photo stand in for one that edits need. @param {import("./donors.js").Donor} donor */
  standIn(donor) {
    const slot = this.donors.indexOf(donor);
    this.donors[slot] = this.donors[this.second.index];
    this.second.index = slot;
    this.version += 1;
  }

  /** Another file of the same name gets a number: calls and links tell files by their names. */
  #nameFor({ name, mark }) {
    const taken = [this.photo, ...this.donors].filter((file) => file.mark !== mark).map((file) => file.name);
    const [, stem, end] = /^(.*?)(\.[^.]*)?$/.exec(name);
    let free = name;
    for (let i = 2; taken.includes(free); i++) free = `${stem} (${i})${end ?? ""}`;
    return free;
  }

  async wake() {
    await Promise.all([this.photo.wake(), this.plain.wake(), this.second?.photo.wake()]);
  }

  sleep() {
    this.photo.sleep();
    this.plain.sleep();
    this.second?.photo.sleep();
  }

  /** What the browser's database can hold of it. */
  get record() {
    const numbers = ({ semantics, localization, grid, source }) => ({ semantics, localization, grid, source });
    const facts = (photo) => ({ ...photo.facts, name: photo.name });
    const { key, model, modelId, photo, tokens, plain, donors, second } = this;
    return {
      key, model, modelId,
      photo: facts(photo),
      tokens: numbers(tokens),
      plain: { blob: plain.blob, timing: plain.timing },
      donors: donors.map((donor) => ({ ...donor, tokens: donor.tokens && !donor.self ? numbers(donor.tokens) : null })),
      second: second && { photo: facts(second.photo), index: second.index },
    };
  }

  /** The same scene again, asleep. @param {any} record @returns {Scene} */
  static of(record) {
    const tokensOf = (kept) => kept && new Tokens(kept.semantics, kept.localization, kept.grid, kept.source);
    const seen = { photo: new Photo(record.photo), tokens: tokensOf(record.tokens) };
    const scene = new Scene({ name: record.model, id: record.modelId }, seen, new Drawing(record.plain, []));
    scene.key = record.key;
    scene.donors = record.donors.map((donor) => ({ ...donor, tokens: donor.self ? scene.tokens : tokensOf(donor.tokens) }));
    if (record.second) {
      const { photo, index } = record.second;
      scene.second = { photo: new Photo(photo), tokens: scene.donors[index].tokens, index };
    }
    return scene;
  }
}
