/* The map of a repository: a dot for each chunk of code, drawn on a canvas. */

import { file } from "./source.js";
import { block, named } from "./code.js";
import { at, button, count, make } from "./dom.js";
import { byFolder, byLanguage } from "./groups.js";

const canvas = at("plane"), tip = at("tip"), surface = canvas.getContext("2d");
const LEAST_ZOOM = 0.8, MOST_ZOOM = 60, NEAR = 12, TIP_LINES = 6, MARGIN = 18, STRETCH = 2;
const NAMED = 0.03;  // the share of the dots that a group has at least whose name is written

let data = null;  // what the server tells of a repository, and its name
let groups = [];  // {name, chunks, colour}
let groupOf = [];
let only = null;  // the group that is shown alone
let lit = [];  // {chunk, rank, side}
let pointed = null;  // a chunk
let view = { zoom: 1, x: 0.5, y: 0.5 };
let act = {};
let timer = 0;

export function start(actions) {
  act = actions;
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

export function show(told, repository) {
  if (data?.repository !== repository) view = { zoom: 1, x: 0.5, y: 0.5 };
  data = { ...told, repository, rows: new Map() };
  told.chunks.file.forEach((place, chunk) => data.rows.set(`${repository}\n${told.files[place]}\n${told.chunks.first[chunk]}`, chunk));
  lit = [];
  pointed = null;
  colour(at("colour").value);
  canvas.setAttribute("aria-label", `Map of ${repository}: ${count(groupOf.length, "piece")} of code in ${count(told.files.length, "file")}`);
}

export function hide() {
  data = null;
  groups = [];
  lit = [];
  at("legend").replaceChildren();
  draw();
}

/* Colours the dots by "folder" or "language". */
export function colour(by) {
  if (!data) return;
  only = null;
  ({ groups, groupOf } = by === "folder" ? byFolder(data) : byLanguage(data));
  at("legend").replaceChildren(...groups.map((group, place) => {
    const swatch = make("span", { class: "dot", "aria-hidden": "true" });
    swatch.style.setProperty("--series", `var(--s${group.colour})`);
    const press = button("", () => {
      only = only === place ? null : place;
      at("legend").querySelectorAll("button").forEach((each, other) => each.setAttribute("aria-pressed", String(only === other)));
      draw();
    }, { "aria-pressed": "false" });
    press.append(swatch, group.name, make("small", {}, group.chunks.length.toLocaleString("en")));
    return make("li", {}, press);
  }));
  draw();
}

/* Lights up results: {key, rank, side}, side 0 or 1. Says whether all of this repository are on the map. */
export function light(results) {
  if (!data) return true;
  const own = results.filter((result) => result.key.startsWith(`${data.repository}\n`));
  lit = own.map((result) => ({ ...result, chunk: data.rows.get(result.key) })).filter((result) => result.chunk !== undefined);
  draw();
  return lit.length === own.length;
}

export function point(key) {
  const chunk = key === null ? null : data?.rows.get(key) ?? null;
  if (chunk === pointed) return;
  pointed = chunk;
  draw();
}

/* How many results are lit: what a test, or a person who cannot see the canvas, can know of it. */
function tell() {
  canvas.dataset.lit = String(lit.length);
  canvas.dataset.zoom = view.zoom.toFixed(2);
}

/* The canvas, and how much of it the whole map takes, unzoomed. */
function frame() {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  const free = [width - 2 * MARGIN, height - 2 * MARGIN], least = Math.max(1, Math.min(...free));
  return { width, height, across: Math.min(STRETCH * least, free[0]), down: Math.min(STRETCH * least, free[1]) };
}

function place(chunk, { width, height, across, down } = frame()) {
  return [
    width / 2 + (data.chunks.x[chunk] / data.size - view.x) * across * view.zoom,
    height / 2 + (data.chunks.y[chunk] / data.size - view.y) * down * view.zoom,
  ];
}

function draw() {
  const whole = frame(), { width, height } = whole;
  tell();
  if (!width || !height) return;
  const sharp = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * sharp) || canvas.height !== Math.round(height * sharp)) {
    canvas.width = Math.round(width * sharp);
    canvas.height = Math.round(height * sharp);
  }
  surface.setTransform(sharp, 0, 0, sharp, 0, 0);
  surface.clearRect(0, 0, width, height);
  if (!data) return;
  const style = getComputedStyle(canvas);
  const ink = (name) => style.getPropertyValue(name).trim();
  const crowd = Math.sqrt(width * height / Math.max(1, groupOf.length));
  const radius = Math.min(5, Math.max(1.1, 0.13 * crowd) * Math.sqrt(Math.sqrt(view.zoom)));
  const faint = lit.length ? 0.36 : 0.8;
  groups.forEach((group, number) => {
    surface.globalAlpha = only === null ? faint : only === number ? 0.9 : 0.06;
    surface.fillStyle = ink(`--s${group.colour}`);
    surface.beginPath();
    for (const chunk of group.chunks) {
      const [x, y] = place(chunk, whole);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      surface.moveTo(x + radius, y);
      surface.arc(x, y, radius, 0, 7);
    }
    surface.fill();
  });
  surface.globalAlpha = 1;
  if (!lit.length) names(ink);
  for (const { chunk, rank, side } of [...lit].reverse()) mark(chunk, rank, ink(side ? "--other" : "--lit"), ink);
  if (pointed !== null && !lit.some(({ chunk }) => chunk === pointed)) ring(pointed, radius + 3, ink("--ink"));
}

function mark(chunk, rank, colour, ink) {
  const [x, y] = place(chunk);
  const large = chunk === pointed;
  surface.beginPath();
  surface.arc(x, y, large ? 12 : 8.5, 0, 7);
  surface.fillStyle = colour;
  surface.strokeStyle = ink("--paper");
  surface.lineWidth = 2;
  surface.fill();
  surface.stroke();
  surface.fillStyle = ink("--paper");
  surface.font = `600 ${large ? 13 : 10}px ${ink("--sans")}`;
  surface.textAlign = "center";
  surface.textBaseline = "middle";
  surface.fillText(String(rank), x, y + 0.5);
  if (large) ring(chunk, 14.5, colour);
}

function ring(chunk, radius, colour) {
  const [x, y] = place(chunk);
  surface.beginPath();
  surface.arc(x, y, radius, 0, 7);
  surface.strokeStyle = colour;
  surface.lineWidth = 1.6;
  surface.stroke();
}

/* The groups' names, each amid its dots, where they cover no other. */
function names(ink) {
  const taken = [];
  surface.font = `500 12px ${ink("--sans")}`;
  surface.textAlign = "center";
  surface.textBaseline = "middle";
  surface.lineJoin = "round";
  const whole = frame(), { width, height } = whole;
  groups.forEach((group, number) => {
    if (group.rest || group.chunks.length < NAMED * groupOf.length || (only !== null && only !== number)) return;
    const middle = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
    const places = group.chunks.map((chunk) => place(chunk, whole));
    const x = middle(places.map(([across]) => across)), y = middle(places.map(([, down]) => down));
    const half = surface.measureText(group.name).width / 2 + 4;
    if (x - half < 0 || x + half > width || y < 10 || y > height - 10) return;
    if (taken.some((other) => Math.abs(other.x - x) < other.half + half && Math.abs(other.y - y) < 17)) return;
    taken.push({ x, y, half });
    surface.strokeStyle = ink("--raised");
    surface.lineWidth = 4;
    surface.strokeText(group.name, x, y);
    surface.fillStyle = ink("--ink");
    surface.fillText(group.name, x, y);
  });
}

/* The chunk under a place of the canvas, or null; a lit one before others. */
function under(x, y) {
  if (!data) return null;
  const whole = frame();
  let best = null, least = NEAR * NEAR;
  const look = (chunk, favour) => {
    const [across, down] = place(chunk, whole);
    const distance = ((across - x) ** 2 + (down - y) ** 2) * favour;
    if (distance < least) [best, least] = [chunk, distance];
  };
  for (const { chunk } of lit) look(chunk, 0.3);
  for (let chunk = 0; chunk < groupOf.length; chunk++) if (only === null || groupOf[chunk] === only) look(chunk, 1);
  return best;
}

const about = (chunk) => ({
  repository: data.repository, path: data.files[data.chunks.file[chunk]],
  first: data.chunks.first[chunk], last: data.chunks.last[chunk], language: data.languages[data.chunks.file[chunk]],
});

function hover(chunk) {
  if (chunk === pointed) return;
  pointed = chunk;
  draw();
  canvas.classList.toggle("over", chunk !== null);
  clearTimeout(timer);
  const found = chunk === null ? null : about(chunk);
  act.point(found && `${found.repository}\n${found.path}\n${found.first}`);
  tip.hidden = chunk === null;
  if (!found) return;
  const code = make("div", { class: "code" });
  const rank = lit.find((result) => result.chunk === chunk)?.rank;
  tip.replaceChildren(make("p", {}, ...named(found.path, `:${found.first}–${found.last}`), make("small", {}, rank ? `result ${rank}` : found.language)), code);
  moveTip(chunk);
  timer = setTimeout(async () => {
    const told = await file(found.repository, found.path).catch(() => null);
    if (pointed !== chunk || !told) return;
    const lines = told.lines.slice(found.first - 1, Math.min(found.last, found.first + TIP_LINES - 1));
    while (lines.length && !lines.at(-1).length) lines.pop();
    block(code, lines, found.first, () => "#");
    moveTip(chunk);
  }, 120);
}

function moveTip(chunk) {
  const { width, height } = frame(), [x, y] = place(chunk);
  tip.style.left = `${Math.max(4, Math.min(x - tip.offsetWidth / 2, width - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y > height / 2 ? y - tip.offsetHeight - 16 : y + 16}px`;
}

/* Zooms by a factor, around a place of the canvas (its middle). */
function zoom(factor, at = null) {
  const { width, height, across, down } = frame();
  const [x, y] = at ?? [width / 2, height / 2];
  const next = Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, view.zoom * factor));
  const gained = 1 / view.zoom - 1 / next;
  view = { zoom: next, x: view.x + (x - width / 2) / across * gained, y: view.y + (y - height / 2) / down * gained };
  hover(null);
  draw();
}

function pan(x, y) {
  const { across, down } = frame();
  const kept = (value) => Math.min(1, Math.max(0, value));
  view = { ...view, x: kept(view.x - x / (across * view.zoom)), y: kept(view.y - y / (down * view.zoom)) };
  draw();
}

function reset() {
  view = { zoom: 1, x: 0.5, y: 0.5 };
  draw();
}

const held = new Map();  // pointers that are down
let moved = 0;

function inside(event) {
  const frame = canvas.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
}

canvas.addEventListener("pointerdown", (event) => {
  held.set(event.pointerId, inside(event));
  canvas.setPointerCapture(event.pointerId);
  moved = 0;
});
canvas.addEventListener("pointermove", (event) => {
  const [x, y] = inside(event);
  const before = held.get(event.pointerId);
  if (!before) {
    hover(under(x, y));
    return;
  }
  const others = [...held].filter(([pointer]) => pointer !== event.pointerId);
  if (others.length) {
    const [across, down] = others[0][1];
    zoom(Math.hypot(x - across, y - down) / Math.max(1, Math.hypot(before[0] - across, before[1] - down)), [(x + across) / 2, (y + down) / 2]);
  } else pan(x - before[0], y - before[1]);
  moved += Math.hypot(x - before[0], y - before[1]);
  held.set(event.pointerId, [x, y]);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    const [x, y] = inside(event);
    const was = held.delete(event.pointerId);
    if (name === "pointercancel" || !was || moved > 5) return;
    const chunk = under(x, y);
    if (chunk === null) return;
    // A finger has not hovered: its first touch shows what is there.
    if (event.pointerType === "touch" && chunk !== pointed) hover(chunk);
    else act.open(about(chunk));
  });
}
canvas.addEventListener("pointerleave", () => hover(null));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(2 ** (-event.deltaY / 300), inside(event));
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
  if (step) pan(...step);
  else if (event.key === "+" || event.key === "=") zoom(1.4);
  else if (event.key === "-") zoom(1 / 1.4);
  else if (event.key === "0") reset();
  else return;
  event.preventDefault();
  event.stopPropagation();
});
at("zoom-in").addEventListener("click", () => zoom(1.6));
at("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
at("zoom-reset").addEventListener("click", reset);
