/** Texts for numbers and times. */

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

/** Return a time relative to now, as kubectl shows ages: "3m ago", "in 6d". */
export function relative(time, now = Date.now()) {
  const seconds = Math.round((now - Date.parse(time)) / 1000);
  const size = Math.abs(seconds);
  const [unit, length] = UNITS.find(([, each]) => size >= each) || UNITS[3];
  const age = `${Math.floor(size / length)}${unit}`;
  if (size < 5) return "just now";
  return seconds >= 0 ? `${age} ago` : `in ${age}`;
}

/** Return a time in the form and zone of the reader. */
export function exact(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Return a number with its noun: "1 grant", "3 grants". */
export function count(number, noun, plural = `${noun}s`) {
  return `${number.toLocaleString()} ${number === 1 ? noun : plural}`;
}

/** Split a name in CamelCase into words: "NeedsAttention" becomes "Needs attention". */
export function words(name) {
  const spaced = name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** Return the fragment of the page of an identity. */
export function linkTo(key) {
  return `#/identities/${key}`;
}
