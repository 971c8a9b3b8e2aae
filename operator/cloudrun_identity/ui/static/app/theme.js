/** Color theme: that of the system, or the one that the reader chose. */
import { useState } from "../vendor/preact-hooks.mjs";
import { html } from "./html.js";

const KEY = "cloudrun-identity-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // the browser keeps nothing for this site
  }
}

/** Apply the chosen theme, if there is one. */
export function applyTheme(theme = stored()) {
  if (theme) document.documentElement.dataset.theme = theme;
}

/** Button that switches between the themes. */
export function ThemeButton() {
  const [theme, setTheme] = useState(stored() || (system.matches ? "dark" : "light"));
  const other = theme === "dark" ? "light" : "dark";
  function change() {
    try {
      localStorage.setItem(KEY, other);
    } catch {
      // The choice lasts until the page is closed.
    }
    applyTheme(other);
    setTheme(other);
  }
  const path = theme === "dark"
    ? "M12 3v2m0 14v2M3 12h2m14 0h2M5.6 5.600l1.400 1.400m10 10 1.400 1.400m0-12.800-1.400 1.400m-10 10-1.400 1.400M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Z"
    : "M20 14.500A8 8 0 0 1 9.500 4 8 8 0 1 0 20 14.500Z";
  return html`
    <button class="icon-button" onClick=${change} aria-label="Use the ${other} theme" title="Use the ${other} theme">
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${path} /></svg>
    </button>`;
}
