/* Lists of results, one or two beside each other. */

import { address } from "./state.js";
import { block, key, named, place } from "./code.js";
import { button, copy, count, make } from "./dom.js";

const opens = (result, line) => address({ file: result.path, fileIn: result.repository, line });

/* What can be done with results is in `act`: open(result, line), related(result), point(key or null). */
export function column(title, answer, others, act, several) {
  const ranks = others && new Map(others.results.map((result, rank) => [key(result), rank + 1]));
  const list = make("ol", { class: "results" }, ...answer.results.map((result, rank) => card(result, rank + 1, ranks, act, several)));
  const head = title ? make("h2", {}, title, " ", make("small", {}, `${Math.round(answer.elapsed_ms)} ms`)) : null;
  const none = answer.results.length ? null : "Nothing here.";
  const note = answer.indexing.length ? "The index is still being made: more may come." : none;
  return make("div", { class: "column" }, head, list, note && make("p", { class: "none" }, note));
}

function card(result, rank, ranks, act, several) {
  const line = result.definition === null ? result.start_line + result.first : result.start_line + result.definition;
  const link = make("a", { class: "open", href: opens(result, line) },
    several ? make("span", { class: "repository" }, `${result.repository} `) : null,
    ...named(result.path, `:${result.start_line}–${result.end_line}`));
  const facts = make("p", { class: "facts" },
    result.symbol ? make("span", { class: "symbol" }, result.symbol) : null,
    make("span", {}, result.language), make("span", { title: scored(result) }, result.score.toFixed(2)),
    ranks ? agreement(ranks.get(key(result)), rank) : null);
  const code = make("div", { class: "code" });
  const item = make("li", { class: "result" }, make("h3", {}, make("span", { class: "rank", "aria-hidden": "true" }, String(rank)), link), facts, code);
  item.result = result;
  let whole = false;
  const all = result.lines.length;
  const more = button("", () => {
    whole = !whole;
    show();
  }, { class: "more" });
  function show() {
    const [first, last] = whole ? [0, all - 1] : [result.first, result.last];
    block(code, result.lines.slice(first, last + 1), result.start_line + first, (number) => opens(result, number));
    more.textContent = whole ? "Show less" : `Show all ${count(all, "line")}`;
    more.setAttribute("aria-expanded", String(whole));
  }
  show();
  if (result.first === 0 && result.last >= all - 1) more.hidden = true;
  const copied = button("Copy path", async () => {
    if (await copy(place(result))) copied.textContent = "Copied";
  }, { class: "copy" });
  item.append(make("p", { class: "does" }, more, button("Related", () => act.related(result), { class: "related" }), copied));
  item.addEventListener("click", (event) => {
    const target = event.target.closest("a");
    if (!target || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    act.open(result, target.classList.contains("n") ? Number(target.textContent) : line);
  });
  item.addEventListener("pointerenter", () => act.point(key(result)));
  item.addEventListener("pointerleave", () => act.point(null));
  item.addEventListener("focusin", () => act.point(key(result)));
  return item;
}

/* What a score is made of. */
function scored({ first_score: first, second_score: second }) {
  if (first === undefined) return "score";
  return `score of both stages; the first gave ${first.toFixed(2)}, the second ${second === null ? "none" : second.toFixed(2)}`;
}

/* Where the other list has the same result. */
function agreement(theirs, rank) {
  if (!theirs) return make("span", { class: "only" }, "only here");
  return make("span", { class: "shared" }, theirs === rank ? "same rank" : `there ${theirs}`);
}

/* Moves the focus to the result `step` further, from the question to the first. */
export function move(step) {
  const links = [...current().querySelectorAll(".open")];
  const from = links.indexOf(document.activeElement?.closest(".result")?.querySelector(".open"));
  const next = links[from + step];
  if (!next) return false;
  next.focus();
  next.closest(".result").scrollIntoView({ block: "nearest" });
  return true;
}

/* Moves the focus to the other list, to the result of the same rank. */
export function across(step) {
  const columns = [...document.querySelectorAll("#columns .column")];
  const from = columns.indexOf(current());
  const place = [...columns[from].querySelectorAll(".result")].indexOf(focused());
  const other = columns[from + step]?.querySelectorAll(".open");
  if (!other?.length) return;
  const next = other[Math.min(Math.max(place, 0), other.length - 1)];
  next.focus();
  next.closest(".result").scrollIntoView({ block: "nearest" });
}

export const focused = () => document.activeElement?.closest(".result") ?? null;
const current = () => document.activeElement?.closest(".column") ?? document.querySelector("#columns .column") ?? document;

export function pointAt(pointed) {
  for (const item of document.querySelectorAll(".result")) item.classList.toggle("pointed", item.result !== undefined && key(item.result) === pointed);
}
