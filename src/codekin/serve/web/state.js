/* What the page shows, as its address says it: a link to a page is a link to what is on it. */

const KEPT = ["q", "in", "lang", "path", "mode", "rerank", "beside", "near", "nearIn", "nearLine", "file", "fileIn", "line"];
const DEFAULTS = { mode: "hybrid" };

export const state = read();

function read() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(KEPT.map((key) => [key, given.get(key) ?? DEFAULTS[key] ?? ""]));
}

/* The page's address with some things changed. */
export function address(changes = {}) {
  const wanted = { ...state, ...changes };
  const told = new URLSearchParams(KEPT.filter((key) => wanted[key] && wanted[key] !== DEFAULTS[key]).map((key) => [key, wanted[key]]));
  const query = told.toString();
  return query ? `/?${query}` : "/";
}

/* Changes the state; a `step` is one that the browser's back button takes back. */
export function change(changes, step = false) {
  const next = address(changes);
  Object.assign(state, Object.fromEntries(Object.entries(changes).map(([key, value]) => [key, String(value)])));
  if (next === location.pathname + location.search) return;
  history[step ? "pushState" : "replaceState"](null, "", next);
}

export function onBack(tell) {
  addEventListener("popstate", () => {
    Object.assign(state, read());
    tell();
  });
}

/* A path filter as globs: words are parts of names, a leading ! leaves out. */
export function globs(text) {
  const include = [], exclude = [];
  for (const word of text.split(/[\s,]+/).filter((part) => part && part !== "!")) {
    const out = word.startsWith("!");
    (out ? exclude : include).push(widened(out ? word.slice(1) : word));
  }
  return { include, exclude };
}

function widened(word) {
  if (/[*?[\]]/.test(word) || word.endsWith("/")) return word;
  return word.includes("/") ? `${word}*` : `*${word}*`;
}
