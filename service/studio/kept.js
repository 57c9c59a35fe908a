// What the browser keeps for the page. Visitors may forbid it: then it lasts as long as the page.

/** @param {"localStorage" | "sessionStorage"} where @param {string} name @returns {string | null} */
export function kept(where, name) {
  try {
    return window[where].getItem(name);
  } catch {
    return null;
  }
}

/** @param {"localStorage" | "sessionStorage"} where @param {string} name @param {string} value */
export function keep(where, name, value) {
  try {
    window[where].setItem(name, value);
  } catch {
    // Forbidden, or full.
  }
}
