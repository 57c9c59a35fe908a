// Bars over the page's lower edge: what went wrong, what was done and can be taken back, that the service is away.

import { byId } from "./element.js";

/** @param {import("./studio.js").Studio} studio @param {import("./connection.js").Connection} connection */
export function showNotices(studio, connection) {
  const [problem, offer, away] = ["problem", "offer", "away"].map(byId);
  studio.addEventListener("problem", () => {
    problem.hidden = !studio.problem;
    problem.querySelector("p").textContent = studio.problem?.sentence ?? "";
  });
  problem.querySelector("button").addEventListener("click", () => studio.report(null));
  const [take, close] = offer.querySelectorAll("button");
  studio.addEventListener("offer", () => {
    offer.hidden = !studio.offer;
    if (!studio.offer) return;
    offer.querySelector("p").textContent = studio.offer.text;
    take.textContent = studio.offer.label;
  });
  take.addEventListener("click", () => {
    const { deed } = studio.offer;
    studio.decline();
    deed();
  });
  close.addEventListener("click", () => studio.decline());
  connection.addEventListener("change", () => {
    const { problem: why } = connection;
    away.hidden = !why;
    if (!why) return;
    const words = why.code === "unreachable" ? "The service does not answer." : why.sentence;
    away.textContent = `${words} What you do is kept, and done as soon as it is back.`;
  });
}
