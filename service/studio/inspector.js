// The selected token: its map, what it resembles, and what can be done with it.

import { Heat } from "./heat.js";
import { Problem } from "./problem.js";
import { alphaOf, factorOf } from "./edits.js";
import { byId, element, say } from "./element.js";
import { colour } from "./palette.js";
import { percent } from "./strip.js";

const MOVES = [["←", "left", -1, 0], ["↑", "up", 0, -1], ["↓", "down", 0, 1], ["→", "right", 1, 0]];
const [SMALLEST_FACTOR, LARGEST_FACTOR] = [0.05, 4];

/** The panel beside the pictures. */
export class Inspector {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.node = byId("inspector");
    this.#build();
    // It is told after edits and donors, too.
    studio.addEventListener("selection", () => this.#show());
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#show();
  }

  /** Drop all selected tokens. */
  drop() {
    const tokens = this.studio.selection;
    if (!tokens.length) return;
    if (this.studio.edited.remaining.every((remains, k) => !remains || tokens.includes(k))) {
      this.studio.messages.report(new Problem("The last token has to stay: without it there is nothing to draw."));
      return;
    }
    const focused = this.node.contains(document.activeElement);
    this.studio.edit(...tokens.map((token) => ({ op: "drop", token })));
    // The panel of a token that is gone is gone, too.
    if (focused) document.querySelector(`#strip .token[data-token="${tokens.at(-1)}"]`).focus();
    say(`Dropped ${tokens.map((k) => `token ${k}`).join(", ")}.`);
  }

  #build() {
    const act = (text, deed, properties = {}) => element("button", { type: "button", onclick: deed, ...properties }, text);
    this.empty = element(
      "div",
      { className: "empty-token" },
      element("h2", {}, "Pick a token"),
      element("p", {}, "Choose a region of the photo, or a token in the row below. Then drop it, scale it, drag it somewhere else, or let it show something different."),
    );
    this.title = element("h2");
    this.heat = new Heat(element("canvas", { "aria-hidden": "true" }));
    this.share = element("p", { className: "share-line" });
    this.nearest = element("div", { className: "nearest", role: "group", "aria-label": "Nearest tokens" });
    this.factor = element("input", {
      type: "range", id: "factor", min: String(SMALLEST_FACTOR), max: String(LARGEST_FACTOR), step: "0.05", value: "1",
      oninput: () => this.#scale(), onchange: () => this.studio.commit(),
    });
    this.factorText = element("output", { htmlFor: "factor" });
    this.partnerHeat = new Heat(element("canvas", { "aria-hidden": "true" }));
    this.partner = element("select", { id: "partner", onchange: () => this.#showPartner() });
    this.alpha = element("input", {
      type: "range", id: "alpha", min: "0", max: "1", step: "0.05", value: "0",
      oninput: () => this.#blend(), onchange: () => this.studio.commit(),
    });
    this.alphaText = element("output", { htmlFor: "alpha" });
    this.swap = act("Swap", () => this.studio.edit({ op: "swap", tokens: [this.studio.selected, this.#other().token] }), { id: "swap" });
    this.take = act("Show it here", () => this.#take(), { id: "take" });
    this.body = element(
      "div",
      { className: "token-body" },
      element("div", { className: "token-head" }, this.heat.canvas, element("div", {}, this.title, this.share),
        act("✕", () => this.#close(), { className: "icon token-close", "aria-label": "Select nothing" })),
      element("div", { className: "row wrap deeds" },
        act("Drop", () => this.drop(), { id: "drop-token", title: "Delete" }),
        act("Keep only this", () => this.#keep(), { id: "keep-token" })),
      element("div", { className: "field" }, element("label", { htmlFor: "factor" }, "Scale"), this.factorText, this.factor),
      element("div", { className: "field moves" }, element("span", { id: "moves-label" }, "Move"),
        element("div", { className: "segments", role: "group", "aria-labelledby": "moves-label" },
          ...MOVES.map(([sign, way, dx, dy]) => act(sign, () => this.#move(dx, dy), { "aria-label": `Move ${way}` })))),
      element("fieldset", { className: "partner" }, element("legend", {}, "With another token"),
        element("label", { className: "hidden", htmlFor: "partner" }, "Other token"),
        element("div", { className: "row" }, this.partnerHeat.canvas, this.partner),
        element("div", { className: "row wrap" }, this.swap, this.take),
        element("div", { className: "field" }, element("label", { htmlFor: "alpha" }, "Blend"), this.alphaText, this.alpha)),
      element("div", {}, element("h3", {}, "Most alike"), this.nearest),
    );
    this.node.append(this.empty, this.body);
  }

  #show() {
    const { studio } = this;
    const k = studio.selected;
    this.empty.hidden = k !== null;
    this.body.hidden = k === null;
    if (k === null || !studio.edited) return;
    const { tokens } = studio.edited;
    this.node.style.setProperty("--token", colour(k));
    const more = studio.selection.length - 1;
    this.title.textContent = more ? `Token ${k} and ${more} more` : `Token ${k}`;
    byId("keep-token").textContent = more ? "Keep only these" : "Keep only this";
    this.heat.draw(tokens, k, studio.photo);
    this.share.textContent = `${percent(tokens.shares()[k])} of the picture`;
    this.#showNearest(tokens, k);
    this.#fillPartners(k);
    const factor = factorOf(studio.edits, k);
    this.factor.value = String(factor);
    this.factorText.textContent = `× ${factor}`;
    this.#showPartner();
  }

  #showNearest(tokens, k) {
    const alive = tokens.nearest(k, tokens.count).filter(({ token }) => this.studio.remains(token)).slice(0, 3);
    this.nearest.replaceChildren(
      ...alive.map(({ token, cosine }) => {
        const chip = element(
          "button",
          {
            type: "button", className: "chip", "aria-label": `Token ${token}, cosine ${cosine.toFixed(2)}`,
            onclick: () => this.studio.select(token),
            onpointerenter: () => this.studio.hover(token), onpointerleave: () => this.studio.hover(null),
          },
          element("span", { className: "dot" }), `${token}`, element("small", {}, cosine.toFixed(2)),
        );
        chip.style.setProperty("--token", colour(token));
        return chip;
      }),
    );
  }

  #fillPartners(k) {
    const { studio } = this;
    const own = studio.edited.remaining.flatMap((remains, m) => (remains && m !== k ? [[`self ${m}`, `${m} of this photo`]] : []));
    const second = studio.second
      ? Array.from({ length: studio.second.tokens.count }, (_, m) => [`second ${m}`, `B${m} of the second photo`])
      : [];
    const chosen = this.partner.value;
    this.partner.replaceChildren(...[...own, ...second].map(([value, text]) => element("option", { value }, `Token ${text}`)));
    const selected = studio.selection.at(-2);
    const wanted = this.lastPair !== selected && selected !== undefined ? `self ${selected}` : chosen;
    this.lastPair = selected;
    if ([...this.partner.options].some((option) => option.value === wanted)) this.partner.value = wanted;
  }

  #other() {
    const [where, token] = this.partner.value.split(" ");
    return { where, token: Number(token) };
  }

  #origin() {
    const { where, token } = this.#other();
    return { donor: where === "second" ? this.studio.second.index : this.studio.selfDonor(), token };
  }

  #showPartner() {
    const { studio } = this;
    const { where, token } = this.#other();
    const [from, photo] = where === "second" ? [studio.second.tokens, studio.second.photo] : [studio.edited.tokens, studio.photo];
    if (where) {
      this.partnerHeat.draw(from, token, photo);
      this.partnerHeat.canvas.style.setProperty("--token", colour(token));
    }
    this.swap.disabled = where !== "self";
    this.take.disabled = this.alpha.disabled = !where;
    const donor = where === "second" ? studio.second?.index : studio.donors.findIndex((each) => each.self);
    this.alpha.value = String(alphaOf(studio.edits, studio.selected, { donor, token }));
    this.alphaText.textContent = `${Math.round(100 * Number(this.alpha.value))} %`;
  }

  /** Delete drops what is selected, Escape selects nothing, wherever the focus is. */
  #key(event) {
    const taken = event.defaultPrevented || event.target.closest("dialog, select, textarea, input:not([type=range], [type=checkbox])");
    if (taken || byId("view-edit").hidden) return;
    if (event.key === "Escape") this.studio.deselect();
    if (event.key !== "Delete" && event.key !== "Backspace") return;
    event.preventDefault();
    this.drop();
  }

  #close() {
    const last = this.studio.selected;
    this.studio.deselect();
    document.querySelector(`#strip .token[data-token="${last}"]`)?.focus();
  }

  #keep() {
    this.studio.edit({ op: "keep", tokens: [...this.studio.selection].sort((a, b) => a - b) });
  }

  #move(dx, dy) {
    this.studio.edit(...this.studio.selection.map((token) => ({ op: "move", token, dx, dy })));
  }

  #scale() {
    const factor = Number(this.factor.value);
    this.studio.draft(...this.studio.selection.map((token) => ({ op: "scale", token, factor })));
  }

  #take() {
    this.studio.edit({ op: "replace", token: this.studio.selected, with: this.#origin() });
  }

  #blend() {
    this.studio.draft({ op: "blend", token: this.studio.selected, toward: this.#origin(), alpha: Number(this.alpha.value) });
  }
}
