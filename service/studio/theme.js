// Light or dark, before anything is drawn: the visitor's choice, else the system's.
"use strict";
{
  const chosen = localStorage.getItem("stellar-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
