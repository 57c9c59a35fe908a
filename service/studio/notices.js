// Bars over the page's lower edge: what went wrong, what was done and can be taken back, that the service is away.

import { byId } from "./element.js";

/** @param {import("./messages.js").Messages} messages @param {import("./connection.js").Connection} connection */
export function showNotices(messages, connection) {
  const [problem, offer, away] = ["problem", "offer", "away"].map(byId);
  messages.addEventListener("problem", () => {
    problem.hidden = !messages.problem;
    problem.querySelector("p").textContent = messages.problem?.sentence ?? "";
  });
  problem.querySelector("button").addEventListener("click", () => messages.report(null));
  const [take, close] = offer.querySelectorAll("button");
  messages.addEventListener("offer", () => {
    offer.hidden = !messages.offer;
    if (!messages.offer) return;
    offer.querySelector("p").textContent = messages.offer.text;
    take.textContent = messages.offer.label;
  });
  take.addEventListener("click", () => {
    const { deed } = messages.offer;
    messages.decline();
    deed();
  });
  close.addEventListener("click", () => messages.decline());
  connection.addEventListener("change", () => {
    const { problem: why } = connection;
    away.hidden = !why;
    if (!why) return;
    const words = why.code === "unreachable" ? "The service does not answer." : why.sentence;
    away.textContent = `${words} What you do is kept, and done as soon as it is back.`;
  });
}
