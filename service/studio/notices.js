// Bars at the top of the page: what went wrong, and that the service is away.

import { byId } from "./element.js";

/** @param {import("./studio.js").Studio} studio @param {import("./connection.js").Connection} connection */
export function showNotices(studio, connection) {
  const bar = byId("problem");
  studio.addEventListener("problem", () => {
    bar.hidden = !studio.problem;
    bar.querySelector("p").textContent = studio.problem?.sentence ?? "";
  });
  bar.querySelector("button").addEventListener("click", () => studio.report(null));
  connection.addEventListener("change", () => {
    const { problem } = connection;
    const away = byId("away");
    away.hidden = !problem;
    if (!problem) return;
    const why = problem.code === "unreachable" ? "The service does not answer." : problem.sentence;
    away.textContent = `${why} What you do is kept, and done as soon as it is back.`;
  });
}
