// Elements of the page.

/**
 * An element of the page by its id.
 * @param {string} id @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * A new element. Properties that begin with "on" are listeners, "aria-…", "data-…" and "role" attributes.
 * @param {string} name @param {Record<string, any>} [properties] @param {...(Node | string)} children
 * @returns {any}
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (/^(aria-|data-|role$)/.test(key)) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Tell those who listen to the page. @param {string} text */
export function say(text) {
  byId("said").textContent = text;
}
