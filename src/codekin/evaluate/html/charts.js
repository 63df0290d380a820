"use strict";

/* Charts as SVG, drawn to the width that their place has. Figures are from 0 to 1, shown in percent. */

const SVG = "http://www.w3.org/2000/svg";
const percent = (value, places = 2) => (value == null ? "–" : (100 * value).toFixed(places));
const series = (place) => `--series: var(--s${place % 8})`;

function draw(parent, name, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  parent.append(node);
  return node;
}

function canvas(host, height, label) {
  const width = Math.max(260, host.clientWidth);
  host.replaceChildren();
  const svg = draw(host, "svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  return { svg, width, height };
}

function nothing(host, why) {
  const words = document.createElement("p");
  words.textContent = why;
  host.replaceChildren(words);
}

function linear([low, high], [start, end]) {
  return (value) => start + ((value - low) / (high - low || 1)) * (end - start);
}

function logarithmic([low, high], range) {
  const along = linear([Math.log(low), Math.log(high)], range);
  return (value) => along(Math.log(value));
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let place = first; place * step <= high + step * 1e-9; place++) found.push(place * step);
  return found;
}

/* What figures span, with room around them. */
function span(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = Math.max(0.01, 0.14 * (high - low));
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

const placesFor = (low, high) => (high - low < 0.03 ? 1 : 0);

function upright(chart, box, domain, label) {
  const y = linear(domain, [box.bottom, box.top]);
  for (const value of ticks(...domain, 5)) {
    draw(chart.svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) });
    draw(chart.svg, "text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, percent(value, placesFor(...domain)));
  }
  draw(chart.svg, "text", { x: box.left - 34, y: box.top - 12 }, label);
  return y;
}

function across(chart, box, label) {
  draw(chart.svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
  draw(chart.svg, "text", { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" }, label);
}

function titled(parent, words, attributes = {}) {
  const group = draw(parent, "g", attributes);
  draw(group, "title", {}, words);
  return group;
}

function fit(text, words, width) {
  for (let kept = words.length; kept > 3 && text.getComputedTextLength() > width; ) {
    text.textContent = `${words.slice(0, --kept)}…`;
  }
}

function shortCount(number) {
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size) return `${Number((number / size).toPrecision(3))} ${unit}`;
  }
  return String(number);
}

/* Writes the names beside their marks where they cover neither a mark nor another name. */
function nameMarks(svg, marks, box) {
  const taken = marks.map(({ x, y }) => ({ left: x - 7, right: x + 7, top: y - 7, bottom: y + 7 }));
  const free = (area) => taken.every((other) =>
    area.right < other.left || area.left > other.right || area.bottom < other.top || area.top > other.bottom);
  for (const { x, y, label, kind } of marks) {
    const text = draw(svg, "text", { class: `name ${kind}` }, label);
    fit(text, label, 0.5 * box.outer);
    const width = text.getComputedTextLength();
    const places = [
      [x + 10, y + 4], [x - 10 - width, y + 4], [x - width / 2, y - 12], [x - width / 2, y + 20],
      [x + 8, y - 10], [x + 8, y + 18], [x - 8 - width, y - 10], [x - 8 - width, y + 18],
      [x + 8, y - 24], [x + 8, y + 32], [x - 8 - width, y - 24], [x - 8 - width, y + 32],
    ].map(([left, base]) => ({ left, right: left + width, top: base - 11, bottom: base + 3, base }));
    const inside = (area) => area.left >= box.left && area.right <= box.outer && area.top >= 0 && area.bottom <= box.bottom;
    const area = places.find((place) => inside(place) && free(place)) ?? places.find(inside) ?? places[0];
    taken.push(area);
    text.setAttribute("x", area.left);
    text.setAttribute("y", area.base);
  }
}

/* points: {name, short, parameters or null, value, series or null}; published ones have no series. */
function paretoChart(host, points) {
  const known = points.filter((point) => point.parameters);
  const others = points.filter((point) => !point.parameters);
  if (!known.length) return nothing(host, "The number of parameters is known of none of the models.");
  const chart = canvas(host, 340, "Quality against model size");
  const narrow = chart.width < 420;
  const called = (point) => (narrow && point.short) || point.name;
  const strip = others.length ? Math.min(chart.width * 0.4, 48 + 6.8 * Math.max(...others.map((point) => called(point).length), 8)) : 0;
  const box = { left: 44, right: chart.width - 12 - strip, outer: chart.width, top: 30, bottom: 290 };
  const y = upright(chart, box, span(points.map((point) => point.value)), "nDCG@10, %");
  const sizes = known.map((point) => point.parameters);
  const domain = [Math.min(...sizes) / 2.2, Math.max(...sizes) * 2.2];
  const x = logarithmic(domain, [box.left, box.right]);
  across(chart, box, "parameters");
  for (let power = Math.ceil(Math.log10(domain[0])); power <= Math.log10(domain[1]); power++) {
    draw(chart.svg, "text", { x: x(10 ** power), y: box.bottom + 18, "text-anchor": "middle" }, shortCount(10 ** power));
  }
  if (strip) {
    draw(chart.svg, "line", { class: "grid", x1: box.right + 12, x2: box.right + 12, y1: box.top, y2: box.bottom + 36 });
    draw(chart.svg, "text", { x: box.right + 20, y: box.bottom + 18 }, "none or");
    draw(chart.svg, "text", { x: box.right + 20, y: box.bottom + 36 }, "not known");
  }
  let best = -1, path = "";
  for (const point of [...known].sort((a, b) => a.parameters - b.parameters || b.value - a.value)) {
    if (point.value <= best) continue;
    path += path ? `H${x(point.parameters)}V${y(point.value)}` : `M${x(point.parameters)} ${y(point.value)}`;
    best = point.value;
  }
  draw(chart.svg, "path", { class: "front", d: `${path}H${box.right}` });
  const marks = points.map((point) => ({
    ...point,
    label: called(point),
    x: point.parameters ? x(point.parameters) : box.right + 26,
    y: y(point.value),
    kind: point.series === null ? "published" : "own",
  }));
  for (const mark of marks) {
    const size = mark.parameters ? `${shortCount(mark.parameters)} parameters` : "parameters none or not known";
    const group = titled(chart.svg, `${mark.name}: ${percent(mark.value)}, ${size}`);
    const look = mark.series === null ? { class: "ring published", r: 4.5 } : { class: "mark", r: 6.5, style: series(mark.series) };
    draw(group, "circle", { cx: mark.x, cy: mark.y, ...look });
  }
  nameMarks(chart.svg, [...marks].sort((a, b) => (a.series === null) - (b.series === null)), box);
}

/* lines: {name, series, points: [{size, value}]}, by growing size. */
function sizesChart(host, lines) {
  const chart = canvas(host, 340, "Quality against the size of the vectors");
  const longest = Math.max(...lines.map((line) => line.name.length));
  const margin = Math.min(chart.width * 0.34, 22 + longest * 6.8);
  const box = { left: 44, right: chart.width - margin, top: 30, bottom: 290 };
  const points = lines.flatMap((line) => line.points);
  const y = upright(chart, box, span(points.map((point) => point.value)), "nDCG@10, %");
  const sizes = [...new Set(points.map((point) => point.size))].sort((a, b) => a - b);
  const x = logarithmic([sizes[0] / 1.12, sizes.at(-1) * 1.12], [box.left, box.right]);
  across(chart, box, "dimensions");
  let free = -Infinity;
  for (const size of sizes) {
    if (x(size) - free < 34) continue;
    free = x(size);
    draw(chart.svg, "text", { x: x(size), y: box.bottom + 18, "text-anchor": "middle" }, String(size));
  }
  for (const line of lines) {
    const group = draw(chart.svg, "g", { style: series(line.series) });
    const path = line.points.map((point) => `${x(point.size)} ${y(point.value)}`).join("L");
    if (line.points.length > 1) draw(group, "path", { class: "line", d: `M${path}` });
    for (const point of line.points) {
      const mark = titled(group, `${line.name}, ${point.size} dimensions: ${percent(point.value)}`);
      draw(mark, "circle", { class: "mark", cx: x(point.size), cy: y(point.value), r: 5 });
    }
  }
  let last = -Infinity;
  const ends = lines.map((line) => ({ name: line.name, x: x(line.points.at(-1).size), y: y(line.points.at(-1).value) }));
  for (const end of ends.sort((a, b) => a.y - b.y)) {
    last = Math.max(end.y + 4, last + 15);
    const text = draw(chart.svg, "text", { class: "name", x: Math.min(end.x, box.right) + 10, y: last }, end.name);
    fit(text, end.name, chart.width - Math.min(end.x, box.right) - 10);
  }
}

/* rows: {name, precision, bytes, series, full, plain or null, rescored or null}. */
function precisionChart(host, rows) {
  const chart = canvas(host, 58 + 40 * rows.length, "Quality by precision of the vectors");
  const narrow = chart.width < 560;
  const box = { left: narrow ? 128 : 290, right: chart.width - 16, top: 12, bottom: 18 + 40 * rows.length };
  const domain = span(rows.flatMap((row) => [row.full, row.plain, row.rescored].filter((value) => value !== null)));
  const x = linear(domain, [box.left, box.right]);
  for (const value of ticks(...domain, narrow ? 4 : 7)) {
    draw(chart.svg, "line", { class: "grid", x1: x(value), x2: x(value), y1: box.top, y2: box.bottom });
    draw(chart.svg, "text", { x: x(value), y: box.bottom + 18, "text-anchor": "middle" }, percent(value, placesFor(...domain)));
  }
  draw(chart.svg, "text", { x: box.right, y: box.bottom + 36, "text-anchor": "end" }, "nDCG@10, %");
  rows.forEach((row, place) => {
    const y = box.top + 23 + 40 * place;
    const group = draw(chart.svg, "g", { style: series(row.series) });
    const what = `${row.precision}${row.bytes === null ? "" : `, ${row.bytes} bytes`}`;
    const name = draw(group, "text", { class: "name", x: 0, y: narrow ? y - 3 : y + 4 }, row.name);
    fit(name, row.name, narrow ? box.left - 10 : 160);
    draw(group, "text", { x: narrow ? 0 : 166, y: narrow ? y + 13 : y + 4 }, what);
    const found = [row.plain, row.rescored, row.full].filter((value) => value !== null);
    draw(group, "line", { class: "link", x1: x(Math.min(...found)), x2: x(Math.max(...found)), y1: y, y2: y });
    const tick = titled(group, `${row.name}, float32: ${percent(row.full)}`);
    draw(tick, "line", { class: "tick", x1: x(row.full), x2: x(row.full), y1: y - 11, y2: y + 11 });
    for (const [value, look, words] of [[row.rescored, "mark", ", rescored"], [row.plain, "ring", ""]]) {
      if (value === null) continue;
      const mark = titled(group, `${row.name}, ${what}${words}: ${percent(value)}`);
      draw(mark, "circle", { class: look, cx: x(value), cy: y, r: 5.5 });
    }
  });
}

/* bins: how many queries differ by how much, from -1 to 1. */
function differencesChart(host, bins, first, second) {
  const most = Math.max(...bins);
  if (!most) return nothing(host, "The two models do equally well on every query.");
  const chart = canvas(host, 176, `Queries by difference between ${first.name} and ${second.name}`);
  const box = { left: 44, right: chart.width - 4, top: 30, bottom: 132 };
  const y = linear([0, most], [box.bottom, box.top]);
  for (const value of ticks(0, most, 3).filter(Number.isInteger)) {
    draw(chart.svg, "line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) });
    draw(chart.svg, "text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, String(value));
  }
  draw(chart.svg, "text", { x: 10, y: box.top - 14 }, "queries");
  const width = (box.right - box.left) / bins.length;
  bins.forEach((count, place) => {
    if (!count) return;
    const better = place >= bins.length / 2;
    const low = -1 + (2 * place) / bins.length, high = low + 2 / bins.length;
    const words = `${count} with a difference of ${low.toFixed(1)} to ${high.toFixed(1)}`;
    const group = titled(chart.svg, words, { style: series((better ? first : second).series) });
    draw(group, "rect", { class: "bar", x: box.left + place * width + 1.5, y: y(count), width: width - 3, height: box.bottom - y(count), rx: 1.5 });
  });
  draw(chart.svg, "line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
  const middle = (box.left + box.right) / 2;
  for (const value of [-1, -0.5, 0, 0.5, 1]) {
    const anchor = value === 1 ? "end" : value === -1 ? "start" : "middle";
    draw(chart.svg, "text", { x: middle + (value * (box.right - box.left)) / 2, y: box.bottom + 17, "text-anchor": anchor }, value > 0 ? `+${value}` : String(value));
  }
  const half = (box.right - box.left) / 2 - 8;
  for (const [model, end, anchor, words] of [
    [second, box.left, "start", `← ${second.name} better`],
    [first, box.right, "end", `${first.name} better →`],
  ]) {
    const text = draw(chart.svg, "text", { class: "name", x: end, y: box.bottom + 38, "text-anchor": anchor, style: `${series(model.series)};fill:var(--series)` }, words);
    fit(text, words, half);
  }
}
