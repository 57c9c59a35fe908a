// What this tab has open, in the browser's database: steps with their photos. Visitors may forbid it: then a
// session lasts as long as the page.

import { Scene, freshKey } from "./scene.js";
import { keep, kept } from "./kept.js";

const DATABASE = "stellar-studio";
const TAB = "stellar-tab";
const MOST_SESSIONS = 4;

/** @typedef {{steps: import("./history.js").Step[], at: number, look: any}} Kept */

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function ended(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Steps as records, and the scenes that they name by their keys. */
export class Session {
  /** @type {Promise<IDBDatabase | null>} */
  #database;
  /** @type {Map<string, number>} the versions of the scenes that are written */
  #written = new Map();
  /** @type {Promise<void> | null} */
  #writing = null;
  #again = false;

  constructor() {
    this.tab = kept("sessionStorage", TAB);
    if (!this.tab) keep("sessionStorage", TAB, (this.tab = freshKey()));
    this.#database = this.#open().catch(() => null);
  }

  async #open() {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("tabs", { keyPath: "tab" });
      request.result.createObjectStore("scenes", { keyPath: "key" });
    };
    const database = await done(request);
    // Another tab that forgets everything must not wait for this one.
    database.onversionchange = () => database.close();
    return database;
  }

  /** This tab's session. @returns {Promise<Kept | null>} null where there is none */
  async load() {
    return this.#read((tabs) => tabs.find(({ tab }) => tab === this.tab));
  }

  /** The newest session of a tab that edited something. @returns {Promise<Kept | null>} */
  async latest() {
    const edited = ({ steps }) => steps.some(({ edits }) => edits.length);
    const found = await this.#read((tabs) => tabs.filter(edited).toSorted((a, b) => b.time - a.time)[0]);
    // The other tab may be open still, and writes its own.
    for (const { scene } of found?.steps ?? []) scene.key = freshKey();
    return found;
  }

  /** @param {(tabs: any[]) => any} choose @returns {Promise<Kept | null>} */
  async #read(choose) {
    try {
      const database = await this.#database;
      if (!database) return null;
      const stores = database.transaction(["tabs", "scenes"]);
      const found = choose(await done(stores.objectStore("tabs").getAll()));
      if (!found) return null;
      const keys = [...new Set(found.steps.map(({ scene }) => scene))];
      const records = await Promise.all(keys.map((key) => done(stores.objectStore("scenes").get(key))));
      const scenes = new Map(records.filter(Boolean).map((record) => [record.key, Scene.of(record)]));
      const steps = found.steps.map(({ scene, edits }) => ({ scene: scenes.get(scene), edits }));
      return steps.every(({ scene }) => scene) ? { steps, at: found.at, look: found.look } : null;
    } catch {
      return null;
    }
  }

  /**
   * Write what is there now. While it is written, only the newest call waits.
   * @param {() => {history: import("./history.js").History, look: any}} state
   */
  save(state) {
    if (this.#writing) {
      this.#again = true;
      return;
    }
    this.#writing = this.#write(state())
      .catch(() => this.#written.clear()) // forbidden, or full: what is there is not known any more
      .finally(() => {
        this.#writing = null;
        if (this.#again) {
          this.#again = false;
          this.save(state);
        }
      });
  }

  /** Forget this tab's session and all others; nothing is written any more. */
  async forget() {
    const database = this.#database;
    this.#database = Promise.resolve(null);
    await this.#writing;
    (await database)?.close();
    await done(indexedDB.deleteDatabase(DATABASE)).catch(() => undefined);
  }

  async #write({ history, look }) {
    const database = await this.#database;
    if (!database) return;
    const transaction = database.transaction(["tabs", "scenes"], "readwrite");
    const [tabs, scenes] = ["tabs", "scenes"].map((name) => transaction.objectStore(name));
    for (const scene of new Set(history.steps.map((step) => step.scene))) {
      if (this.#written.get(scene.key) === scene.version) continue;
      scenes.put(scene.record);
      this.#written.set(scene.key, scene.version);
    }
    const steps = history.steps.map(({ scene, edits }) => ({ scene: scene.key, edits }));
    tabs.put({ tab: this.tab, time: Date.now(), steps, at: history.at, look });
    transaction.commit(); // it needs no more of this page, which may be left now
    await ended(transaction);
    await this.#tidy(database);
  }

  /** @param {IDBDatabase} database */
  async #tidy(database) {
    const transaction = database.transaction(["tabs", "scenes"], "readwrite");
    const [tabs, scenes] = ["tabs", "scenes"].map((name) => transaction.objectStore(name));
    const all = (await done(tabs.getAll())).toSorted((a, b) => b.time - a.time);
    for (const { tab } of all.slice(MOST_SESSIONS)) tabs.delete(tab);
    const used = new Set(all.slice(0, MOST_SESSIONS).flatMap((each) => each.steps.map(({ scene }) => scene)));
    for (const key of await done(scenes.getAllKeys())) if (!used.has(key)) scenes.delete(key);
    await ended(transaction);
  }
}
