// Carrying a token with the pointer: by mouse, pen or finger.

import { colour } from "./palette.js";
import { element } from "./element.js";

const START_PX = 6;
const EDGE_PX = 50;

/**
 * Let a token be carried from its card to somewhere else.
 * @param {HTMLElement} card @param {number} k
 * @param {{over: (x: number, y: number) => void, drop: (x: number, y: number) => void, leave: () => void}} deeds
 */
export function makeCarriable(card, k, deeds) {
  /** @type {{x: number, y: number, ghost: HTMLElement | null} | null} */
  let carried = null;
  const end = () => {
    carried?.ghost?.remove();
    carried = null;
    document.body.classList.remove("carrying");
  };
  card.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && card.getAttribute("aria-disabled") !== "true") {
      carried = { x: event.clientX, y: event.clientY, ghost: null };
      card.setPointerCapture(event.pointerId);
    }
  });
  card.addEventListener("pointermove", (event) => {
    if (!carried) return;
    const { clientX: x, clientY: y } = event;
    if (!carried.ghost) {
      if (Math.hypot(x - carried.x, y - carried.y) < START_PX) return;
      carried.ghost = ghostOf(card, k);
      document.body.classList.add("carrying");
    }
    carried.ghost.style.setProperty("--x", `${x}px`);
    carried.ghost.style.setProperty("--y", `${y}px`);
    // The target may be beyond the window's edge.
    if (y < EDGE_PX) scrollBy(0, y - EDGE_PX);
    if (y > innerHeight - EDGE_PX) scrollBy(0, y - innerHeight + EDGE_PX);
    deeds.over(x, y);
  });
  card.addEventListener("pointerup", (event) => {
    if (carried?.ghost) {
      // A click that follows is none.
      const swallow = (click) => click.stopImmediatePropagation();
      card.addEventListener("click", swallow, { capture: true });
      setTimeout(() => card.removeEventListener("click", swallow, { capture: true }));
      deeds.drop(event.clientX, event.clientY);
    }
    end();
  });
  card.addEventListener("pointercancel", () => {
    if (carried?.ghost) deeds.leave();
    end();
  });
}

function ghostOf(card, k) {
  const canvas = element("canvas");
  const drawn = card.querySelector("canvas");
  canvas.width = canvas.height = drawn.width;
  canvas.getContext("2d").drawImage(drawn, 0, 0);
  const ghost = element("div", { className: "ghost" }, canvas);
  ghost.style.setProperty("--token", colour(k));
  document.body.append(ghost);
  return ghost;
}
