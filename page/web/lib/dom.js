// dom.js - elements in one expression, and notices. Text goes in as text, never as HTML.

/* h("button", {type: "button", onclick: f, class: "main"}, "Answer") */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function notice(text, bad = false) {
  const box = document.getElementById("notices");
  const item = h("div", {class: bad ? "notice bad" : "notice"}, h("span", {}, text),
    h("button", {type: "button", class: "quiet icon", "aria-label": "Close", onclick: () => item.remove()}, "\u00d7"));
  while (box.children.length > 2) box.firstChild.remove();
  box.append(item);
  setTimeout(() => item.remove(), bad ? 12000 : 6000);
}

/* Offers bytes as a file. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice("Copied.");
  } catch {
    notice("The browser does not let the page write to the clipboard: mark the text and copy it by hand.", true);
  }
}

export const plural = (count, one, many = one + "s") => `${count} ${count === 1 ? one : many}`;

/* Tells a spinner's sentence, or a problem's, in a place that is read aloud. */
export function teller() {
  const place = h("div", {class: "progress", role: "status", hidden: true});
  return {
    place,
    say(text) {
      place.className = "progress";
      place.replaceChildren(h("span", {class: "spinner"}), h("span", {}, text));
      place.hidden = false;
    },
    done(text) {
      place.className = "progress soft";
      place.replaceChildren(text);
      place.hidden = !text;
    },
    problem(text) {
      place.className = "problem";
      place.replaceChildren(text);
      place.hidden = false;
    },
  };
}
