// segment.js - the room Segment: a picture is encoded once; then each click, box or look for everything gives masks, and a mask
// gives a cut-out.
import {blobOf, follow, post} from "../lib/api.js";
import {download, h, plural, teller} from "../lib/dom.js";
import {choose, closePicture, openAll, takesDrops, takesPastes} from "../lib/pictures.js";
import {colours, overlayOf} from "../lib/rle.js";

export async function make(about) {
  let picture = null, id = 0, bitmap = null, work = null, asked = 0;
  let points = [], box = null, dragged = null, masks = [], chosen = 0, everything = false, mode = "inside";

  const told = teller(), sheet = h("canvas", {id: "segment-canvas", tabindex: "0", role: "img",
    "aria-label": "The picture. Arrow keys move the cross, Enter clicks."});
  const stage = h("div", {class: "work", hidden: true}, sheet);
  const nothing = h("button", {type: "button", class: "tile", id: "segment-open", onclick: () => choose(false, take)}, "Drop, paste or choose a picture");
  const list = h("ul", {class: "masks"}), facts = h("p", {class: "soft"});
  const bar = h("progress", {max: 1, value: 0, hidden: true, "aria-label": "How much is done"});
  const modes = {inside: "Add", outside: "Leave out", box: "Box"};
  const modeButtons = Object.entries(modes).map(([name, text]) => h("button", {type: "button", "data-mode": name, onclick: () => { mode = name; draw(); }}, text));
  const all = h("button", {type: "button", id: "everything", onclick: () => work ? work.abort() : findAll()}, "Everything");
  const clear = h("button", {type: "button", onclick: () => { forget(); draw(); }}, "Start over");
  const undo = h("button", {type: "button", onclick: () => { points.pop(); points.length || box ? askMasks() : forget(); draw(); }}, "Undo");
  const cut = h("button", {type: "button", class: "main", id: "cutout", onclick: () => save("cutout")}, "Cut out");
  const mask = h("button", {type: "button", id: "mask", onclick: () => save("mask")}, "Mask");
  let cross = null; // of the keyboard

  function forget() { points = []; box = null; dragged = null; masks = []; chosen = 0; everything = false; }

  async function take(files) {
    const [opened] = await openAll(files.slice(0, 1));
    if (!opened) return;
    closePicture(picture);
    picture = opened;
    bitmap = await createImageBitmap(picture.file);
    stage.style.setProperty("--ratio", bitmap.width / bitmap.height);
    id = 0;
    cross = null;
    forget();
    draw();
    try {
      await encode();
    } catch (problem) { told.problem(problem.message); }
  }

  async function encode() {
    told.say("The picture is being encoded: once, then each click is quick …");
    const mine = picture, brought = await post("/v1/segment/pictures", {picture: mine.data});
    if (mine !== picture) return;
    id = brought.picture;
    told.done(`Encoded in ${(brought.ms / 1000).toFixed(1)} s. Click what you want.`);
    draw();
  }

  /* Where the server has given the picture up, it gets it again. */
  async function withPicture(ask) {
    if (!id) await encode();
    try {
      return await ask();
    } catch (problem) {
      if (!/no longer kept/.test(problem.message)) throw problem;
      await encode();
      return ask();
    }
  }

  async function askMasks() {
    const number = ++asked;
    everything = false;
    try {
      const brought = await withPicture(() => post("/v1/segment/masks", {picture: id, points, boxes: box ? [box] : [], multimask: points.length + (box ? 1 : 0) === 1 && !box}));
      if (number !== asked) return;
      masks = brought.masks;
      chosen = 0;
      told.done(`${brought.ms.toFixed(0)} ms`);
    } catch (problem) {
      if (number === asked) told.problem(problem.message);
    }
    draw();
  }

  async function findAll() {
    forget();
    draw();
    work = new AbortController();
    all.textContent = "Stop";
    bar.hidden = false;
    bar.value = 0;
    told.say("Looking for everything …");
    try {
      const brought = await withPicture(() => follow("/v1/segment/masks", {picture: id, everything: true}, {
        progress({done, all: count}) { bar.value = done / count; },
      }, work.signal));
      masks = brought.masks;
      everything = true;
      chosen = -1;
      told.done(masks.length ? `${plural(masks.length, "thing")} found; click one to choose it.` : "Nothing was found.");
    } catch (problem) {
      if (problem.name === "AbortError") told.done("Stopped.");
      else told.problem(problem.message);
    }
    work = null;
    all.textContent = "Everything";
    bar.hidden = true;
    draw();
  }

  async function save(what) {
    try {
      const {size, counts} = masks[chosen];
      const brought = await withPicture(() => post("/v1/segment/cutouts", {picture: id, mask: {size, counts}}));
      download(`${picture.name.replace(/\.[^.]*$/, "")}-${what}.png`, blobOf(brought[what]));
    } catch (problem) { told.problem(problem.message); }
  }

  /* ---- drawing ---- */

  function drawSheet() {
    if (!bitmap) return;
    const pen = sheet.getContext("2d");
    if (sheet.width !== bitmap.width || sheet.height !== bitmap.height) [sheet.width, sheet.height] = [bitmap.width, bitmap.height];
    pen.drawImage(bitmap, 0, 0);
    masks.forEach((m, i) => {
      if (everything ? chosen >= 0 && i !== chosen : i !== chosen) return;
      const layer = new OffscreenCanvas(bitmap.width, bitmap.height);
      m.image ??= overlayOf(m, colours[everything ? i % colours.length : 0]);
      layer.getContext("2d").putImageData(m.image, 0, 0);
      pen.drawImage(layer, 0, 0);
    });
    const unit = Math.max(bitmap.width, bitmap.height) / 160;
    const edge = dragged ?? box;
    if (edge) {
      pen.lineWidth = unit / 2;
      pen.strokeStyle = "#fff";
      pen.strokeRect(edge[0], edge[1], edge[2] - edge[0], edge[3] - edge[1]);
    }
    for (const [x, y, inside] of points) {
      pen.beginPath();
      pen.arc(x, y, unit, 0, 7);
      pen.fillStyle = inside ? "#2f9e6e" : "#d0402b";
      pen.fill();
      pen.lineWidth = unit / 3;
      pen.strokeStyle = "#fff";
      pen.stroke();
    }
    if (cross && document.activeElement === sheet) {
      pen.lineWidth = unit / 3;
      pen.strokeStyle = "#fff";
      pen.strokeRect(cross[0] - 2 * unit, cross[1], 4 * unit, 0.1);
      pen.strokeRect(cross[0], cross[1] - 2 * unit, 0.1, 4 * unit);
    }
  }

  function draw() {
    stage.hidden = !picture;
    nothing.hidden = Boolean(picture);
    for (const button of modeButtons) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    const some = chosen >= 0 && masks.length > 0;
    cut.disabled = mask.disabled = !some;
    undo.disabled = !points.length;
    clear.disabled = !points.length && !box && !masks.length;
    all.disabled = !picture;
    list.replaceChildren(...(everything || masks.length < 2 ? [] : masks.map((m, i) => h("li", {}, h("button", {type: "button",
      "aria-pressed": String(i === chosen), onclick: () => { chosen = i; draw(); }}, `Mask ${i + 1} · ${Math.round(m.score * 100)} %`)))));
    facts.textContent = some ? `${masks[chosen].area.toLocaleString()} pixels` : "";
    drawSheet();
  }

  /* ---- pointing ---- */

  const at = (e) => {
    const r = sheet.getBoundingClientRect();
    const fit = (v, most) => Math.min(most - 1, Math.max(0, Math.floor(v)));
    return [fit((e.clientX - r.left) / r.width * sheet.width, sheet.width), fit((e.clientY - r.top) / r.height * sheet.height, sheet.height)];
  };

  function inside(m, x, y) {
    const [height, width] = m.size;
    m.image ??= overlayOf(m, colours[masks.indexOf(m) % colours.length]);
    return x < width && y < height && m.image.data[4 * (y * width + x) + 3] > 0;
  }

  function click([x, y], out) {
    if (everything) { // the smallest thing there
      const there = masks.map((m, i) => [m, i]).filter(([m]) => inside(m, x, y)).sort((a, b) => a[0].area - b[0].area);
      chosen = there.length ? there[0][1] : -1;
      draw();
      return;
    }
    points.push([x, y, out ? 0 : 1]);
    draw();
    askMasks();
  }

  sheet.addEventListener("pointerdown", (e) => {
    if (mode !== "box") return;
    sheet.setPointerCapture(e.pointerId);
    dragged = [...at(e), ...at(e)];
  });
  sheet.addEventListener("pointermove", (e) => {
    if (!dragged) return;
    [dragged[2], dragged[3]] = at(e);
    drawSheet();
  });
  sheet.addEventListener("pointerup", (e) => {
    if (!dragged) return click(at(e), mode === "outside" || e.shiftKey || e.button === 2);
    const [a, b, c, d] = dragged;
    dragged = null;
    if (Math.abs(a - c) < 2 || Math.abs(b - d) < 2) return draw();
    box = [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
    points = [];
    askMasks();
  });
  sheet.addEventListener("contextmenu", (e) => e.preventDefault());
  sheet.addEventListener("keydown", (e) => {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    cross ??= [Math.floor(sheet.width / 2), Math.floor(sheet.height / 2)];
    if (moves[e.key]) {
      const step = Math.max(1, Math.round(sheet.width / (e.shiftKey ? 500 : 60)));
      cross = [Math.min(sheet.width - 1, Math.max(0, cross[0] + step * moves[e.key][0])), Math.min(sheet.height - 1, Math.max(0, cross[1] + step * moves[e.key][1]))];
      drawSheet();
    } else if (e.key === "Enter" || e.key === " ") click(cross, mode === "outside");
    else return;
    e.preventDefault();
  });
  sheet.addEventListener("blur", drawSheet);
  sheet.addEventListener("focus", drawSheet);

  const place = h("div", {class: "column"}, h("section", {class: "panel", "aria-label": "Segment"},
    h("header", {}, h("h2", {}, "Segment"), h("span", {class: "soft"}, `with ${about.rooms.segment.title}`)),
    h("div", {class: "row"}, h("div", {class: "row", role: "group", "aria-label": "What a click does"}, modeButtons), all, undo, clear,
      h("button", {type: "button", class: "quiet", onclick: () => choose(false, take)}, "Another picture")),
    nothing, stage, told.place, bar, list, h("div", {class: "row"}, cut, mask, facts)));
  takesDrops(place, take);
  takesPastes(place, take);
  draw();
  return place;
}
