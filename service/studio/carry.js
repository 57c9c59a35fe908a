// Carrying a token with the pointer: by mouse, pen or finger.

import { colour } from "./palette.js";
import { element } from "./element.js";

const START_PX = 6;
const HOLD_MS = 350;
const EDGE_PX = 50;

/**
 * Let a token be carried from its card to somewhere else.
 * @param {HTMLElement} card @param {number} k
 * @param {{over: (x: number, y: number) => void, drop: (x: number, y: number) => void, leave: () => void}} deeds
 */
export function makeCarriable(card, k, deeds) {
  /** @type {{x: number, y: number, held: number, ghost: HTMLElement | null} | null} */
  let carried = null;
  const end = () => {
    clearTimeout(carried?.held);
    carried?.ghost?.remove();
    carried = null;
    document.body.classList.remove("carrying");
  };
  const lift = () => {
    carried.ghost = ghostOf(card, k);
    document.body.classList.add("carrying");
    place(carried.x, carried.y);
  };
  const place = (x, y) => {
    carried.ghost.style.setProperty("--x", `${x}px`);
    carried.ghost.style.setProperty("--y", `${y}px`);
  };
  card.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || card.getAttribute("aria-disabled") === "true") return;
    carried = { x: event.clientX, y: event.clientY, held: 0, ghost: null };
    // A finger that moves at once scrolls the page: to carry, it rests first.
    if (event.pointerType === "mouse") card.setPointerCapture(event.pointerId);
    else carried.held = setTimeout(lift, HOLD_MS);
  });
  card.addEventListener("touchmove", (event) => carried?.ghost && event.preventDefault(), { passive: false });
  card.addEventListener("contextmenu", (event) => carried?.held && event.preventDefault());
  card.addEventListener("pointermove", (event) => {
    if (!carried) return;
    const { clientX: x, clientY: y } = event;
    if (!carried.ghost) {
      if (Math.hypot(x - carried.x, y - carried.y) < START_PX) return;
      if (carried.held) return end();
      lift();
    }
    place(x, y);
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
