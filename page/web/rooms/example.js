// example.js - the room Example: pairs and queries are given, the canvas is seen as it is laid, and each query's answer grows
// beside it.
import {blobOf, follow, get, post} from "../lib/api.js";
import {compare} from "../lib/compare.js";
import {copy, download, h, notice, plural, teller} from "../lib/dom.js";
import {choose, closePicture, openAll, pairUp, takesDrops, takesPastes} from "../lib/pictures.js";
import {optionsOf, quoted, settingsOf} from "../lib/settings.js";

export async function make(about) {
  const room = about.rooms.example;
  const pairs = [[null, null]]; // [input, output], the last may be unfinished
  const queries = []; // {picture, answer, early, state, report, canvas}
  let shown = -1, work = null, layTimer = 0, layNumber = 0, lastCanvas = null;

  const pairList = h("ol", {class: "pairs"}), queryList = h("ul", {class: "queries"});
  const settings = settingsOf((await get("/v1/settings")).settings, () => { changed(); });
  const slider = compare(["query", "answer"]), told = teller(), laid = teller();
  const canvas = h("canvas", {class: "canvas", width: "224", height: "224", role: "img", "aria-label": "The canvas as it is laid"});
  const canvasPanel = h("section", {class: "panel", id: "canvas-panel"}, h("header", {}, h("h2", {}, "Canvas"),
    h("span", {class: "soft"}, "what the model sees; it paints the empty cell")), canvas, laid.place);
  const run = h("button", {type: "button", class: "main", id: "run", onclick: () => work ? stop() : answerAll()}, "Answer");
  const save = h("button", {type: "button", id: "download", disabled: true, onclick: () => saveOne(shown)}, "Download");
  const saveEvery = h("button", {type: "button", hidden: true, onclick: () => queries.forEach((q, i) => q.answer && saveOne(i))}, "Download all");
  const command = h("code", {id: "command", tabindex: "0"});
  const facts = h("p", {class: "soft"}), notes = h("div", {class: "column"});
  const nothing = h("p", {class: "empty"}, "Give an example pair and a query; the answer grows here.");
  const seen = h("div", {class: "column"}, slider.place, told.place, notes, h("div", {class: "row"}, save, saveEvery, facts));

  const ready = () => pairs.filter(([a, b]) => a && b);
  const complete = () => ready().length > 0 && queries.length > 0;

  /* ---- pictures ---- */

  function tile(picture, label, ask, extra = []) {
    const content = picture ? h("img", {src: picture.url, alt: picture.name}) : label;
    return h("button", {type: "button", class: picture ? "tile full" : "tile", title: picture ? picture.name : "", onclick: ask}, content, extra);
  }

  function setPair(at, side, picture) {
    closePicture(pairs[at][side]);
    pairs[at][side] = picture;
    changed(true);
  }

  /* Pairs by their names; else in the order given: input, output, input, output. */
  function addPairs(pictures) {
    const {pairs: found, left} = pairUp(pictures);
    const take = (picture) => {
      for (const pair of pairs)
        for (const side of [0, 1])
          if (!pair[side]) { pair[side] = picture; return; }
      pairs.push([picture, null]);
    };
    for (const pair of found) {
      const free = pairs.find(([a, b]) => !a && !b);
      if (free) [free[0], free[1]] = pair;
      else pairs.push([...pair]);
    }
    left.forEach(take);
    changed(true);
  }

  function addQueries(pictures) {
    for (const picture of pictures) queries.push({picture, state: "new"});
    if (pictures.length && shown < 0) shown = 0;
    changed(true);
  }

  /* What was dropped or pasted beside the places: first the pair, then queries. */
  function addAnywhere(pictures) {
    const {pairs: found, left} = pairUp(pictures);
    found.forEach((pair) => addPairs(pair));
    const missing = pairs.flat().filter((p) => !p).length;
    const open = pairs.length === 1 || found.length === 0 ? missing : 0;
    addPairs(left.slice(0, open));
    addQueries(left.slice(open));
  }

  function removeQuery(at) {
    closePicture(queries[at].picture);
    queries.splice(at, 1);
    shown = Math.min(shown, queries.length - 1);
    changed(true);
  }

  function removePair(at) {
    pairs[at].forEach(closePicture);
    pairs.splice(at, 1);
    if (!pairs.length) pairs.push([null, null]);
    changed(true);
  }

  function drawPairs() {
    const names = ["before", "after"];
    pairList.replaceChildren(...pairs.map((pair, at) => {
      const side = (i) => {
        const place = tile(pair[i], `Drop or choose: ${names[i]}`, () => choose(false, async (files) => {
          const [picture] = await openAll(files);
          if (picture) setPair(at, i, picture);
        }));
        place.setAttribute("aria-label", pair[i] ? `Example ${at + 1}, ${names[i]}: ${pair[i].name}` : `Choose example ${at + 1}, ${names[i]}`);
        takesDrops(place, async (files) => {
          const pictures = await openAll(files);
          if (pictures.length === 1) setPair(at, i, pictures[0]);
          else addPairs(pictures);
        });
        return place;
      };
      const empty = !pair[0] && !pair[1] && pairs.length === 1;
      return h("li", {class: "pair"}, side(0), h("span", {class: "arrow", "aria-hidden": "true"}, "→"), side(1),
        empty ? h("span") : h("button", {type: "button", class: "quiet icon", "aria-label": `Remove example ${at + 1}`,
          onclick: () => removePair(at)}, "×"));
    }));
  }

  const marks = {working: "working", done: "done", failed: "failed"};
  function drawQueries() {
    const items = queries.map((q, at) => {
      const mark = marks[q.state] && h("span", {class: `mark ${q.state === "done" ? "done" : q.state === "failed" ? "bad" : ""}`}, marks[q.state]);
      const place = tile(q.picture, "", () => { shown = at; draw(); }, mark ? [mark] : []);
      if (at === shown) place.setAttribute("aria-current", "true");
      place.setAttribute("aria-label", `Query ${at + 1}: ${q.picture.name}`);
      return h("li", {}, place, h("button", {type: "button", class: "remove quiet", "aria-label": `Remove query ${at + 1}`,
        onclick: () => removeQuery(at)}, "×"));
    });
    const more = tile(null, queries.length ? "Add" : "Drop or choose queries", () => choose(true, async (files) => addQueries(await openAll(files))));
    more.id = "add-query";
    queryList.replaceChildren(...items, h("li", {}, more));
  }

  /* ---- the canvas ---- */

  async function drawCanvas(brought, answerUrl) {
    const sheet = await createImageBitmap(blobOf(brought.canvas)), pen = canvas.getContext("2d"), {x, y, width, height} = brought.hole;
    canvas.width = sheet.width * 2;
    canvas.height = sheet.height * 2;
    pen.imageSmoothingQuality = "high";
    pen.drawImage(sheet, 0, 0, canvas.width, canvas.height);
    if (answerUrl) {
      const answer = new Image();
      answer.src = answerUrl;
      await answer.decode();
      pen.drawImage(answer, 2 * x, 2 * y, 2 * width, 2 * height);
    } else {
      pen.strokeStyle = "#e0a458";
      pen.lineWidth = 2;
      pen.setLineDash([8, 6]);
      pen.strokeRect(2 * x + 2, 2 * y + 2, 2 * width - 4, 2 * height - 4);
    }
  }

  const requestOf = (query) => ({
    examples: ready().map(([a, b]) => ({input: a.data, output: b.data})), query: query.picture.data, settings: settings.values(),
  });

  /* Lays the canvas a moment after the last change. */
  function lay() {
    clearTimeout(layTimer);
    canvasPanel.hidden = !room.canvas || !complete();
    if (canvasPanel.hidden) return;
    layTimer = setTimeout(async () => {
      const number = ++layNumber, query = queries[Math.max(shown, 0)];
      try {
        const brought = await post("/v1/canvases", requestOf(query));
        if (number !== layNumber) return;
        lastCanvas = brought;
        await drawCanvas(brought, query.answer?.url);
        laid.done("");
      } catch (problem) {
        if (number === layNumber) laid.problem(problem.message);
      }
    }, 150);
  }

  /* ---- answers ---- */

  function setAnswer(query, base64, early) {
    const blob = blobOf(base64);
    if (query.answer) URL.revokeObjectURL(query.answer.url);
    query.answer = {blob, url: URL.createObjectURL(blob)};
    query.early = early;
  }

  async function answerOne(query, signal) {
    query.state = "working";
    query.problem = null;
    drawAnswer();
    drawQueries();
    const began = performance.now();
    const show = () => { if (queries[shown] === query) drawAnswer(); };
    const brought = await follow("/v1/answers", requestOf(query), {
      busy() { told.say("The server is busy, trying again …"); },
      waiting({ahead}) { told.say(ahead ? `Waiting: ${plural(ahead, "request")} before this one …` : "Waiting …"); },
      begun() { told.say("The model looks at it …"); },
      canvas(c) { if (queries[shown] === query) { lastCanvas = c; drawCanvas(c); } },
      preview(p) { setAnswer(query, p.answer, true); show(); told.say("A first look; the answer follows …"); },
    }, signal);
    setAnswer(query, brought.answer, false);
    query.state = "done";
    query.seconds = (performance.now() - began) / 1000;
    query.report = brought.report;
    query.notes = brought.notes;
    if (queries[shown] === query && brought.canvas) {
      lastCanvas = brought;
      drawCanvas(brought, query.answer.url);
    }
    show();
  }

  async function answerAll() {
    const again = queries.every((q) => q.state === "done");
    work = new AbortController();
    run.textContent = "Stop";
    for (const query of queries.filter((q) => again || q.state !== "done")) {
      if (work.signal.aborted) break;
      if (queries.length === 1 || queries[shown]?.state === "done" || shown < 0) shown = queries.indexOf(query);
      try {
        await answerOne(query, work.signal);
      } catch (problem) {
        query.state = problem.name === "AbortError" ? "new" : "failed";
        if (problem.name !== "AbortError") query.problem = problem.message;
      }
      drawQueries();
    }
    work = null;
    run.textContent = "Answer";
    told.done("");
    draw();
  }

  function stop() { work?.abort(); }

  const answerName = (query) => query.picture.name.replace(/\.[^.]*$/, "") + "-answer.png";
  const saveOne = (at) => download(answerName(queries[at]), queries[at].answer.blob);

  /* ---- all of it ---- */

  function drawAnswer() {
    const query = queries[shown];
    nothing.hidden = Boolean(query);
    seen.hidden = !query;
    if (!query) return;
    slider.show(query.picture.url, query.answer?.url, query.early);
    save.disabled = !query.answer || query.early;
    saveEvery.hidden = queries.filter((q) => q.state === "done").length < 2;
    facts.textContent = query.state === "done"
      ? `${query.picture.width} × ${query.picture.height}, ${query.seconds.toFixed(1)} s on ${query.report.device}` : "";
    notes.replaceChildren(...(query.notes ?? []).map((text) => h("p", {class: "note"}, text)));
    if (query.problem) told.problem(query.problem);
    else if (!work) told.done("");
  }

  function drawCommand() {
    const words = ["tessera run"];
    if (!room.default) words.push(`--model ${quoted(room.model)}`);
    for (const {name, value} of room.options) words.push(value === "" ? `--${name}` : `--${name} ${quoted(value)}`);
    words.push(...optionsOf(settings.values()));
    for (const [a, b] of ready()) words.push(`-e ${quoted(a.name)} ${quoted(b.name)}`);
    if (queries.length) words.push(`-q ${queries.map((q) => quoted(q.picture.name)).join(" ")}`);
    words.push(queries.length > 1 ? "-o answers/" : queries.length ? `-o ${quoted(answerName(queries[0]))}` : "-o answer.png");
    command.textContent = words.join(" \\\n  ");
  }

  function draw() {
    drawPairs();
    drawQueries();
    drawAnswer();
    drawCommand();
    run.disabled = !complete() && !work;
    lay();
  }

  /* What was answered before is no answer to what is asked now, but may still be looked at. */
  function changed(pictures = false) {
    if (!work) for (const query of queries) if (query.state === "done") query.state = "new";
    if (pictures) draw();
    else { drawQueries(); drawCommand(); lay(); }
  }

  async function tryIt() {
    const names = ["in.png", "out.png", "query.png"];
    try {
      const files = await Promise.all(names.map(async (name) => new File([await (await fetch(`/demo/${name}`)).blob()], name, {type: "image/png"})));
      const [a, b, q] = await openAll(files);
      pairs.splice(0, pairs.length, [a, b]);
      queries.length = 0;
      shown = -1;
      addQueries([q]);
      await answerAll();
    } catch (problem) {
      notice(problem.message, true);
    }
  }

  const examples = h("section", {class: "panel", "aria-label": "Examples"}, h("header", {}, h("h2", {}, "Examples"),
    h("span", {class: "soft"}, "a picture, and what is to be made of it")), pairList,
  h("div", {class: "row"}, h("button", {type: "button", onclick: () => { pairs.push([null, null]); draw(); }}, "Add a pair"),
    h("button", {type: "button", class: "quiet", id: "try", onclick: tryIt}, "Try it with a sample")));
  const asked = h("section", {class: "panel", "aria-label": "Queries"}, h("header", {}, h("h2", {}, "Queries"),
    h("span", {class: "soft"}, "the same is done to these")), queryList, h("div", {class: "row"}, run,
    h("span", {class: "soft"}, room.default ? "with the small default model" : `with ${room.kind}`)));
  const place = h("div", {class: "columns"},
    h("div", {class: "column"}, examples, asked,
      h("section", {class: "panel"}, h("details", {}, h("summary", {}, "Settings"), settings.place))),
    h("div", {class: "column"}, h("section", {class: "panel", "aria-label": "Answer"}, h("header", {}, h("h2", {}, "Answer")), nothing, seen), canvasPanel,
      h("section", {class: "panel"}, h("header", {}, h("h2", {}, "The command that does the same")),
        h("div", {class: "command"}, command, h("button", {type: "button", onclick: () => copy(command.textContent)}, "Copy")))));

  takesDrops(examples, async (files) => addPairs(await openAll(files)));
  takesDrops(asked, async (files) => addQueries(await openAll(files)));
  takesDrops(place, async (files) => addAnywhere(await openAll(files)));
  takesPastes(place, async (files) => addAnywhere(await openAll(files)));
  draw();
  return place;
}
