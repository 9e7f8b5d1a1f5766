// browser.mjs PROGRAM CHROMIUM SOURCES - what a user does on the page, from dropping files to the downloaded picture, which must be
// the file that the command writes; the errors that a user sees; and that no request leaves this machine.
import assert from "node:assert/strict";
import {execFileSync, spawn} from "node:child_process";
import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync, copyFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {basename, join} from "node:path";
import {chromium} from "playwright-core";

const [program, executablePath, sources] = process.argv.slice(2);
const shared = join(sources, "..", "shared"), demo = join(sources, "assets", "demo", "segment");
const files = mkdtempSync(join(tmpdir(), "tessera-page-"));
const shots = process.env.TESSERA_SHOTS; // a folder for pictures of the page, to look at
const patience = 120000;

/* ---- the server ---- */

function serve(...more) {
  const child = spawn(program, ["serve", "--device", "cpu", "--port", "0", ...more], {stdio: ["ignore", "ignore", "pipe"]});
  return new Promise((done, fail) => {
    let said = "";
    child.stderr.on("data", (text) => {
      said += text;
      const found = /open (http:\/\/127\.0\.0\.1:\d+)\//.exec(said);
      if (found) done({url: found[1], child, stop: () => new Promise((over) => { child.on("exit", over); child.kill("SIGTERM"); })});
    });
    child.on("exit", (status) => fail(new Error(`tessera serve ended with ${status}: ${said}`)));
  });
}

const tessera = (...args) => execFileSync(program, args, {cwd: files, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"]});

/* ---- the browser ---- */

const browser = await chromium.launch({executablePath, args: ["--no-sandbox"]});

async function open(server, {hash = "", width = 1100, allowed = []} = {}) {
  const context = await browser.newContext({viewport: {width, height: 900}, acceptDownloads: true});
  const page = await context.newPage();
  page.setDefaultTimeout(patience);
  page.strange = [];
  page.on("request", (r) => { if (!r.url().startsWith(server.url + "/") && !/^(blob|data):/.test(r.url())) page.strange.push(`a request to ${r.url()}`); });
  page.on("pageerror", (e) => page.strange.push(`an error: ${e.message}`));
  page.on("console", (m) => { if (m.type() === "error" && !allowed.some((word) => m.text().includes(word))) page.strange.push(`a complaint: ${m.text()}`); });
  await page.goto(server.url + "/" + hash);
  await page.waitForSelector("#room section");
  return page;
}

async function close(page) {
  assert.deepEqual(page.strange, []);
  await page.context().close();
}

const typeOf = (path) => ({png: "image/png", jpg: "image/jpeg"})[path.split(".").pop()] ?? "text/plain";

async function transfer(page, paths) {
  const brought = paths.map((path) => ({name: basename(path), type: typeOf(path), data: readFileSync(path).toString("base64")}));
  return page.evaluateHandle((list) => {
    const all = new DataTransfer();
    for (const {name, type, data} of list) all.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, {type}));
    return all;
  }, brought);
}

async function drop(page, selector, ...paths) {
  const dataTransfer = await transfer(page, paths);
  for (const type of ["dragenter", "dragover", "drop"]) await page.dispatchEvent(selector, type, {dataTransfer});
}

async function paste(page, ...paths) {
  const clipboardData = await transfer(page, paths);
  await page.evaluate((data) => document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})), clipboardData);
}

async function download(page, selector) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  return {name: file.suggestedFilename(), bytes: readFileSync(await file.path())};
}

/* By pixels, in the browser itself: one decoder for both. */
async function samePixels(page, a, b) {
  const differ = await page.evaluate(async (both) => {
    const read = async (base64) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], {type: "image/png"}));
      const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      pen.drawImage(bitmap, 0, 0);
      return pen.getImageData(0, 0, bitmap.width, bitmap.height);
    };
    const [x, y] = [await read(both[0]), await read(both[1])];
    if (x.width !== y.width || x.height !== y.height) return `${x.width} x ${x.height} and ${y.width} x ${y.height}`;
    const count = x.data.reduce((sum, value, i) => sum + (value !== y.data[i]), 0);
    return count ? `${count} values` : "";
  }, [a.toString("base64"), b.toString("base64")]);
  assert.equal(differ, "", `the pictures differ in ${differ}`);
}

async function shoot(page, name) {
  if (!shots) return;
  mkdirSync(shots, {recursive: true});
  for (const width of [400, 800, 1400]) {
    await page.setViewportSize({width, height: 900});
    await page.waitForTimeout(400);
    await page.screenshot({path: join(shots, `${name}-${width}.png`), fullPage: true});
  }
  await page.setViewportSize({width: 1100, height: 900});
}

/* Nothing sticks out at the side, at whatever width. */
async function fitsEverywhere(page) {
  for (const width of [360, 400, 800, 1400]) {
    await page.setViewportSize({width, height: 900});
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `at ${width} pixels the page is ${wide} wide`);
  }
  await page.setViewportSize({width: 1100, height: 900});
}

/* ---- what is tried ---- */

const tests = [];
const test = (name, run) => tests.push([name, run]);
const answered = (page) => page.waitForFunction(() => !document.getElementById("download").disabled && document.getElementById("run").textContent === "Answer");

for (const name of ["in.png", "out.png", "query.png"]) copyFileSync(join(demo, name), join(files, name));
const given = (name) => join(files, name);

test("Example: from dropped files to the downloaded answer", async (server) => {
  tessera("run", "--device", "cpu", "-e", "in.png", "out.png", "-q", "query.png", "-o", "want.png");
  const page = await open(server);
  await drop(page, "[aria-label='Examples']", given("in.png"), given("out.png"));
  await drop(page, "[aria-label='Queries']", given("query.png"));
  await page.waitForSelector("#canvas-panel:not([hidden])");
  await page.click("#run");
  await answered(page);
  const got = await download(page, "#download");
  assert.equal(got.name, "query-answer.png");
  await samePixels(page, got.bytes, readFileSync(given("want.png")));
  assert.ok(got.bytes.equals(readFileSync(given("want.png"))), "the downloaded file is not the command's");
  /* What stands there as the command does the same. */
  const command = (await page.textContent("#command")).replace(/^tessera run/, `'${program}' run --device cpu`);
  execFileSync("sh", ["-c", command], {cwd: files, stdio: "ignore"});
  assert.ok(got.bytes.equals(readFileSync(given("query-answer.png"))), "the command shown gives another file");
  await shoot(page, "example");
  await close(page);
});

test("Example: settings, several queries, the clipboard, choosing files", async (server) => {
  copyFileSync(given("in.png"), given("cat.png"));
  copyFileSync(given("out.png"), given("cat_mask.png"));
  copyFileSync(given("in.png"), given("second.png"));
  tessera("run", "--device", "cpu", "-e", "cat.png", "cat_mask.png", "-q", "query.png", "second.png", "-o", "answers-1", "--views", "1");
  const page = await open(server);
  await paste(page, given("cat_mask.png"), given("cat.png"), given("query.png")); // a pair by its names
  await page.waitForSelector("[aria-label='Example 1, before: cat.png']");
  await page.waitForSelector("[aria-label='Example 1, after: cat_mask.png']");
  await page.waitForSelector("[aria-label='Query 1: query.png']");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.click("#add-query")]);
  await chooser.setFiles([given("second.png")]);
  await page.waitForSelector("[aria-label='Query 2: second.png']");
  await page.click("summary");
  await page.fill("#setting-views", "1");
  await page.press("#setting-views", "Tab");
  assert.match(await page.textContent("#command"), /--views 1/);
  await page.click("#run");
  await answered(page);
  for (const [at, name] of [[1, "query"], [2, "second"]]) {
    await page.click(`[aria-label^='Query ${at}:']`);
    const got = await download(page, "#download");
    await samePixels(page, got.bytes, readFileSync(given(`answers-1/${name}.png`)));
  }
  /* The slider by keyboard. */
  const slider = page.locator("input[type=range]");
  await slider.focus();
  await slider.press("End");
  assert.equal(await slider.inputValue(), "100");
  await slider.press("Home");
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".compare")).getPropertyValue("--at")), "0%");
  await fitsEverywhere(page);
  await close(page);
});

test("Example: what goes wrong is said", async (server) => {
  writeFileSync(given("notes.txt"), "no picture");
  writeFileSync(given("broken.png"), readFileSync(given("in.png")).subarray(0, 20));
  const page = await open(server, {allowed: ["400", "ERR_FILE_NOT_FOUND"]});
  await drop(page, "[aria-label='Queries']", given("notes.txt"));
  await page.waitForSelector("text=notes.txt is no PNG, JPEG, WebP or BMP picture");
  await drop(page, "[aria-label='Queries']", given("broken.png"));
  await page.waitForSelector("text=broken.png cannot be read as a picture");
  assert.ok(await page.isDisabled("#run"));
  await drop(page, "[aria-label='Examples']", given("in.png"), given("out.png"));
  await drop(page, "[aria-label='Queries']", given("query.png"));
  await page.click("summary");
  await page.fill("#setting-views", "99999");
  await page.press("#setting-views", "Tab");
  await page.click("#run");
  await page.waitForSelector(".problem:has-text('Views 99999 is outside')");
  await close(page);
});

test("Example: dark, and the theme chosen by hand", async (server) => {
  const page = await open(server);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({colorScheme: "light"});
  const light = await ground();
  await page.emulateMedia({colorScheme: "dark"});
  assert.notEqual(await ground(), light);
  await page.click("#theme");
  assert.equal(await ground(), light);
  await page.reload();
  await page.waitForSelector("#room section");
  assert.equal(await ground(), light);
  await close(page);
});

test("Strokes: a few strokes, undone and done again, applied, and the model as a file", async (server) => {
  const page = await open(server, {hash: "#/strokes"});
  await drop(page, "[aria-label='Strokes']", given("in.png"));
  await page.waitForSelector("text=Paint a few strokes of background and of object");
  const box = await page.locator("#strokes-canvas").boundingBox();
  const stroke = async (...points) => {
    const [[x, y], ...rest] = points.map(([u, v]) => [box.x + u * box.width, box.y + v * box.height]);
    await page.mouse.move(x, y);
    await page.mouse.down();
    for (const [u, v] of rest) await page.mouse.move(u, v, {steps: 4});
    await page.mouse.up();
  };
  await page.click("[data-class='0']");
  await stroke([0.1, 0.1], [0.8, 0.2]);
  await page.click("[data-class='1']");
  await stroke([0.2, 0.6], [0.3, 0.6]);
  await page.waitForSelector("text=of the strokes are met");
  await page.click("#undo");
  await page.waitForSelector("text=Paint a few strokes of object");
  await stroke([0.2, 0.6], [0.3, 0.62]);
  await page.waitForSelector("text=of the strokes are met");
  const model = await download(page, "#model"), mask = await download(page, "#strokes-mask");
  writeFileSync(given("model.strokes"), model.bytes);
  tessera("strokes", "apply", "model.strokes", "in.png", "query.png", "--device", "cpu", "-o", "classes");
  await samePixels(page, mask.bytes, readFileSync(given("classes/in.png")));
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.click("#apply")]);
  await chooser.setFiles([given("query.png")]);
  await page.waitForSelector("text=Applied to 1 picture");
  await samePixels(page, (await download(page, "#applied button")).bytes, readFileSync(given("classes/query.png")));
  await shoot(page, "strokes");
  await fitsEverywhere(page);
  await close(page);
});

test("Segment: clicks, a cut-out, everything", async (server) => {
  if (!server.sam) return "there is no ../shared/golden/sam_tiny.pth";
  const page = await open(server, {hash: "#/segment"});
  await drop(page, "[aria-label='Segment']", given("in.png"));
  await page.waitForSelector("text=Click what you want");
  const canvas = page.locator("#segment-canvas"), [w, h] = await canvas.evaluate((c) => [c.width, c.height]);
  const clickAt = async (x, y) => {
    const box = await canvas.boundingBox();
    await canvas.click({position: {x: (x + 0.5) / w * box.width, y: (y + 0.5) / h * box.height}});
  };
  const [x0, y0, x1, y1] = [Math.floor(w / 2), Math.floor(h / 2), Math.floor(w / 3), Math.floor(h / 3)];
  await clickAt(x0, y0);
  await page.waitForSelector("text=Mask 3");
  await shoot(page, "segment");
  await page.click("[data-mode=outside]");
  await clickAt(x1, y1);
  await page.waitForFunction(() => !document.querySelector(".masks button"));
  tessera("segment", "in.png", "--device", "cpu", "--model", server.sam, "--point", `${x0},${y0}`, "--point", `${x1},${y1},0`, "-o", "mask.png", "--cutout", "cutout.png");
  for (const what of ["cutout", "mask"]) {
    const got = await download(page, `#${what}`);
    assert.equal(got.name, `in-${what}.png`);
    await samePixels(page, got.bytes, readFileSync(given(`${what}.png`)));
  }
  await page.click("#everything");
  await page.waitForSelector("text=/things? found|Nothing was found/");
  await fitsEverywhere(page);
  await close(page);
});

test("Find: by words and by a picture", async (server) => {
  if (!server.clip) return "there is no ../shared/golden/clip_tiny.pt with its vocabulary";
  const page = await open(server, {hash: "#/find"});
  await page.fill("#find-words", "a red circle");
  await page.press("#find-words", "Enter");
  await page.waitForSelector(".hit img");
  const shown = await page.$$eval(".hit", (all) => all.map((hit) => hit.dataset.name));
  const wanted = JSON.parse(tessera("clip", "search", "album", "--json", "--device", "cpu", "--model", server.clip, "--vocab", server.vocab, "--text", "a red circle"));
  assert.deepEqual(shown, wanted.hits.map((hit) => basename(hit.file)));
  await drop(page, "[aria-label='Find']", given("in.png"));
  await page.waitForSelector("text=Pictures like in.png");
  await page.waitForFunction(() => document.querySelector(".hit")?.dataset.name === "in.png");
  await shoot(page, "find");
  await fitsEverywhere(page);
  await close(page);
});

test("A server that wants a token", async () => {
  const server = await serve("--token", "open sesame");
  const page = await open(server, {hash: "#token=open%20sesame"});
  await page.waitForSelector("[aria-label='Examples']");
  assert.ok(!page.url().includes("sesame"));
  await close(page);
  const stranger = await browser.newPage();
  await stranger.goto(server.url);
  await stranger.waitForSelector(".problem:has-text('token is missing or wrong')");
  await stranger.close();
  await server.stop();
});

test("A server that has ended", async () => {
  const server = await serve(), page = await open(server, {allowed: ["ERR_CONNECTION_REFUSED"]});
  await drop(page, "[aria-label='Examples']", given("in.png"), given("out.png"));
  await drop(page, "[aria-label='Queries']", given("query.png"));
  await page.waitForSelector("[aria-label='Query 1: query.png']");
  await server.stop();
  await page.click("#run");
  await page.waitForSelector("[aria-label='Answer'] .problem:has-text('is `tessera serve` still running?')");
  await close(page);
});

/* ---- all of it ---- */

function rooms() {
  const sam = join(shared, "golden", "sam_tiny.pth"), clip = join(shared, "golden", "clip_tiny.pt"), vocab = join(shared, "data", "bpe_simple_vocab_16e6.txt.gz");
  const more = [], has = {};
  mkdirSync(given("album"));
  for (const name of ["in.png", "query.png", "out.png"]) copyFileSync(given(name), join(given("album"), name));
  if (existsSync(sam)) { more.push("--sam", sam); has.sam = sam; }
  if (existsSync(clip) && existsSync(vocab)) { more.push("--clip", clip, "--vocab", vocab, "--find", given("album")); Object.assign(has, {clip, vocab}); }
  return [more, has];
}

let failed = 0;
const [more, has] = rooms();
const server = Object.assign(await serve(...more), has);
for (const [name, run] of tests) {
  try {
    const skipped = await run(server);
    console.log(`${skipped ? "skipped" : "passed "}  ${name}${skipped ? `: ${skipped}` : ""}`);
  } catch (problem) {
    failed++;
    console.log(`FAILED   ${name}\n${problem.stack}`);
    for (const context of browser.contexts()) await context.close();
  }
}
await server.stop();
await browser.close();
rmSync(files, {recursive: true});
process.exit(failed ? 1 : 0);
