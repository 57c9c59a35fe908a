// What the visitor chose before, before anything is drawn: light or dark, else as the system; no more guide.
"use strict";
{
  const root = document.documentElement;
  try {
    const chosen = localStorage.getItem("stellar-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
    if (localStorage.getItem("stellar-guided")) root.dataset.guided = "";
  } catch {
    // The visitor's browser keeps nothing.
  }
}
