// The same photo through two served models or precisions, side by side.

import { CallBox } from "./callbox.js";
import { Column } from "./column.js";
import { Drawing, Photo } from "./photo.js";
import { Problem } from "./problem.js";
import { Versus } from "./versus.js";
import { bytesText, durationMs } from "./result.js";
import { sizeText } from "./size.js";
import { byId, element } from "./element.js";
import { spelledOut } from "./donors.js";

const SIDES = ["Left", "Right"];
const RUNS = 7;

/** The compare view. */
export class Compare {
  #turn = new AbortController();
  /** @type {Column[]} */
  #columns = [];

  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    this.#build();
    for (const kind of ["photo", "models"]) studio.addEventListener(kind, () => byId("view-compare").hidden || this.open());
  }

  /** The view comes into sight, or what it shows has changed. */
  open() {
    const models = this.studio.models.all;
    const alone = models.length === 1;
    byId("compare-alone").hidden = !alone;
    byId("compare-columns").hidden = alone;
    byId("compare-call").parentElement.hidden = alone;
    if (alone) return;
    this.#columns.forEach(({ select }, i) => {
      const chosen = select.value || models[Math.min(i, models.length - 1)]?.name;
      select.replaceChildren(...models.map((model) => element("option", { value: model.name }, `${model.name} · ${model.precision}`)));
      select.value = chosen;
    });
    void this.#draw();
  }

  #build() {
    // The same place in all pictures: each model has its own tokens.
    const point = (place) => this.#columns.forEach((column) => column.point(place));
    this.#columns = SIDES.map((side) => new Column(side, () => this.#draw(), point));
    this.note = element("p", { className: "minor", id: "compare-note", role: "status" });
    this.versus = new Versus();
    const panel = element("section", { className: "panel call", "aria-labelledby": "compare-call-title" });
    byId("view-compare").append(
      element("div", { className: "panel", id: "compare-alone", hidden: true },
        element("h2", {}, "Only one model is served"),
        element("p", { className: "minor" }, "Export another one or another precision, put its folder beside the first, and serve that folder:"),
        element("pre", { tabIndex: 0, role: "region", "aria-label": "Commands" },
          "stellar-model export checkpoint.safetensors --out models/mine-int8 --precision int8\nstellar-service serve --models models")),
      element("div", { className: "columns", id: "compare-columns" }, ...this.#columns.map((column) => column.node)),
      this.note,
      this.versus.node,
      panel,
    );
    this.box = new CallBox(panel, "compare-call", ["curl", "python"]);
  }

  async #draw() {
    this.#turn.abort();
    const { signal } = (this.#turn = new AbortController());
    const { studio } = this;
    if (!studio.photo) {
      this.note.textContent = "Open a photo first.";
      return;
    }
    const { edits, donors } = studio.callable();
    const files = [["image", studio.photo.pictured], ...donors.map((donor) => ["donor", donor])];
    const callOf = (model) => ({ ...studio.api.about, route: "reconstruct", files, fields: { model, fit: studio.namedFit, box: studio.photo.box, edits }, out: `${model}.png` });
    this.box.show(this.#columns.map(({ select }) => callOf(select.value)));
    try {
      this.note.textContent = "Drawing…";
      const drawn = await Promise.all(this.#columns.map((column) => this.#column(column, signal)));
      if (signal.aborted) return;
      const words = this.versus.show(...drawn.map(({ bitmap }) => bitmap));
      const edited = drawn.filter((drawing) => drawing.edits.length).length;
      this.note.textContent = [words, ["", "Only one of the models takes the current edits.", "Both show the current edits."][edited]].join(" ").trim();
      for (const drawing of drawn) drawing.sleep();
      await this.#time(signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.note.textContent = error.sentence;
      if (error.passes) studio.connection.retry("compare", error, () => this.#draw());
    }
  }

  /** @returns {Promise<Drawing>} */
  async #column(column, signal) {
    const { api, photo, models } = this.studio;
    const manifest = models.named(column.select.value);
    const sent = await photo.sentTo(manifest.image_size);
    const seen = await api.tokens(sent, manifest.name, photo.how, signal);
    const redrawn = await api.redraw(sent, manifest.name, photo.how, signal);
    const drawing = (await this.#edited(seen.tokens, manifest.name, signal)) ?? (await Drawing.of(redrawn, []));
    const same = new Photo({ ...photo.facts, source: seen.tokens.source, side: manifest.image_size });
    await same.wake();
    if (signal.aborted) return drawing;
    column.show(seen.tokens, same.view, drawing.bitmap);
    const bytes = Object.values(manifest.files).reduce((sum, file) => sum + file.bytes, 0);
    const told = [
      ["PSNR", `${redrawn.psnr.toFixed(1)} dB`, `unedited, against the photo at ${sizeText(manifest.image_size)}`],
      ["Time", "…", "in the service", "time"],
      ["Tokens", `${seen.tokens.count} × ${seen.tokens.width}`, bytesText(seen.tokens.bytes)],
      ["Model", bytesText(bytes), `${manifest.precision} on disk`],
    ];
    column.facts.replaceChildren(...told.map(([name, value, about, className = ""]) =>
      element("div", {}, element("dt", {}, name), element("dd", { className }, value, element("small", {}, about)))));
    same.sleep();
    return drawing;
  }

  /** With the current edits, or null where there are none, or the model can't take them. @returns {Promise<Drawing | null>} */
  async #edited(tokens, model, signal) {
    const { api, edits, donors, lacking } = this.studio;
    if (!edits.length || lacking.length) return null;
    try {
      return await Drawing.of(await api.reconstruct(tokens, spelledOut(edits, donors), model, signal), edits);
    } catch (error) {
      if (error.status === 400) return null;
      throw error;
    }
  }

  /** One time is noise: take several, of one model after the other, and tell how they spread. */
  async #time(signal) {
    const { api, models, photo } = this.studio;
    const times = this.#columns.map(() => []);
    const sent = await Promise.all(this.#columns.map(({ select }) => photo.sentTo(models.named(select.value).image_size)));
    for (let run = 0; run < RUNS; run++) {
      for (const [i, { select, facts }] of this.#columns.entries()) {
        const { timing } = await api.redraw(sent[i], select.value, photo.how, signal);
        if (signal.aborted) return;
        times[i].push(durationMs(timing));
        const sorted = times[i].toSorted((a, b) => a - b);
        const [least, middle, most] = [0, Math.floor(run / 2), run].map((at) => Math.round(sorted[at]));
        facts.querySelector(".time").replaceChildren(`${middle} ms`, element("small", {}, `in the service: ${least} to ${most} ms, median of ${run + 1}`));
      }
    }
  }
}
