// The edits in words, one by one, and the way back.

import { byId, element } from "./element.js";

/** An edit as people say it. @param {any} edit @param {import("./donors.js").Donor[]} donors */
export function wordsOf(edit, donors) {
  const from = ({ donor, token }) => `token ${token} of ${donors[donor]?.self ? "this photo" : (donors[donor]?.name ?? "a second photo")}`;
  switch (edit.op) {
    case "drop":
      return `Drop token ${edit.token}`;
    case "keep":
      return `Keep only ${edit.tokens.join(", ")}`;
    case "scale":
      return `Scale token ${edit.token} by ${edit.factor}`;
    case "swap":
      return `Swap ${edit.tokens[0]} and ${edit.tokens[1]}`;
    case "replace":
      return `Token ${edit.token} shows ${edit.with.semantics ? "given numbers" : from(edit.with)}`;
    case "blend":
      return `Blend token ${edit.token} by ${Math.round(100 * edit.alpha)} % with ${edit.toward.semantics ? "given numbers" : from(edit.toward)}`;
    case "move":
      return `Move token ${edit.token} ${stepsOf(edit)}`;
    case "paint":
      return `Paint ${edit.cells ? `${edit.cells.length} cells` : "a rectangle"} for token ${edit.token}`;
    default:
      return edit.op;
  }
}

/** @param {{dx: number, dy: number}} move @returns {string} such as "3 left, 4 down" */
function stepsOf({ dx, dy }) {
  const across = dx && `${Math.abs(dx)} ${dx < 0 ? "left" : "right"}`;
  const along = dy && `${Math.abs(dy)} ${dy < 0 ? "up" : "down"}`;
  return [across, along].filter(Boolean).join(", ");
}

/** The panel of edits, with undo, redo and reset. */
export class EditList {
  /** @param {import("./studio.js").Studio} studio */
  constructor(studio) {
    this.studio = studio;
    byId("undo").addEventListener("click", () => this.#press(() => studio.undo(), "undo", "redo"));
    byId("redo").addEventListener("click", () => this.#press(() => studio.redo(), "redo", "undo"));
    byId("reset").addEventListener("click", () => this.#press(() => studio.replaceEdits([]), "undo"));
    document.addEventListener("keydown", (event) => this.#key(event));
    studio.addEventListener("edits", () => this.#show());
  }

  /** Do something, and put the focus on the first of these buttons that can be pressed. */
  #press(deed, ...next) {
    deed();
    next.map(byId).find((button) => !button.disabled)?.focus();
  }

  #key(event) {
    if (byId("view-edit").hidden) return;
    if (!(event.ctrlKey || event.metaKey) || event.target.matches("input:not([type=range], [type=checkbox]), textarea")) return;
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) this.studio.redo();
    else this.studio.undo();
  }

  #show() {
    const { studio } = this;
    const { edits, donors, history } = studio;
    byId("undo").disabled = !history.canUndo;
    byId("redo").disabled = !history.canRedo;
    byId("reset").disabled = !edits.length;
    byId("no-edits").hidden = edits.length > 0;
    byId("lacking").hidden = !studio.lacking.length;
    byId("lacking").textContent = `Not shown yet: choose ${studio.lacking.map((donor) => donor.name).join(" and ")} as second photo.`;
    byId("edit-list").replaceChildren(
      ...edits.map((edit, i) => {
        const words = wordsOf(edit, donors);
        const away = () => this.#press(() => studio.replaceEdits(edits.filter((_, j) => j !== i)), "undo");
        return element("li", {}, element("span", {}, words),
          element("button", { type: "button", className: "icon", "aria-label": `Take back: ${words}`, onclick: away }, "✕"));
      }),
    );
  }
}
