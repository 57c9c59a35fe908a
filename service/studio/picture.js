// The picture that edited tokens make. The service draws it, and of many only the newest counts.

import { Drawing } from "./photo.js";
import { Latest } from "./latest.js";
import { spelledOut } from "./donors.js";

/** Fires "picture" when it shows something else, and "busy" when it begins or ends to lag behind. */
export class Picture extends EventTarget {
  #latest = new Latest();
  /** @type {{scene: import("./scene.js").Scene | null, edits: any[] | null}} what it shows, or is on the way to */
  #drawn = { scene: null, edits: null };
  /** @type {Drawing | null} one that is not kept elsewhere */
  #own = null;
  /** @type {Drawing | null} what is shown */
  drawing = null;
  /** Whether it does not show the edits yet. */
  busy = false;
  /** Whether it never will: the service does not draw them. */
  failed = false;

  /** @param {import("./api.js").Api} api @param {import("./connection.js").Connection} connection */
  constructor(api, connection) {
    super();
    this.api = api;
    this.connection = connection;
  }

  /** Something else is on its way. */
  wait() {
    this.#become({ busy: true, failed: false });
  }

  /** Show a drawing that is there already. @param {Drawing | null} drawing kept by others, or null for none */
  show(drawing) {
    this.#cancel();
    this.#put(drawing, null);
    if (drawing) this.#become({ busy: false, failed: false });
  }

  /** There is no picture of the edits. */
  fail() {
    this.#cancel();
    this.#become({ busy: false, failed: true });
  }

  /** What was on its way does not come; what was there stays. */
  stay() {
    this.#become({ busy: false, failed: this.failed });
  }

  /**
   * Draw edits of a scene.
   * @param {import("./scene.js").Scene} scene @param {any[]} edits @param {(problem: import("./problem.js").Problem) => void} refused
   */
  draw(scene, edits, refused) {
    // The end of a gesture asks for what its last draft has asked for.
    if (this.#drawn.scene === scene && this.#drawn.edits === edits) {
      if (this.drawing?.edits === edits) this.#become({ busy: false, failed: false });
      return;
    }
    this.#drawn = { scene, edits };
    this.#ask(scene, edits, refused);
  }

  #ask(scene, edits, refused) {
    this.wait();
    const again = () => this.#ask(scene, edits, refused);
    const draw = async (signal) => {
      const drawn = await this.api.reconstruct(scene.tokens, spelledOut(edits, scene.donors), scene.model, signal);
      const drawing = await Drawing.of(drawn, edits);
      if (signal.aborted) return drawing.sleep();
      this.#put(drawing, drawing);
      this.#become({ busy: false, failed: false });
    };
    this.#latest.schedule((signal) => this.connection.attempt("draw", signal, () => draw(signal), again, refused));
  }

  /** The drawing as soon as it shows the edits, or null where it never will. @returns {Promise<Drawing | null>} */
  async settled() {
    while (this.busy) await new Promise((done) => this.addEventListener("busy", done, { once: true }));
    return this.failed ? null : this.drawing;
  }

  #cancel() {
    this.#latest.cancel();
    this.#drawn = { scene: null, edits: null };
  }

  #put(drawing, own) {
    this.#own?.sleep();
    this.#own = own;
    this.drawing = drawing;
    if (drawing) this.dispatchEvent(new Event("picture"));
  }

  #become(state) {
    Object.assign(this, state);
    this.dispatchEvent(new Event("busy"));
  }
}
