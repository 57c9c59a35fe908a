// The reconstruction, the slider between before and after, and how good and how large it is.

import { Problem } from "./problem.js";
import { byId, element, say } from "./element.js";
import { fitToScreen } from "./canvas.js";
import { sizeText } from "./size.js";

/** @param {number} bytes */
export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(bytes < 1e5 ? 1 : 0)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** How long the parts of a request took, from its Server-Timing header. @param {string} timing */
export function durationMs(timing) {
  return [...timing.matchAll(/dur=([\d.]+)/g)].reduce((sum, match) => sum + Number(match[1]), 0);
}

/** The right picture. */
export class Result {
  #redrawn = 0;

  /** @param {import("./studio.js").Studio} studio @param {import("./stage.js").Stage} stage knows which token holds a place */
  constructor(studio, stage) {
    this.studio = studio;
    this.stage = stage;
    this.marks = byId("marks");
    fitToScreen(this.marks, () => this.#mark());
    this.marks.addEventListener("pointermove", (event) => studio.hover(this.#tokenAt(event)));
    this.marks.addEventListener("pointerleave", () => studio.hover(null));
    this.marks.addEventListener("click", (event) => {
      const token = this.#tokenAt(event);
      if (token !== null) studio.select(token, event.shiftKey || event.ctrlKey || event.metaKey);
    });
    for (const kind of ["selection", "hover", "edits"]) {
      studio.addEventListener(kind, () => (this.#redrawn ||= requestAnimationFrame(() => this.#mark())));
    }
    this.frame = byId("result-frame");
    this.split = byId("split");
    this.what = byId("before-what");
    this.split.addEventListener("input", () => this.#divide());
    this.what.addEventListener("change", () => this.#drawBefore());
    studio.addEventListener("photo", () => this.#showPhoto());
    const { picture } = studio;
    picture.addEventListener("picture", () => this.#showPicture());
    picture.addEventListener("busy", () => {
      this.frame.setAttribute("aria-busy", String(picture.busy));
      this.frame.toggleAttribute("data-stale", picture.failed);
    });
    byId("figures").addEventListener("toggle", () => this.#measure());
    this.#divide();
  }

  #tokenAt(event) {
    const box = this.marks.getBoundingClientRect();
    return this.stage.regions?.at((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height) ?? null;
  }

  /** Outline what is hovered or selected. */
  #mark() {
    this.#redrawn = 0;
    const { hovered, selection } = this.studio;
    const lit = hovered !== null && this.studio.remains(hovered) ? hovered : null;
    const context = this.marks.getContext("2d");
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    if (lit !== null || selection.length) this.stage.regions?.draw(context, { opacity: 0, lit, selected: selection, labels: false, only: true });
  }

  #divide() {
    const value = Number(this.split.value);
    this.frame.style.setProperty("--split", `${value}%`);
    this.split.setAttribute("aria-valuetext", `${value} % before`);
    byId("tag-before").hidden = value < 14;
    byId("tag-after").hidden = value === 0 || value > 72;
  }

  async #showPhoto() {
    const { photo, tokens, manifest } = this.studio;
    this.split.value = "0";
    this.what.value = "photo";
    this.#divide();
    const jpeg = await photo.jpegBytes();
    if (photo !== this.studio.photo) return;
    const size = sizeText(manifest.image_size).replaceAll(" ", "\u00a0");
    const facts = [
      ["PSNR", "…", `unedited, against the photo at ${size}`, "psnr"],
      ["Tokens", bytesText(tokens.bytes), `float32: ${tokens.count} × ${tokens.width} numbers ${bytesText(tokens.semantics.byteLength)}, places ${bytesText(tokens.localization.byteLength)}`, "token-bytes"],
      ["As JPEG", bytesText(jpeg), `the photo at ${size}, quality 90`, "jpeg-bytes"],
      ["Your file", bytesText(photo.file.size), `${photo.size.join(" × ")} pixels`, "file-bytes"],
    ];
    byId("facts").replaceChildren(
      ...facts.map(([name, value, about, id]) =>
        element("div", { title: about }, element("dt", {}, name), element("dd", { id }, value, element("small", {}, about))),
      ),
    );
    void this.#measure();
  }

  /** Ask how good the picture is, once somebody wants to know. */
  async #measure() {
    const { api, photo, scene, model } = this.studio;
    if (!byId("figures").open || !scene) return;
    if (photo.ofTokens) {
      byId("psnr").firstChild.textContent = "none";
      return;
    }
    try {
      scene.psnr ??= (await api.redraw(photo.sent, model, photo.how)).psnr;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return;
    }
    if (scene === this.studio.scene) byId("psnr").firstChild.textContent = `${scene.psnr.toFixed(1)} dB`;
  }

  #showPicture() {
    const { bitmap, edits, timing } = this.studio.picture.drawing;
    const canvas = byId("after");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    this.frame.dataset.edits = JSON.stringify(edits);
    const many = edits.length;
    const edited = many && `${many} edit${many > 1 ? "s" : ""}`;
    byId("result-note").textContent = edited ? `after ${edited}` : "from the tokens alone";
    byId("result-time").title = "in the service";
    byId("result-time").textContent = `${Math.max(1, Math.round(durationMs(timing)))} ms`;
    canvas.setAttribute("aria-label", edited ? `Reconstruction after ${edited}` : "Reconstruction");
    say(edited ? `The reconstruction shows ${edited}.` : "The reconstruction shows the tokens without edits.");
    this.what.options[1].disabled = !edited;
    if (!edited) this.what.value = "photo";
    this.#drawBefore();
  }

  #drawBefore() {
    const { photo, plain } = this.studio;
    const canvas = byId("before");
    const picture = this.what.value === "plain" ? plain.bitmap : photo.view;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
    byId("tag-before").textContent = this.what.value === "plain" ? "No edits" : "Photo";
    byId("tag-after").textContent = this.studio.picture.drawing.edits.length ? "With edits" : "Reconstruction";
  }
}
