// Light or dark, before anything is drawn: the visitor's choice, else the system's.
"use strict";
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("stellar-theme");
  } catch {
    // The visitor's browser keeps nothing.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
