/* The document, and the server's answers. Every text of theirs enters the document as text, never as markup. */

export const at = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export function button(label, press, attributes = {}) {
  const node = make("button", { type: "button", ...attributes }, label);
  node.addEventListener("click", press);
  return node;
}

/* What a server answers; an Error that says what is wrong otherwise. */
export async function ask(path, body, signal) {
  const options = body === undefined ? { signal } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
  };
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is codekin serve still running?");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error?.message ?? `The server answers ${response.status}.`);
  return answer;
}

/* Tells what happened to who listens to the page. */
export function say(words) {
  at("said").textContent = words;
}

export async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    say(`Copied ${words}`);
    return true;
  } catch {
    return false;
  }
}
