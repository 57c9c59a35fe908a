// The rows of tokens under the pictures: the photo's own, and those of a second photo to take from.

import { Strip } from "./strip.js";
import { byId, say } from "./element.js";
import { makeCarriable } from "./carry.js";
import { scaledTo } from "./size.js";

/** Both rows, and what happens when a token is carried to another place. */
export class Tray {
  /** @param {import("./studio.js").Studio} studio @param {import("./stage.js").Stage} stage @param {() => void} drop */
  constructor(studio, stage, drop) {
    this.studio = studio;
    this.stage = stage;
    this.own = new Strip(byId("strip"), "", {
      select: (k, add) => studio.select(k, add),
      hover: (k) => studio.hover(k),
      remove: (k) => {
        if (!studio.selection.includes(k)) studio.select(k);
        drop();
      },
      carry: (card, k) => this.#carry(card, k, (target) => (target === k ? null : { op: "swap", tokens: [k, target] })),
    });
    this.foreign = new Strip(byId("second-strip"), "B", {
      select: (k) => this.#offer(k),
      carry: (card, k) =>
        this.#carry(card, k, (target) => ({ op: "replace", token: target, with: { donor: studio.second.index, token: k } })),
    });
    studio.addEventListener("tokens", () => this.own.show(studio.edited.tokens, studio.photo, studio.edited.remaining));
    for (const kind of ["selection", "hover", "edits"]) {
      studio.addEventListener(kind, () => this.own.mark(studio.selection, studio.hovered));
    }
    studio.addEventListener("donors", () => this.#showSecond());
    studio.arrivals.addEventListener("change", () => this.#advise());
    for (const kind of ["edits", "selection"]) studio.addEventListener(kind, () => this.#advise());
  }

  #showSecond() {
    const { second } = this.studio;
    byId("second-shown").hidden = !second;
    if (!second) return;
    this.foreign.show(second.tokens, second.photo);
    const canvas = byId("second-photo");
    Object.assign(canvas, scaledTo(second.photo.view, 160));
    canvas.getContext("2d").drawImage(second.photo.view, 0, 0, canvas.width, canvas.height);
    byId("second-photo").setAttribute("aria-label", `Second photo: ${second.photo.name}`);
  }

  /** Say what can be done with the second photo, or what it waits for. */
  #advise() {
    const { arrivals, lacking, second } = this.studio;
    const hint = second ? "Drag a token onto the picture, or click one." : "Its tokens can be used in this picture.";
    const needed = lacking.length ? `The edits need ${lacking[0].name}: choose it here.` : hint;
    byId("second-note").textContent = arrivals.second ? `Opening ${arrivals.second}…` : needed;
  }

  /** Make a foreign token the partner of the selected one. */
  #offer(k) {
    const partner = byId("partner");
    if (this.studio.selected === null) {
      byId("second-note").textContent = "First select the token of the photo that it is for.";
      return say(byId("second-note").textContent);
    }
    partner.value = `second ${k}`;
    partner.dispatchEvent(new Event("change"));
    this.foreign.mark([k], null);
    say(`Token B${k} can be shown, or blended with token ${this.studio.selected}.`);
  }

  /** The edit that a token makes over each target is shown while it is carried. */
  #carry(card, k, editAt) {
    let shown = null;
    const show = (x, y) => {
      const target = this.#targetAt(x, y);
      if (target === shown) return;
      shown = target;
      this.studio.hover(target);
      const edit = target === null ? null : editAt(target);
      this.studio.draft(...(edit ? [edit] : []));
    };
    const leave = () => {
      if (shown !== null) this.studio.draft();
      shown = null;
      this.studio.hover(null);
    };
    const drop = (x, y) => {
      show(x, y);
      const target = shown;
      this.studio.commit();
      shown = null;
      this.studio.hover(null);
      if (target !== null && this.studio.selected !== target) this.studio.select(target);
    };
    makeCarriable(card, k, { over: show, drop, leave });
  }

  /** The token of the photo under a point of the window: on the picture, or its card. */
  #targetAt(x, y) {
    const onPicture = this.stage.tokenAt(x, y);
    if (onPicture !== null) return onPicture;
    const card = document.elementFromPoint(x, y)?.closest?.("#strip .token");
    const k = card ? Number(card.dataset.token) : null;
    return k !== null && this.studio.remains(k) ? k : null;
  }
}
