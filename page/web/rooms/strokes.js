// strokes.js - the room Strokes: a few strokes of each class, and at once the class of every pixel; another stroke corrects it. Then
// the same is done to as many pictures as one likes.
import {blobOf, post} from "../lib/api.js";
import {download, h, plural, teller} from "../lib/dom.js";
import {choose, closePicture, openAll, takesDrops, takesPastes} from "../lib/pictures.js";

const palette = ["#3b6fd4", "#e0643a", "#2f9e6e", "#b455c8", "#e8b92e", "#d8435f", "#3fb0c4", "#8a9440"];
const bytesOf = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

export async function make() {
  const classes = [{name: "background", colour: palette[0]}, {name: "object", colour: palette[1]}];
  const sheets = []; // {picture, bitmap, labels: Uint8Array of class + 1, undo: [], id, answer: {labels, url}}
  let at = -1, chosen = 1, erasing = false, size = 12, smooth = 0, model = 0, running = false, again = false, spread = 0.45;
  let cursor = null, painting = null;

  const told = teller(), results = h("ol", {class: "hits", id: "applied"});
  const sheet = h("canvas", {id: "strokes-canvas", tabindex: "0", role: "img",
    "aria-label": "The picture. Draw on it; arrow keys move the brush, Enter paints, digits choose a class, E the eraser, Control Z takes back."});
  const stage = h("div", {class: "work", hidden: true}, sheet);
  const nothing = h("button", {type: "button", class: "tile", id: "strokes-open", onclick: () => choose(true, take)}, "Drop, paste or choose pictures");
  const strip = h("ul", {class: "queries"}), swatches = h("ul", {class: "swatches"});
  const eraser = h("button", {type: "button", id: "eraser", onclick: () => { erasing = !erasing; draw(); }}, "Eraser");
  const back = h("button", {type: "button", id: "undo", onclick: undo}, "Undo");
  const brush = h("input", {type: "range", min: "1", max: "80", value: String(size), "aria-label": "Width of the brush", oninput: () => { size = Number(brush.value); drawSheet(); }});
  const cover = h("input", {type: "range", min: "0", max: "100", value: "45", "aria-label": "How much of the classes is shown", oninput: () => { spread = cover.value / 100; drawSheet(); }});
  const soften = h("input", {type: "range", min: "0", max: "16", value: "0", "aria-label": "Smoothing", onchange: () => { smooth = Number(soften.value); learn(); }});
  const saveModel = h("button", {type: "button", id: "model", onclick: downloadModel}, "Download model");
  const saveMask = h("button", {type: "button", id: "strokes-mask", onclick: downloadMask}, "Download mask");
  const many = h("button", {type: "button", class: "main", id: "apply", onclick: () => choose(true, applyAll)}, "Apply to pictures …");

  /* ---- pictures ---- */

  async function take(files) {
    for (const picture of await openAll(files)) {
      const bitmap = await createImageBitmap(picture.file);
      sheets.push({picture, bitmap, labels: new Uint8Array(bitmap.width * bitmap.height), undo: [], id: 0, answer: null});
      if (at < 0) at = 0;
    }
    draw();
    if (model) learn();
  }

  const remove = (i) => {
    closePicture(sheets[i].picture);
    sheets.splice(i, 1);
    at = Math.min(at, sheets.length - 1);
    model = 0;
    draw();
    learn();
  };

  /* ---- the model ---- */

  /* PNG of the strokes: a class's colour is that class, black says nothing. */
  async function strokesOf(s) {
    const image = new ImageData(s.bitmap.width, s.bitmap.height), colours = classes.map((c) => bytesOf(c.colour));
    for (let i = 0; i < s.labels.length; i++) {
      const c = s.labels[i];
      image.data.set(c ? [...colours[c - 1], 255] : [0, 0, 0, 255], 4 * i);
    }
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({type: "image/png"})).arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  }

  const used = () => new Set(sheets.flatMap((s) => [...new Set(s.labels)].filter(Boolean)));
  const enough = () => used().size === classes.length;

  async function keep(s) {
    s.id = (await post("/v1/strokes/pictures", {picture: s.picture.data})).picture;
  }

  async function show(s, strokes) {
    const ask = async () => {
      if (!s.id) await keep(s);
      const body = {picture: s.id, smooth};
      if (model) body.model = model;
      else Object.assign(body, {classes: classes.map((c) => c.colour), ground: 0});
      if (strokes) body.strokes = await strokesOf(s);
      return post("/v1/strokes/masks", body);
    };
    let brought;
    try {
      brought = await ask();
    } catch (problem) {
      if (!/picture is no longer kept/.test(problem.message)) throw problem;
      s.id = 0;
      brought = await ask();
    }
    model = brought.model;
    const bitmap = await createImageBitmap(blobOf(brought.labels)), canvas = new OffscreenCanvas(bitmap.width, bitmap.height), pen = canvas.getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    const grey = pen.getImageData(0, 0, bitmap.width, bitmap.height), colours = classes.map((c) => bytesOf(c.colour));
    for (let i = 0; i < grey.data.length; i += 4) grey.data.set(grey.data[i] ? [...colours[grey.data[i]], 255] : [0, 0, 0, 0], i); // the background stays as it is
    pen.putImageData(grey, 0, 0);
    s.answer = canvas;
    return brought;
  }

  /* With all strokes from the beginning, where the server has no model of ours: the picture at hand comes last. */
  async function learnAll() {
    const mine = sheets[at], others = sheets.filter((s) => s !== mine && s.labels.some(Boolean));
    model = 0;
    if (!others.length) return show(mine, true);
    /* The first picture alone may lack a class: the server takes labels of several and says what is missing, which is passed over
       until the last. */
    let brought = null, problem = null;
    for (const s of [...others, mine]) {
      try {
        brought = await show(s, s.labels.some(Boolean));
        problem = null;
      } catch (e) { problem = e; }
    }
    if (problem) throw problem;
    return brought;
  }

  /* One request at a time; strokes that come meanwhile are in the next. */
  async function learn() {
    if (at < 0 || !enough()) return draw();
    if (running) { again = true; return; }
    running = true;
    do {
      again = false;
      const s = sheets[at], began = performance.now();
      try {
        let brought;
        try {
          brought = model ? await show(s, s.labels.some(Boolean)) : await learnAll();
        } catch (problem) {
          if (!/model is no longer kept/.test(problem.message)) throw problem;
          brought = await learnAll();
        }
        told.done(`${Math.round(performance.now() - began)} ms${brought.accuracy === undefined ? "" : ` · ${Math.round(brought.accuracy * 100)} % of the strokes are met`}`);
      } catch (problem) { told.problem(problem.message); }
      draw();
    } while (again);
    running = false;
  }

  /* ---- painting ---- */

  function stamp(x, y) {
    const s = sheets[at], value = erasing ? 0 : chosen + 1, r = size / 2, {width, height} = s.bitmap;
    for (let v = Math.max(0, Math.ceil(y - r)); v <= Math.min(height - 1, Math.floor(y + r)); v++)
      for (let u = Math.max(0, Math.ceil(x - r)); u <= Math.min(width - 1, Math.floor(x + r)); u++)
        if ((u - x) ** 2 + (v - y) ** 2 <= r * r) s.labels[v * width + u] = value;
  }

  function line([x0, y0], [x1, y1]) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, size / 4)));
    for (let i = 0; i <= steps; i++) stamp(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps);
  }

  function remember() {
    const s = sheets[at];
    s.undo.push(s.labels.slice());
    if (s.undo.length > 30) s.undo.shift();
  }

  function undo() {
    const s = sheets[at];
    if (!s?.undo.length) return;
    s.labels = s.undo.pop();
    draw();
    learn();
  }

  const where = (e) => {
    const r = sheet.getBoundingClientRect();
    return [(e.clientX - r.left) / r.width * sheet.width, (e.clientY - r.top) / r.height * sheet.height];
  };
  sheet.addEventListener("pointerdown", (e) => {
    if (e.button > 0) return;
    sheet.setPointerCapture(e.pointerId);
    remember();
    painting = where(e);
    stamp(...painting);
    drawSheet();
  });
  sheet.addEventListener("pointermove", (e) => {
    cursor = where(e);
    if (painting) {
      line(painting, cursor);
      painting = cursor;
    }
    drawSheet();
  });
  const lift = () => {
    if (!painting) return;
    painting = null;
    draw();
    learn();
  };
  sheet.addEventListener("pointerup", lift);
  sheet.addEventListener("pointercancel", lift);
  sheet.addEventListener("pointerleave", () => { if (!painting) { cursor = null; drawSheet(); } });
  sheet.addEventListener("keydown", (e) => {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}, step = Math.max(1, size / 2);
    cursor ??= [sheet.width / 2, sheet.height / 2];
    if (moves[e.key]) cursor = [Math.min(sheet.width - 1, Math.max(0, cursor[0] + step * moves[e.key][0])), Math.min(sheet.height - 1, Math.max(0, cursor[1] + step * moves[e.key][1]))];
    else if (e.key === "Enter" || e.key === " ") { remember(); stamp(...cursor); learn(); }
    else if (/^[1-9]$/.test(e.key) && classes[e.key - 1]) { chosen = e.key - 1; erasing = false; }
    else if (e.key === "e" || e.key === "E") erasing = !erasing;
    else if (e.key === "z" && (e.ctrlKey || e.metaKey)) undo();
    else return;
    e.preventDefault();
    draw();
  });

  /* ---- what is kept ---- */

  const stem = (s) => s.picture.name.replace(/\.[^.]*$/, "");
  async function downloadModel() {
    try {
      download("model.strokes", blobOf((await post("/v1/strokes/files", {model})).file, "application/octet-stream"));
    } catch (problem) { told.problem(problem.message); }
  }
  async function downloadMask() {
    const s = sheets[at];
    try {
      download(`${stem(s)}-classes.png`, blobOf((await post("/v1/strokes/apply", {model, picture: s.picture.data, smooth})).answer));
    } catch (problem) { told.problem(problem.message); }
  }

  async function applyAll(files) {
    const pictures = await openAll(files);
    for (const [i, picture] of pictures.entries()) {
      told.say(`Applying to ${picture.name}: ${i + 1} of ${pictures.length} …`);
      try {
        const blob = blobOf((await post("/v1/strokes/apply", {model, picture: picture.data, smooth})).answer), name = picture.name.replace(/\.[^.]*$/, "") + "-classes.png";
        results.append(h("li", {}, h("figure", {class: "hit"}, h("button", {type: "button", title: `Download ${name}`, onclick: () => download(name, blob)},
          h("img", {src: URL.createObjectURL(blob), alt: name})), h("figcaption", {}, h("span", {title: name}, name)))));
      } catch (problem) {
        told.problem(`${picture.name}: ${problem.message}`);
        return;
      } finally { closePicture(picture); }
    }
    told.done(`Applied to ${plural(pictures.length, "picture")}; click one to download it.`);
  }

  /* ---- drawing ---- */

  function drawSheet() {
    const s = sheets[at];
    if (!s) return;
    const {width, height} = s.bitmap, pen = sheet.getContext("2d");
    if (sheet.width !== width || sheet.height !== height) [sheet.width, sheet.height] = [width, height];
    pen.drawImage(s.bitmap, 0, 0);
    if (s.answer) {
      pen.globalAlpha = spread;
      pen.drawImage(s.answer, 0, 0);
      pen.globalAlpha = 1;
    }
    if (s.drawn !== s.labels || painting || s.stale) {
      const image = new ImageData(width, height), colours = classes.map((c) => bytesOf(c.colour));
      for (let i = 0; i < s.labels.length; i++) if (s.labels[i]) image.data.set([...colours[s.labels[i] - 1], 255], 4 * i);
      s.layer ??= new OffscreenCanvas(width, height);
      s.layer.getContext("2d").putImageData(image, 0, 0);
      s.drawn = s.labels;
      s.stale = false;
    }
    pen.drawImage(s.layer, 0, 0);
    if (cursor) {
      pen.beginPath();
      pen.arc(cursor[0], cursor[1], size / 2, 0, 7);
      pen.lineWidth = Math.max(1, width / 600);
      pen.strokeStyle = erasing ? "#fff" : classes[chosen].colour;
      pen.stroke();
    }
  }

  function drawClasses() {
    swatches.replaceChildren(...classes.map((c, i) => h("li", {}, h("button", {type: "button", "aria-pressed": String(i === chosen && !erasing), "data-class": String(i),
      onclick: () => { chosen = i; erasing = false; draw(); }}, swatch(c.colour), c.name))),
    h("li", {}, h("button", {type: "button", class: "quiet", disabled: classes.length >= palette.length, onclick: () => {
      classes.push({name: `class ${classes.length + 1}`, colour: palette[classes.length]});
      chosen = classes.length - 1;
      erasing = false;
      model = 0;
      draw();
    }}, "Add a class")));
  }

  function swatch(colour) {
    const mark = h("span", {class: "swatch"});
    mark.style.setProperty("--colour", colour);
    return mark;
  }

  function draw() {
    const s = sheets[at], missing = classes.filter((c, i) => !used().has(i + 1)).map((c) => c.name);
    stage.hidden = !s;
    nothing.hidden = Boolean(s);
    if (s) {
      s.stale = true;
      stage.style.setProperty("--ratio", s.bitmap.width / s.bitmap.height);
    }
    eraser.setAttribute("aria-pressed", String(erasing));
    back.disabled = !s?.undo.length;
    saveModel.disabled = saveMask.disabled = many.disabled = !model;
    drawClasses();
    strip.replaceChildren(...(sheets.length < 2 ? [] : sheets.map((other, i) => {
      const tile = h("button", {type: "button", class: "tile full", "aria-label": other.picture.name, onclick: () => { at = i; draw(); learn(); }}, h("img", {src: other.picture.url, alt: ""}));
      if (i === at) tile.setAttribute("aria-current", "true");
      return h("li", {}, tile, h("button", {type: "button", class: "remove quiet", "aria-label": `Remove ${other.picture.name}`, onclick: () => remove(i)}, "×"));
    })));
    if (s && missing.length && !running) told.done(`Paint a few strokes of ${missing.join(" and of ")}.`);
    drawSheet();
  }

  const place = h("div", {class: "column"}, h("section", {class: "panel", "aria-label": "Strokes"},
    h("header", {}, h("h2", {}, "Strokes"), h("span", {class: "soft"}, "a few of each class; the rest is learned from them")),
    swatches,
    h("div", {class: "row"}, eraser, back, h("label", {class: "row grow"}, h("span", {class: "soft"}, "Brush"), brush),
      h("label", {class: "row grow"}, h("span", {class: "soft"}, "Classes shown"), cover), h("label", {class: "row grow"}, h("span", {class: "soft"}, "Smoothing"), soften)),
    nothing, stage, told.place, strip,
    h("div", {class: "row"}, many, saveModel, saveMask, h("button", {type: "button", class: "quiet", onclick: () => choose(true, take)}, "More pictures"))), results);
  takesDrops(place, take);
  takesPastes(place, take);
  draw();
  return place;
}
