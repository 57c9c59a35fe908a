// The three views of the page, as tabs; and the button for light and dark.

import { byId } from "./element.js";
import { keep } from "./kept.js";

const VIEWS = ["edit", "search", "compare"];
const THEMES = [["", "as the system", "◐"], ["light", "light", "☀"], ["dark", "dark", "☾"]];

/** Tabs. @param {(view: string) => void} opened told the view's name */
export function switchViews(opened) {
  const tabs = VIEWS.map((view) => byId(`tab-${view}`));
  const open = (at, focus = false) => {
    VIEWS.forEach((view, i) => {
      tabs[i].setAttribute("aria-selected", String(i === at));
      tabs[i].tabIndex = i === at ? 0 : -1;
      byId(`view-${view}`).hidden = i !== at;
    });
    if (focus) tabs[at].focus();
    opened(VIEWS[at]);
  };
  tabs.forEach((tab, at) => {
    tab.addEventListener("click", () => open(at));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open((at + step + tabs.length) % tabs.length, true);
    });
  });
  return (view) => open(VIEWS.indexOf(view));
}

/** The button that goes round the themes. */
export function switchThemes() {
  const button = byId("theme");
  const root = document.documentElement;
  let at = Math.max(0, THEMES.findIndex(([theme]) => theme === (root.dataset.theme ?? "")));
  const show = () => {
    const [theme, words, sign] = THEMES[at];
    button.textContent = sign;
    button.setAttribute("aria-label", `Theme: ${words}`);
    button.title = `Theme: ${words}`;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    keep("localStorage", "stellar-theme", theme);
  };
  button.addEventListener("click", () => {
    at = (at + 1) % THEMES.length;
    show();
  });
  show();
}
