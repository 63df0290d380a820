/* Which dots of the map are of one colour: those of a folder, or of a language. */

const MOST = 7;
const REST = 7;  // the colour of all others
const LARGE = 0.1, UNCOLOURED = 0.3;  // shares of all dots

export function byLanguage(data) {
  return grouped(data, data.languages);
}

/* Folders of about like size: the largest one is opened as long as what has no colour then stays small. */
export function byFolder(data) {
  const weights = new Array(data.files.length).fill(0);
  for (const file of data.chunks.file) weights[file]++;
  const size = (folder) => folder.files.reduce((sum, file) => sum + weights[file], 0);
  const all = data.chunks.file.length;
  let folders = [{ path: "", files: [...data.files.keys()], size: all }];
  for (;;) {
    folders.sort((a, b) => b.size - a.size);
    const largest = folders.find((folder) => !folder.whole);
    if (!largest || largest.size < LARGE * all) break;
    const parts = opened(largest, data.files).map((part) => ({ ...part, size: size(part) }));
    const next = [...folders.filter((folder) => folder !== largest), ...parts].sort((a, b) => b.size - a.size);
    const uncoloured = next.slice(MOST).reduce((sum, folder) => sum + folder.size, 0);
    if (uncoloured > UNCOLOURED * all) largest.whole = true;
    else folders = next;
  }
  const names = data.files.map(() => "");
  for (const folder of folders) for (const file of folder.files) names[file] = folder.path || "./";
  return grouped(data, names);
}

/* A folder's own files, and the folders in it. */
function opened(folder, files) {
  const parts = new Map();
  for (const file of folder.files) {
    const end = files[file].indexOf("/", folder.path.length);
    const path = end < 0 ? folder.path : files[file].slice(0, end + 1);
    if (!parts.has(path)) parts.set(path, { path, files: [], whole: path === folder.path });
    parts.get(path).files.push(file);
  }
  return [...parts.values()];
}

/* The chunks by the name of their file's group, the largest first; what is more than there are colours is one. */
function grouped(data, names) {
  const chunks = new Map();
  data.chunks.file.forEach((file, chunk) => {
    if (!chunks.has(names[file])) chunks.set(names[file], []);
    chunks.get(names[file]).push(chunk);
  });
  const sorted = [...chunks].sort(([, a], [, b]) => b.length - a.length);
  const groups = sorted.slice(0, MOST).map(([name, own], place) => ({ name, chunks: own, colour: place }));
  const others = sorted.slice(MOST).flatMap(([, own]) => own);
  if (others.length) groups.push({ name: "others", chunks: others, colour: REST, rest: true });
  const groupOf = new Array(data.chunks.file.length);
  groups.forEach((group, number) => group.chunks.forEach((chunk) => { groupOf[chunk] = number; }));
  return { groups, groupOf };
}
