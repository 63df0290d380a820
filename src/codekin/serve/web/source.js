/* A whole file, in a panel over the results. */

import { address, change, state } from "./state.js";
import { named, rows } from "./code.js";
import { ask, at, button, copy, make } from "./dom.js";

const panel = at("source"), code = at("source-code"), aside = at("source-aside");
const kept = new Map();
let shown = null;
let asked = 0;

/* A file as the server tells it; asked for once in a while. */
export async function file(repository, path) {
  const name = `${repository}\n${path}`;
  const known = kept.get(name);
  if (known && performance.now() - known.at < 5000) return known.told;
  const told = ask("/page/source", { repository, path });
  kept.set(name, { told, at: performance.now() });
  told.catch(() => kept.delete(name));
  if (kept.size > 40) kept.delete(kept.keys().next().value);
  return told;
}

/* Shows the file that the state names, or none. */
export async function show() {
  if (!state.file) {
    if (panel.open) panel.close();
    return;
  }
  const turn = ++asked;
  const name = `${state.fileIn}\n${state.file}`;
  at("source-title").replaceChildren(...named(state.file));
  if (!panel.open) panel.showModal();
  if (shown?.name !== name) {
    aside.hidden = true;
    code.replaceChildren(make("p", { class: "none" }, "…"));
    shown = null;
  }
  try {
    const told = await file(state.fileIn, state.file);
    if (turn !== asked) return;
    if (shown?.name !== name || shown.told !== told) {
      code.style.setProperty("--digits", String(told.lines.length).length);
      code.replaceChildren(...rows(told.lines, 1, (line) => address({ line })));
      shown = { name, told };
    }
    select(Number(state.line) || 1, true);
    code.focus({ preventScroll: true });
  } catch (error) {
    if (turn === asked) code.replaceChildren(make("p", { class: "none" }, error.message));
  }
}

function select(line, centre) {
  const last = shown.told.lines.length;
  line = Math.min(Math.max(1, line), last);
  const [first, end] = shown.told.chunks.findLast(([start]) => start <= line) ?? [1, last];
  for (const row of code.querySelectorAll(".here, .chunk")) row.classList.remove("here", "chunk");
  for (let number = first; number <= Math.min(end, last); number++) code.children[number - 1].classList.add("chunk");
  const row = code.children[line - 1];
  row.classList.add("here");
  row.scrollIntoView({ block: centre ? "center" : "nearest" });
  change({ line });
}

/* Code related to that at the line. */
async function related() {
  if (!shown) return;
  const line = Number(state.line) || 1;
  const turn = ++asked;
  aside.hidden = false;
  aside.replaceChildren(make("h3", {}, `Related to line ${line}`), make("p", { class: "none" }, "…"));
  code.querySelector(".here")?.scrollIntoView({ block: "nearest" });
  try {
    const answer = await ask("/page/related", { repository: state.fileIn, path: state.file, line, top: 12 });
    if (turn !== asked) return;
    const items = answer.results.map((result) => {
      const open = button("", () => go(result), { class: "other" });
      open.append(...named(result.path, `:${result.start_line}`), make("span", { class: "symbol" }, result.symbol || result.language));
      return make("li", {}, open);
    });
    aside.replaceChildren(make("h3", {}, `Related to line ${line}`), make("ol", {}, ...items));
    aside.querySelector("button")?.focus();
  } catch (error) {
    if (turn === asked) aside.replaceChildren(make("h3", {}, "Related"), make("p", { class: "none" }, error.message));
  }
}

function go(result) {
  change({ file: result.path, fileIn: result.repository, line: result.start_line }, true);
  show();
}

const place = () => `${state.file}:${state.line || 1}`;

code.addEventListener("click", (event) => {
  const number = event.target.closest("a.n");
  if (!number || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  select(Number(number.textContent));
});
panel.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { j: 1, k: -1 }[event.key];
  if (step && shown) select((Number(state.line) || 1) + step);
  else if (event.key === "r") related();
  else if (event.key === "c") copy(place());
  else return;
  event.preventDefault();
});
panel.addEventListener("click", (event) => {
  if (event.target === panel) panel.close();
});
panel.addEventListener("close", () => {
  asked++;
  if (!state.file) return;
  change({ file: "", fileIn: "", line: "" });
});
at("source-close").addEventListener("click", () => panel.close());
at("source-related").addEventListener("click", related);
at("source-copy").addEventListener("click", async () => {
  const label = at("source-copy");
  if (!(await copy(place()))) return;
  label.textContent = "Copied";
  setTimeout(() => { label.textContent = "Copy path"; }, 1500);
});
