/* The page around the charts. Every text of the data enters the document as text, never as markup. */

const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const STEP = 25;

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/* A name that may break between its parts. */
const parted = (name) => name.split(/(?<=[-_/])|(?<=[a-z0-9])(?=[A-Z])/).flatMap((part) => [part, make("wbr")]).slice(0, -1);
const count = (number, noun, many = `${noun}s`) => `${number.toLocaleString("en")} ${number === 1 ? noun : many}`;
const signed = (gap, places = 2) => `${gap < 0 ? "−" : "+"}${Math.abs(100 * gap).toFixed(places)}`;
/* Of the randomisation test nothing smaller can come out. */
const probability = (p) => (p <= 0.0001 ? "p ≤ 0.0001" : `p = ${p}`);
const mean = (values) => (values.some((value) => value == null) ? null : values.reduce((sum, value) => sum + value, 0) / values.length);
const dot = (place) => make("span", { class: "dot", style: series(place), "aria-hidden": "true" });
const models = data.models.map((model, place) => ({ ...model, series: place }));

/* What the charts can show: the averages, then each benchmark. */
const sets = [
  ...data.averages.map((average) => ({ ...average, average: true })),
  ...data.benchmarks.map((benchmark, place) => ({ label: benchmark.name, members: [place], published: benchmark.published })),
];
const figureOf = (model, set) => mean(set.members.map((place) => data.benchmarks[place].figures[model]));

function choose(select, labels, chosen, change) {
  select.replaceChildren(...labels.map((label, value) => make("option", { value }, label)));
  select.value = String(chosen);
  select.addEventListener("change", change);
}

/* Head ------------------------------------------------------------------------------------------------------- */

function head() {
  const queries = data.benchmarks.reduce((sum, benchmark) => sum + benchmark.queries, 0);
  const documents = data.benchmarks.reduce((sum, benchmark) => sum + benchmark.documents, 0);
  at("title").textContent = models.length === 1 ? `How well ${models[0].name} finds code` : `How well ${models.length} models find code`;
  document.title = at("title").textContent;
  let words = `nDCG@10 on ${count(data.benchmarks.length, "set")}: ${count(queries, "query", "queries")} over ${count(documents, "document")}.`;
  const average = sets[0];
  const ranked = models.map((model) => [figureOf(model.series, average), model.name]).filter(([value]) => value !== null).sort((a, b) => b[0] - a[0]);
  if (ranked.length > 1) {
    const [[best, first], [next, second]] = ranked;
    const level = percent(best) === percent(next);
    words += level ? ` ${first} and ${second} are level with ${percent(best)}` : ` ${first} leads with ${percent(best)} against ${percent(next)} of ${second}`;
    words += ` (${average.label}).`;
  }
  at("lede").textContent = words;
  at("models").replaceChildren(...models.map((model) => {
    const facts = [
      model.parameters && `${shortCount(model.parameters)} parameters`,
      model.dimensions && `${model.dimensions} dimensions${model.precision === "float32" ? "" : ` in ${model.precision}`}`,
      `${model.seconds.toLocaleString("en")} s in all`,
    ].filter(Boolean);
    return make("li", {}, dot(model.series), make("strong", {}, model.name), make("small", {}, facts.join(" · ")));
  }));
}

/* The table -------------------------------------------------------------------------------------------------- */

const references = [
  ...models.map((model) => ({ label: model.name, model: model.series })),
  ...data.published.map((column, place) => ({ label: column.name, column: place })),
];

function referenceFigure(reference, set) {
  if (reference.column !== undefined) return set.published[reference.column];
  return figureOf(reference.model, set);
}

function pairOf(first, second, benchmark) {
  return data.pairs.find((pair) => pair.benchmark === benchmark
    && ((pair.first === first && pair.second === second) || (pair.first === second && pair.second === first)));
}

function ownCell(model, set, reference, best) {
  const value = figureOf(model, set);
  if (value === null) return make("td", { class: "own" }, "–");
  const theirs = reference && reference.model !== model ? referenceFigure(reference, set) : null;
  const cell = make("td", { class: value === best ? "own best" : "own" }, percent(value));
  const under = make("small");
  if (theirs !== null) {
    const gap = value - theirs;
    const strength = Math.min(26, 5 + 140 * Math.abs(gap)).toFixed(1);
    if (Math.abs(gap) >= 0.00005) cell.style = `--tint: var(--${gap > 0 ? "better" : "worse"}); --strength: ${strength}%`;
    const pair = !set.average && reference.model !== undefined ? pairOf(model, reference.model, set.members[0]) : null;
    under.append(make("span", { class: "gap" }, signed(gap), pair && pair.p < data.significant ? " †" : ""));
    if (pair) cell.title = probability(pair.p);
  }
  const interval = set.average ? [] : data.benchmarks[set.members[0]].intervals[model];
  if (interval.length) {
    under.append(`${theirs === null ? "" : " "}±${(50 * (interval[1] - interval[0])).toFixed(1)}`);
    cell.title = [cell.title, `95% interval ${percent(interval[0])} to ${percent(interval[1])}`].filter(Boolean).join("; ");
  }
  cell.append(under);
  return cell;
}

function tableRow(set, reference) {
  const best = models.length > 1 ? Math.max(...models.map((model) => figureOf(model.series, set) ?? -1)) : null;
  const benchmark = set.average ? null : data.benchmarks[set.members[0]];
  const about = benchmark && `${benchmark.task} · ${benchmark.queries.toLocaleString("en")}\u00a0/\u00a0${benchmark.documents.toLocaleString("en")}`;
  return make("tr", { class: set.average ? "average" : null },
    make("th", { scope: "row" }, ...parted(set.label), about && make("small", {}, about)),
    ...models.map((model) => ownCell(model.series, set, reference, best)),
    ...data.published.map((column, place) => make("td", { class: place ? "published" : "published edge" }, percent(set.published[place]))));
}

function table() {
  const reference = references[at("reference").value] ?? null;
  const chosen = (is) => (is ? " chosen" : "");
  const over = make("tr", { class: "over" }, make("td"),
    make("th", { colspan: models.length, scope: "colgroup" }, "measured here"),
    make("th", { colspan: data.published.length, scope: "colgroup", class: "edge" }, "published, arXiv 2508.21290"));
  const names = make("tr", {}, make("th", { scope: "col" }, make("span", { class: "hidden" }, "Benchmark")),
    ...models.map((model) => make("th", { scope: "col", class: `own${chosen(reference?.model === model.series)}` }, dot(model.series), "\u00a0", ...parted(model.name))),
    ...data.published.map((column, place) => make("th", { scope: "col", title: column.name, class: `published${place ? "" : " edge"}${chosen(reference?.column === place)}` }, column.short)));
  at("table").replaceChildren(
    make("thead", {}, data.published.length ? over : null, names),
    make("tbody", {}, ...sets.filter((set) => !set.average).map((set) => tableRow(set, reference))),
    make("tbody", {}, ...sets.filter((set) => set.average).map((set) => tableRow(set, reference))));
  const notes = ["nDCG@10 in percent, ± half the 95% bootstrap interval; under a set's name its task, queries / documents."];
  if (reference) notes.push(`Coloured: the difference to ${reference.label}${reference.model === undefined ? "" : `, † where p < ${data.significant} (paired test over the queries)`}.`);
  const named = data.published.filter((column) => column.short !== column.name).map((column) => `${column.short} ${column.name}`);
  if (named.length) notes.push(`${named.join(", ")}.`);
  at("table-notes").textContent = notes.join(" ");
}

/* The charts ------------------------------------------------------------------------------------------------- */

function figuresTable(host, headings, rows) {
  host.replaceChildren(make("table", { class: "figures" },
    make("thead", {}, make("tr", {}, ...headings.map((heading) => make("th", { scope: "col" }, heading)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell)))))));
}

/* Whether there is something to draw; without it the figure is not there. */
function worthShowing(id, is) {
  at(id).closest("figure").hidden = !is;
  return is;
}

function charts() {
  const set = sets[at("set").value];
  const formFigure = (form) => mean(set.members.map((place) => form.figures[place]));
  const points = [
    ...models.map((model) => ({ name: model.name, parameters: model.parameters, value: figureOf(model.series, set), series: model.series })),
    ...data.published.map((column, place) => ({ name: column.name, short: column.short, parameters: column.parameters, value: set.published[place], series: null })),
  ].filter((point) => point.value !== null);
  paretoChart(at("pareto"), points);
  figuresTable(at("pareto-table"), ["model", "parameters", "nDCG@10"],
    points.map((point) => [point.name, point.parameters?.toLocaleString("en") ?? "–", percent(point.value)]));

  const forms = data.forms.map((form) => ({ ...form, value: formFigure(form) })).filter((form) => form.value !== null);
  const lines = models.map((model) => ({
    name: model.name,
    series: model.series,
    points: forms.filter((form) => form.model === model.series && form.precision === "float32" && form.dimensions)
      .map((form) => ({ size: form.dimensions, value: form.value })).sort((a, b) => a.size - b.size),
  })).filter((line) => line.points.length);
  if (worthShowing("sizes", lines.some((line) => line.points.length > 1))) sizesChart(at("sizes"), lines);
  figuresTable(at("sizes-table"), ["model", "dimensions", "nDCG@10", "of the largest"], lines.flatMap((line) => line.points.map((point) =>
    [line.name, String(point.size), percent(point.value), `${percent(point.value / line.points.at(-1).value, 1)}%`])));

  const rows = models.flatMap((model) => ["int8", "binary"].flatMap((precision) => {
    const own = forms.filter((form) => form.model === model.series);
    const largest = Math.max(...own.map((form) => form.dimensions ?? Infinity));
    const of = (kind, rescored) => own.find((form) => form.precision === kind && form.rescored === rescored && (form.dimensions ?? Infinity) === largest);
    const plain = of(precision, false), rescored = of(precision, true), full = of("float32", false);
    if (!full || !(plain || rescored)) return [];
    return [{ name: model.name, precision, bytes: (plain ?? rescored).bytes, series: model.series, full: full.value, plain: plain?.value ?? null, rescored: rescored?.value ?? null }];
  }));
  if (worthShowing("precision", rows.length > 0)) precisionChart(at("precision"), rows);
  figuresTable(at("precision-table"), ["model", "precision", "bytes a vector", "nDCG@10", "rescored", "float32"],
    rows.map((row) => [row.name, row.precision, String(row.bytes ?? "–"), percent(row.plain), percent(row.rescored), percent(row.full)]));
}

/* Wins and losses -------------------------------------------------------------------------------------------- */

const view = { shown: STEP, key: "gap", descending: true };
const OUTCOMES = { all: "All", wins: "Wins", losses: "Losses", ties: "Ties" };

function chosenPair() {
  const [benchmark, first, second] = ["benchmark", "first", "second"].map((id) => Number(at(id).value));
  return { benchmark, first: models[first], second: models[second] };
}

function verdict() {
  const { benchmark, first, second } = chosenPair();
  const pair = pairOf(first.series, second.series, benchmark);
  const { figures } = data.benchmarks[benchmark];
  if (!pair) {
    at("verdict").textContent = first === second ? "Choose two models." : "One of the two was not measured on this set.";
    return at("differences").replaceChildren();
  }
  const turned = pair.first !== first.series;
  const [wins, losses] = turned ? [pair.losses, pair.wins] : [pair.wins, pair.losses];
  const chance = pair.p < data.significant ? `unlikely to be chance (${probability(pair.p)})` : `within what chance does (${probability(pair.p)})`;
  at("verdict").textContent = `${first.name} does better on ${count(wins, "query", "queries")}, worse on ${losses.toLocaleString("en")}, equally well on ${pair.ties.toLocaleString("en")}: `
    + `${signed(figures[first.series] - figures[second.series])} points of nDCG@10, ${chance}.`;
  differencesChart(at("differences"), turned ? [...pair.bins].reverse() : pair.bins, first, second);
}

function matching() {
  const { benchmark, first, second } = chosenPair();
  const { rows, documents } = data.queries[benchmark];
  const outcome = document.querySelector("#outcome input:checked").value;
  const wanted = at("filter").value.trim().toLowerCase();
  const found = rows.map((row) => ({
    row, one: row.figures[first.series], other: row.figures[second.series], gap: row.figures[first.series] - row.figures[second.series],
  })).filter(({ row, one, other, gap }) => {
    if (one === null || other === null || first === second) return false;
    if (outcome !== "all" && outcome !== (gap > 0 ? "wins" : gap < 0 ? "losses" : "ties")) return false;
    if (!wanted) return true;
    const places = [row.best[first.series]?.document, row.best[second.series]?.document, row.answer];
    return [row.text, row.id, ...places.map((place) => documents[place]?.text ?? "")].some((text) => text.toLowerCase().includes(wanted));
  });
  const value = { text: (item) => item.row.text, one: (item) => item.one, other: (item) => item.other, gap: (item) => item.gap }[view.key];
  const order = (a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0);
  return found.sort((a, b) => (view.descending ? order(b, a) : order(a, b)));
}

function wins() {
  const { benchmark, first, second } = chosenPair();
  const { total, rows, documents } = data.queries[benchmark];
  const found = matching();
  const kept = rows.length < total ? `the ${rows.length.toLocaleString("en")} of ${total.toLocaleString("en")} queries that the models differ most in are here` : "";
  at("count").textContent = `${count(found.length, "query", "queries")} shown${kept ? `; ${kept}` : ""}.`;
  const heading = (key, label, place = null) => make("th", { scope: "col", "aria-sort": view.key === key ? (view.descending ? "descending" : "ascending") : "none" },
    make("button", { type: "button", "data-key": key, title: label }, place === null ? null : dot(place), make("span", {}, label)));
  const focused = document.activeElement?.dataset?.key;
  const table = at("wins");
  table.tHead.replaceChildren(make("tr", {}, heading("text", "Query"), heading("one", first.name, first.series), heading("other", second.name, second.series), heading("gap", "Difference")));
  if (focused) table.tHead.querySelector(`[data-key="${focused}"]`).focus();
  table.tBodies[0].replaceChildren(...found.slice(0, view.shown).map((item) => {
    const side = item.gap > 0 ? first : second;
    const opener = make("button", { type: "button", "aria-expanded": "false" }, make("span", {}, item.row.text.trim().slice(0, 300) || "(no text)"));
    const row = make("tr", {}, make("td", {}, opener), make("td", {}, percent(item.one, 1)), make("td", {}, percent(item.other, 1)),
      make("td", { class: item.gap ? "gap" : null, style: item.gap ? series(side.series) : null }, item.gap ? signed(item.gap, 1) : "0"));
    opener.addEventListener("click", () => {
      const open = opener.getAttribute("aria-expanded") === "true";
      opener.setAttribute("aria-expanded", String(!open));
      if (open) row.nextElementSibling.remove();
      else row.after(make("tr", { class: "detail" }, make("td", { colspan: 4 }, detail(item.row, first, second, documents))));
    });
    return row;
  }));
  at("more").hidden = found.length <= view.shown;
}

function source(text) {
  return make("pre", { tabindex: "0" }, text.text || "(no text)", text.length ? make("em", {}, `\n… cut: ${text.length.toLocaleString("en")} characters in all`) : null);
}

function detail(row, first, second, documents) {
  const answer = (model) => {
    const best = row.best[model.series];
    const title = make("h3", {}, dot(model.series), ` ${model.name}`);
    if (!best) return make("div", {}, title, make("p", {}, "found nothing"));
    const facts = [`${documents[best.document].id}, score ${Number(best.score.toPrecision(4))}`];
    if (best.right === false) facts.push(best.rank ? `an answer is at rank ${best.rank}` : `no answer among the first ${best.depth}`);
    const judged = best.right === null ? null : make("span", { class: best.right ? "right" : "wrong" }, best.right ? "✓ answers · " : "✗ does not answer · ");
    return make("div", {}, title, make("p", {}, judged, facts.join(" · ")), source(documents[best.document]));
  };
  const missed = row.answer !== null && ![first, second].some((model) => row.best[model.series]?.right);
  return make("div", { class: "shown" }, make("p", {}, `query ${row.id}`), source(row), make("div", { class: "answers" }, answer(first), answer(second),
    missed ? make("div", {}, make("h3", {}, "An answer"), make("p", {}, documents[row.answer].id), source(documents[row.answer])) : null));
}

/* Wiring ----------------------------------------------------------------------------------------------------- */

function notes() {
  const words = [
    "nDCG@10: how high a model ranks the documents that answer, 100 where they all come first. A set's figure is the mean over its queries.",
    "An average is over the sets that every model here has, for the published columns too; where that is not all of a group, its name says of how many.",
    "Intervals are bootstrapped over the queries; p is of a paired test over the queries of one set. Neither says anything of sets that were not measured.",
  ];
  if (data.published.length) words.push("Published figures were measured by the authors of arXiv 2508.21290. Of models behind an API the size is not published.");
  const fewer = data.queries.some((queries) => queries.rows.length < queries.total);
  words.push(`Texts are cut at ${data.characters.toLocaleString("en")} characters${fewer ? ", and of large sets only the queries that the models differ most in are carried" : ""}; counts and tests are over all queries.`);
  at("notes").replaceChildren(...words.map((word) => make("li", {}, word)));
}

function start() {
  head();
  const reference = data.published.length ? models.length : 0;
  at("compare").hidden = references.length < 2;
  at("rings").hidden = !data.published.length;
  choose(at("reference"), references.map((one) => one.label), reference, table);
  if (references.length < 2) at("reference").replaceChildren();
  table();
  choose(at("set"), sets.map((set) => set.label), 0, charts);
  charts();
  notes();
  at("by-query").hidden = models.length < 2;
  if (models.length > 1) browse();
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (width === (width = document.documentElement.clientWidth)) return;
    charts();
    if (models.length > 1) verdict();
  });
}

function browse() {
  const again = () => { view.shown = STEP; wins(); };
  const both = () => { verdict(); again(); };
  choose(at("benchmark"), data.benchmarks.map((benchmark) => benchmark.name), 0, both);
  choose(at("first"), models.map((model) => model.name), 0, both);
  choose(at("second"), models.map((model) => model.name), 1, both);
  at("outcome").append(...Object.entries(OUTCOMES).map(([value, label]) =>
    make("label", {}, make("input", { type: "radio", name: "outcome", value, checked: value === "all" }), make("span", {}, label))));
  at("outcome").addEventListener("change", again);
  at("filter").addEventListener("input", again);
  at("more").addEventListener("click", () => { view.shown += STEP; wins(); });
  at("wins").tHead.addEventListener("click", ({ target }) => {
    const { key } = target.closest("button")?.dataset ?? {};
    if (!key) return;
    view.descending = view.key === key ? !view.descending : key !== "text";
    view.key = key;
    again();
  });
  both();
}

start();
