// The sample photos that come with the service.

import { element } from "./element.js";

/** Names and what they show; licences are in samples/LICENCES.md. */
export const SAMPLES = {
  coffee: "a cup of coffee",
  rocket: "a rocket in the evening",
  chelsea: "a cat",
  astronaut: "an astronaut",
  hubble: "galaxies",
  moon: "the Moon's surface",
};

/** What visitors see first. */
export const FIRST_SAMPLE = "coffee";

/** Where a sample is; in this version of the page it never changes. @param {string} name @returns {string} */
export function addressOf(name) {
  return new URL(`samples/${name}.jpg`, import.meta.url).href;
}

/** Its part of samples/small.webp, where they stand side by side. @param {string} name */
function pictureOf(name) {
  const picture = element("span", { className: "sample-picture" });
  picture.style.setProperty("--at", String(Object.keys(SAMPLES).indexOf(name)));
  return picture;
}

/** Buttons to choose a sample by. @param {HTMLElement} node @param {string} purpose @param {(name: string) => void} choose */
export function offerSamples(node, purpose, choose) {
  node.replaceChildren(
    ...Object.entries(SAMPLES).map(([name, shows]) =>
      element(
        "button",
        { type: "button", className: "sample", "aria-label": `${purpose}: ${shows}`, title: shows, onclick: () => choose(name) },
        pictureOf(name),
      ),
    ),
  );
}
