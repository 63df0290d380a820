/* Lines of code as the server tells them: pieces that are text, [kind, text], or [kind, text, 1] where marked. */

import { make } from "./dom.js";

function piece(told) {
  if (typeof told === "string") return document.createTextNode(told);
  const [kind, text, marked] = told;
  return make(marked ? "mark" : "span", { class: kind ? `k-${kind}` : null }, text);
}

/* Rows of `lines`, the first of which has the number `start`; `link` makes of a number what opens it. */
export function rows(lines, start, link) {
  return lines.map((line, place) => {
    const number = make("a", { class: "n", href: link(start + place), tabindex: "-1" }, String(start + place));
    return make("div", { class: "line", "data-line": start + place }, number, make("code", {}, ...line.map(piece), line.length ? null : "\n"));
  });
}

export function block(host, lines, start, link) {
  host.style.setProperty("--digits", String(start + lines.length - 1).length);
  host.replaceChildren(...rows(lines, start, link));
}

export const key = (result) => `${result.repository}\n${result.path}\n${result.start_line}`;
export const place = (result) => `${result.path}:${result.start_line}`;

/* A path, which may break after its folders, with what follows the file's name. */
export function named(path, tail = null) {
  const folders = path.split("/");
  const file = folders.pop();
  return [
    make("span", { class: "folder" }, ...folders.flatMap((folder) => [`${folder}/`, make("wbr")])),
    make("span", { class: "file" }, make("b", {}, file), tail && make("span", { class: "tail" }, tail)),
  ];
}
