// pictures.js - pictures that a user gives: by choosing, dropping or pasting files. They stay as they are, byte by byte.
import {h, notice} from "./dom.js";

const kinds = /^image\/(png|jpeg|webp|bmp|x-ms-bmp)$/;
export const accepted = "image/png,image/jpeg,image/webp,image/bmp";

let megapixels = 50;
export function setMegapixels(most) { megapixels = most; }

function dataUrl(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

/* {name, file, url, data, width, height}; throws a sentence. */
export async function openPicture(file) {
  if (file.type && !kinds.test(file.type)) throw new Error(`${file.name} is no PNG, JPEG, WebP or BMP picture.`);
  const url = URL.createObjectURL(file), image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new Error(`${file.name} cannot be read as a picture.`);
  }
  if (image.naturalWidth * image.naturalHeight > megapixels * 1e6) {
    URL.revokeObjectURL(url);
    throw new Error(`${file.name} has ${image.naturalWidth} × ${image.naturalHeight} pixels, and the server takes ${megapixels} ` +
      "million: make it smaller, or start the server with --most-megapixels.");
  }
  return {name: file.name || "picture.png", file, url, data: await dataUrl(file), width: image.naturalWidth, height: image.naturalHeight};
}

/* Those of `files` that can be opened; of the others it is told why. */
export async function openAll(files) {
  const opened = [];
  for (const file of files) {
    try {
      opened.push(await openPicture(file));
    } catch (problem) {
      notice(problem.message, true);
    }
  }
  return opened;
}

export function closePicture(picture) {
  if (picture) URL.revokeObjectURL(picture.url);
}

/* Asks for files. */
export function choose(several, then) {
  const input = h("input", {type: "file", accept: accepted, multiple: several, onchange: () => then([...input.files])});
  input.hidden = true;
  document.body.append(input);
  input.addEventListener("cancel", () => input.remove());
  input.addEventListener("change", () => input.remove());
  input.click();
}

/* Files dropped onto an element. */
export function takesDrops(element, then) {
  let depth = 0;
  element.addEventListener("dragenter", (e) => {
    e.preventDefault();
    if (!element.classList.contains("over")) depth = 0;
    depth++;
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => { if (--depth <= 0) { depth = 0; element.classList.remove("over"); } });
  element.addEventListener("dragover", (e) => e.preventDefault());
  element.addEventListener("drop", (e) => {
    e.preventDefault();
    e.stopPropagation();
    const files = [...e.dataTransfer.files];
    if (files.length) then(files);
  });
}

/* Pictures in the clipboard, while `room` is shown. */
export function takesPastes(room, then) {
  const listen = (e) => {
    if (!room.isConnected) return document.removeEventListener("paste", listen);
    const files = [...(e.clipboardData?.files ?? [])].filter((file) => kinds.test(file.type));
    if (!files.length) return;
    e.preventDefault();
    then(files);
  };
  document.addEventListener("paste", listen);
}

/* Wherever a file falls, no place waits for it any more; and one that misses its place must not take the page's. */
document.addEventListener("drop", () => document.querySelectorAll(".over").forEach((place) => place.classList.remove("over")), true);
document.addEventListener("dragover", (e) => e.preventDefault());
document.addEventListener("drop", (e) => e.preventDefault());

/* Two names of one pair, as folders of pairs have them: NAME.jpg with NAME_target.png, NAME_out, NAME_mask, NAME_seg. */
const stem = (name) => name.replace(/\.[^.]*$/, "");
export function pairUp(pictures) {
  const of = /^(.*)[_-](target|output|out|mask|seg|label|gt)$/i;
  const pairs = [], left = [];
  const outputs = new Map();
  for (const p of pictures) {
    const found = of.exec(stem(p.name));
    if (found) outputs.set(found[1], p);
  }
  const used = new Set();
  for (const p of pictures) {
    const output = outputs.get(stem(p.name));
    if (output && output !== p) {
      pairs.push([p, output]);
      used.add(p).add(output);
    }
  }
  for (const p of pictures) if (!used.has(p)) left.push(p);
  return {pairs, left};
}
