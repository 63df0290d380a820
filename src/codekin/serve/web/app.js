/* The page: its questions, filters and keys, and what is shown for them. */

import { address, change, globs, onBack, state } from "./state.js";
import { ask, at, button, copy, count, make } from "./dom.js";
import { key, place } from "./code.js";
import * as results from "./results.js";
import * as map from "./map.js";
import * as source from "./source.js";

const TYPING = 90, PAUSE = 350, STEP = 10, MOST = 100, LOOK = 1000, MAP_REST = 10_000;
const MODES = { hybrid: "Meaning and words", semantic: "Meaning", lexical: "Words" };
const EXAMPLES = ["where are failed requests retried", "parse the command line", "read the configuration file", "write atomically to disk"];

let served = [];  // the repositories, as /v1/status tells them
let top = STEP;
let anyway = false;
let asking = null;
let mapped = { repository: null, at: -Infinity };
let typing = 0, again = 0;  // timers
let lit = [];  // the results, as the map lights them up

/* Results ------------------------------------------------------------------------------------------------------ */

/* The sides that are compared: for each its title, and what is asked for. */
function sides() {
  if (state.near) return [{}];
  const own = { mode: state.mode, rerank: Boolean(state.rerank) };
  const [mode, model, rerank] = state.beside.split("|");
  if (!state.beside) return [own];
  return [own, { mode, model: model || null, rerank: Boolean(rerank) }].map((side) => ({ ...side, title: titled(side) }));
}

const titled = ({ mode, model, rerank }) => [MODES[mode], model, rerank && "reranked"].filter(Boolean).join(", ");

function wanted(side) {
  const filters = { top, languages: state.lang ? [state.lang] : [], ...globs(state.path) };
  if (state.near) return ["/page/related", { repository: state.nearIn, path: state.near, line: Number(state.nearLine), ...filters }];
  return ["/page/search", { query: state.q, repositories: state.in ? [state.in] : [], mode: side.mode, model: side.model ?? null, rerank: side.rerank, anyway, ...filters }];
}

/* Asks for what the state says, and shows it. */
async function search() {
  asking?.abort();
  clearTimeout(again);
  const turn = asking = new AbortController();
  const asked = Boolean(state.near || state.q.trim());
  document.body.classList.toggle("asked", asked);
  if (narrow.matches && !mapChosen) showMap(!asked);
  at("landing").hidden = asked;
  at("answers").hidden = !asked;
  document.title = state.near ? `Related to ${state.near} · codekin` : state.q ? `${state.q} · codekin` : "codekin";
  if (!asked) {
    document.body.classList.remove("compared");
    at("columns").replaceChildren();
    at("answers").removeAttribute("aria-busy");
    map.light(lit = []);
    return;
  }
  at("answers").setAttribute("aria-busy", "true");
  const both = sides();
  try {
    const answers = await Promise.all(both.map((side) => ask(...wanted(side), turn.signal)));
    show(both, answers);
  } catch (error) {
    if (error.name === "AbortError") return;
    at("columns").replaceChildren();
    at("verdict").replaceChildren(make("span", { class: "wrong" }, error.message));
    map.light(lit = []);
  }
  at("answers").removeAttribute("aria-busy");
}

function show(both, answers) {
  const compared = answers.length > 1;
  document.body.classList.toggle("compared", compared);
  const act = { open, related, point: (which) => map.point(which) };
  at("columns").replaceChildren(...answers.map((answer, side) => results.column(both[side].title, answer, compared ? answers[1 - side] : null, act, served.length > 1)));
  const [first] = answers;
  verdict(first, answers);
  if (answers.some((answer) => answer.results.length >= top) && top < MOST) {
    at("columns").append(make("p", { class: "further" }, button("Show more", () => {
      top = Math.min(MOST, top + STEP);
      search();
    })));
  }
  light(answers);
  if (first.indexing.length) look();
  else if (answers.some((answer) => answer.indexing.length)) again = setTimeout(search, 2 * LOOK);
}

function verdict(answer, answers) {
  const words = at("verdict");
  if (state.near) {
    const back = button("Back to the question", () => {
      change({ near: "", nearIn: "", nearLine: "" }, true);
      settle();
    });
    const link = make("a", { href: address({ file: state.near, fileIn: state.nearIn, line: state.nearLine }) }, `${state.near}:${state.nearLine}`);
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      openAt(state.nearIn, state.near, state.nearLine);
    });
    words.replaceChildren("Related to ", link, " ", back);
  } else if (answers.every((each) => !each.results.length)) {
    words.replaceChildren(answer.answered || anyway ? "Nothing is found. " : "Nothing here answers that. ");
    if (!anyway && state.mode !== "lexical") {
      words.append(button("Show what is nearest", () => {
        anyway = true;
        search();
      }));
    }
  } else {
    const few = answers.length > 1 ? "" : `${count(answer.results.length, "result")} in ${Math.round(answer.elapsed_ms)} ms`;
    words.replaceChildren(answer.answered ? few : "Nothing here answers that; this is what is nearest.");
  }
  const notes = new Set(answers.flatMap((each) => [...each.left_out.map((one) => `${one.repository} is left out: ${one.problem}`), second(each.rerank)]));
  for (const note of notes) if (note) words.append(make("span", { class: "note" }, note));
}

/* What the second stage did, if there was one. */
function second(done) {
  if (!done?.candidates) return "";
  if (done.problem) return `Not reranked: ${done.problem}`;
  const some = done.scored < done.candidates ? `the best ${done.scored} of ${done.candidates}` : `the best ${done.scored}`;
  return `${done.model} has scored ${some} in ${Math.round(1000 * done.seconds)} ms`;
}

function light(answers) {
  lit = answers.flatMap((answer, side) => answer.results.map((result, rank) => ({ key: key(result), rank: rank + 1, side })));
  const found = new Set(answers.flatMap((answer) => answer.results.map((result) => result.repository)));
  const isFresh = map.light(lit);
  if (found.size && !found.has(mapped.repository)) drawMap([...found][0]);
  else if (!isFresh && performance.now() - mapped.at > MAP_REST) drawMap(mapped.repository);
}

function open(result, line) {
  openAt(result.repository, result.path, line);
}

function openAt(repository, path, line) {
  change({ file: path, fileIn: repository, line }, true);
  source.show();
}

function related(result) {
  change({ near: result.path, nearIn: result.repository, nearLine: result.start_line, file: "", fileIn: "", line: "" }, true);
  top = STEP;
  search().then(() => results.move(1));
  scrollTo(0, 0);
}

/* The state, shown: after the browser's back button, or at first. */
function settle() {
  at("query").value = state.q;
  at("path").value = state.path;
  for (const [name, value] of [["repository", state.in], ["language", state.lang], ["beside", state.beside]]) choose(at(name), value);
  at("rerank").checked = Boolean(state.rerank);
  for (const radio of document.querySelectorAll("#mode input")) radio.checked = radio.value === state.mode;
  search();
  source.show();
}

function choose(select, value) {
  if (value && ![...select.options].some((option) => option.value === value)) select.append(make("option", { value }, value));
  select.value = value;
}

/* What is served ------------------------------------------------------------------------------------------------ */

let looking = false;

/* Keeps an eye on the indexes as long as one is being made; what is shown follows. */
async function look() {
  if (looking) return;
  looking = true;
  try {
    for (let turn = 0; ; turn++) {
      served = (await ask("/v1/status")).repositories;
      tellServed();
      if (!served.some((one) => one.indexing)) {
        if (turn) search();
        break;
      }
      await new Promise((done) => setTimeout(done, LOOK));
    }
  } catch (error) {
    notice(error.message);
  }
  looking = false;
}

function notice(words) {
  at("notice").textContent = words;
  at("notice").hidden = !words;
}

function tellServed() {
  const problems = served.filter((one) => one.problem).map((one) => `${one.name}: ${one.problem}`);
  const making = served.filter((one) => one.indexing && !one.problem).map((one) => {
    const { files, files_total: all } = one.progress ?? {};
    return `Indexing ${one.name}${all ? `: ${files.toLocaleString("en")} of ${count(all, "file")}` : ""}…`;
  });
  notice([...problems, ...making].join(" "));
  const sum = (name) => served.reduce((total, one) => total + one[name], 0);
  at("served").textContent = served.length
    ? `${count(sum("chunks"), "piece")} of code in ${count(sum("files"), "file")} of ${served.length === 1 ? served[0].name : `${served.length} repositories`}.`
    : "No repository is served: start codekin serve with --repo PATH or --store URI.";
  const languages = new Map();
  for (const one of served) for (const [name, chunks] of Object.entries(one.languages)) languages.set(name, (languages.get(name) ?? 0) + chunks);
  const sorted = [...languages].sort((a, b) => b[1] - a[1]).map(([name]) => [name, name]);
  fill("repository", [["", "all repositories"], ...served.map((one) => [one.name, one.name])], state.in);
  fill("language", [["", "any"], ...sorted], state.lang);
  fill("map-repository", served.map((one) => [one.name, one.name]), mapped.repository ?? "");
  at("repository").closest("label").hidden = served.length < 2;
  at("map-repository-label").hidden = served.length < 2;
  const loaded = served.some((one) => one.chunks && !one.indexing);
  if (loaded && !mapped.repository) drawMap(state.in || served[0].name);
}

function fill(name, options, chosen) {
  const select = at(name);
  if (select.dataset.filled !== JSON.stringify(options)) {
    select.replaceChildren(...options.map(([value, label]) => make("option", { value }, label)));
    select.dataset.filled = JSON.stringify(options);
  }
  choose(select, chosen);
}

/* What an answer can stand beside: another way of ranking, the second stage, or one of the further models. */
function fillBeside({ beside, reranker }) {
  at("rerank-label").hidden = !reranker && !state.rerank;
  at("rerank-label").title = reranker ? `The best are scored again by ${reranker}` : "";
  const sides = [["", "nothing"]];
  const add = (side, mode) => sides.push([side, titled({ mode, model: side.split("|")[1], rerank: side.split("|")[2] }).replace(/^[MW]/, (letter) => letter.toLowerCase())]);
  for (const mode of Object.keys(MODES)) add(`${mode}|`, mode);
  if (reranker) for (const mode of Object.keys(MODES)) add(`${mode}||1`, mode);
  for (const model of beside) for (const mode of ["hybrid", "semantic"]) add(`${mode}|${model}`, mode);
  fill("beside", sides, state.beside);
}

/* The map -------------------------------------------------------------------------------------------------------- */

async function drawMap(repository) {
  if (at("map").hidden) return;
  mapped = { repository, at: performance.now() };
  choose(at("map-repository"), repository);
  const chunks = served.find((one) => one.name === repository)?.chunks ?? 0;
  at("map-message").textContent = `Drawing the map of ${count(chunks, "piece")} of code…`;
  try {
    const told = await ask(`/page/map?repository=${encodeURIComponent(repository)}`);
    if (mapped.repository !== repository) return;
    map.show(told, repository);
    map.light(lit);
    at("map-message").textContent = told.files.length ? "" : "Nothing is indexed yet.";
    const folders = new Set(told.files.flatMap((path) => path.split("/").slice(0, -1).map((_, depth, parts) => `${parts.slice(0, depth + 1).join("/")}/`)));
    at("folders").replaceChildren(...[...folders].sort().slice(0, 300).map((value) => make("option", { value })));
  } catch (error) {
    map.hide();
    at("map-message").textContent = error.message;
  }
}

/* Whether someone has said if there is to be a map; on a narrow screen it gives way to results otherwise. */
let mapChosen = false;
const narrow = matchMedia("(max-width: 60rem)");

function showMap(on) {
  if (on !== at("map").hidden) return;
  at("map").hidden = !on;
  document.body.classList.toggle("mapless", !on);
  at("map-switch").setAttribute("aria-pressed", String(on));
  if (on && served.length) drawMap(mapped.repository ?? (state.in || served[0].name));
}

function switchMap() {
  mapChosen = true;
  showMap(at("map").hidden);
}

/* Keys ----------------------------------------------------------------------------------------------------------- */

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  const inQuery = target === at("query");
  const writing = target.matches?.("input:not([type=radio]), select, textarea");
  if (inQuery && event.key === "ArrowDown") results.move(1);
  else if (event.key === "Escape" && !writing) at("query").focus();
  else if (writing || target === at("plane")) return;
  else if (!act(event.key, results.focused())) return;
  event.preventDefault();
}

/* Does what a key stands for; false where that is nothing. */
function act(pressed, item) {
  if (pressed === "/") {
    at("query").focus();
    at("query").select();
  } else if (pressed === "m") switchMap();
  else if (pressed === "?") at("keys").showModal();
  else if (pressed === "j" || (pressed === "ArrowDown" && item)) results.move(1);
  else if (pressed === "k" || (pressed === "ArrowUp" && item)) {
    if (!results.move(-1)) at("query").focus();
  } else if (!item) return false;
  else if (pressed === "ArrowRight" || pressed === "ArrowLeft") results.across(pressed === "ArrowRight" ? 1 : -1);
  else if (pressed === "r") related(item.result);
  else if (pressed === "x") item.querySelector(".more").click();
  else if (pressed === "c") copy(place(item.result));
  else return false;
  return true;
}

/* Start ---------------------------------------------------------------------------------------------------------- */

function changed(changes) {
  top = STEP;
  anyway = false;
  change(changes);
  search();
}

function soon(changes) {
  clearTimeout(typing);
  // A second stage takes its time: it is asked when the typing rests.
  typing = setTimeout(() => changed(changes()), state.rerank ? PAUSE : TYPING);
}

at("query").addEventListener("input", () => soon(() => ({ q: at("query").value, near: "", nearIn: "", nearLine: "" })));
at("path").addEventListener("input", () => soon(() => ({ path: at("path").value })));
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  changed({ q: at("query").value, near: "", nearIn: "", nearLine: "" });
});
at("repository").addEventListener("change", () => {
  changed({ in: at("repository").value });
  if (state.in) drawMap(state.in);
});
at("language").addEventListener("change", () => changed({ lang: at("language").value }));
at("rerank").addEventListener("change", () => changed({ rerank: at("rerank").checked ? 1 : "" }));
at("beside").addEventListener("change", () => changed({ beside: at("beside").value }));
at("mode").addEventListener("change", (event) => changed({ mode: event.target.value }));
at("map-switch").addEventListener("click", () => switchMap());
at("map-repository").addEventListener("change", () => drawMap(at("map-repository").value));
at("colour").addEventListener("change", () => map.colour(at("colour").value));
at("help").addEventListener("click", () => at("keys").showModal());
at("keys-close").addEventListener("click", () => at("keys").close());
at("examples").replaceChildren(...EXAMPLES.map((words) => make("li", {}, button(words, () => {
  at("query").value = words;
  changed({ q: words });
  at("query").focus();
}))));
addEventListener("keydown", press);
onBack(settle);
map.start({
  point: results.pointAt,
  open: (found) => openAt(found.repository, found.path, found.first),
});
fillBeside({ beside: [], reranker: null });
ask("/page/models").then(fillBeside, (error) => notice(error.message));
if (at("query").value) change({ q: at("query").value });  // typed before this ran
settle();
look();
