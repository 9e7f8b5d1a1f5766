// app.js - asks the server what it serves, and shows the room that the address names: #/example, #/strokes, #/segment, #/find.
import {get, setMostBytes, takeToken} from "./lib/api.js";
import {h} from "./lib/dom.js";
import {setMegapixels} from "./lib/pictures.js";

const rooms = {example: "Example", strokes: "Strokes", segment: "Segment", find: "Find"};
const place = document.getElementById("room"), nav = document.getElementById("rooms");
const made = new Map();
let about;

function themes() {
  const key = "tessera-theme", root = document.documentElement;
  const show = (theme) => theme ? root.setAttribute("data-theme", theme) : root.removeAttribute("data-theme");
  show(localStorage.getItem(key));
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    localStorage.setItem(key, dark ? "light" : "dark");
    show(dark ? "light" : "dark");
  });
}

/* A room is made when it is first shown, and stays as it was left. */
async function show() {
  const wanted = location.hash.slice(2), name = about.rooms[wanted] ? wanted : "example";
  for (const link of nav.children) {
    if (link.dataset.room === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${rooms[name]} · Tessera`;
  if (!made.has(name)) {
    const room = await import(`./rooms/${name}.js`);
    made.set(name, await room.make(about));
  }
  place.replaceChildren(made.get(name));
}

async function begin() {
  themes();
  takeToken();
  try {
    about = await get("/v1/about");
  } catch (problem) {
    place.replaceChildren(h("p", {class: "problem"}, problem.message));
    return;
  }
  setMostBytes(about.limits.megabytes * 1048576);
  setMegapixels(about.limits.megapixels);
  document.getElementById("device").textContent = about.device;
  document.getElementById("device").title = `Tessera ${about.version} on ${about.device}`;
  for (const name of Object.keys(rooms))
    if (about.rooms[name]) nav.append(h("a", {href: `#/${name}`, "data-room": name}, rooms[name]));
  nav.hidden = nav.children.length < 2;
  addEventListener("hashchange", show);
  await show();
}

begin();
