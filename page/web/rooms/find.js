// find.js - the room Find: the pictures of the server's folder, by words or by a picture.
import {getBlob, post} from "../lib/api.js";
import {h, plural, teller} from "../lib/dom.js";
import {choose, openAll, closePicture, takesDrops, takesPastes} from "../lib/pictures.js";

export async function make(about) {
  const room = about.rooms.find, thumbs = new Map();
  let like = null, asked = 0;
  const told = teller(), hits = h("ol", {class: "hits", id: "hits"});
  const words = h("input", {type: "search", id: "find-words", class: "grow", placeholder: "a dog on a beach", "aria-label": "What to look for, in words", enterkeyhint: "search"});
  const likeness = h("div", {class: "row", hidden: true});

  async function thumbnail(number) {
    if (!thumbs.has(number)) thumbs.set(number, getBlob(`/v1/find/pictures/${number}`));
    return thumbs.get(number);
  }

  function hitOf({number, name, score}) {
    const image = h("div", {class: "wait"});
    const button = h("button", {type: "button", title: "Look for pictures like this one", onclick: async () => {
      const [picture] = await openAll([new File([await thumbnail(number)], name.replace(/^.*\//, ""), {type: "image/jpeg"})]);
      if (picture) look({picture});
    }}, image);
    thumbnail(number).then((blob) => {
      const url = URL.createObjectURL(blob), shown = h("img", {alt: name, src: url, onload: () => URL.revokeObjectURL(url)});
      image.replaceWith(shown);
    }, (problem) => { image.textContent = problem.message; });
    return h("li", {}, h("figure", {class: "hit", "data-name": name}, button, h("figcaption", {}, h("span", {title: name}, name), h("span", {class: "soft"}, score.toFixed(3)))));
  }

  async function look({text, picture}) {
    const number = ++asked;
    if (like && like !== picture) closePicture(like);
    like = picture ?? null;
    likeness.hidden = !picture;
    if (picture) {
      words.value = "";
      likeness.replaceChildren(h("img", {src: picture.url, alt: picture.name, height: "64"}), h("span", {}, `Pictures like ${picture.name}`));
    }
    told.say("Looking …");
    try {
      const brought = await post("/v1/find", {...(picture ? {picture: picture.data} : {text}), top: 40});
      if (number !== asked) return;
      hits.replaceChildren(...brought.hits.map(hitOf));
      told.done(`The ${plural(brought.hits.length, "picture")} most like it, the most alike first.`);
    } catch (problem) {
      if (number === asked) told.problem(problem.message);
    }
  }

  const take = async (files) => {
    const [picture] = await openAll(files.slice(0, 1));
    if (picture) look({picture});
  };
  const form = h("form", {class: "row", onsubmit: (e) => { e.preventDefault(); if (words.value.trim()) look({text: words.value.trim()}); }},
    words, h("button", {type: "submit", class: "main"}, "Find"), h("button", {type: "button", onclick: () => choose(false, take)}, "By a picture"));
  const place = h("div", {class: "column"}, h("section", {class: "panel", "aria-label": "Find"},
    h("header", {}, h("h2", {}, "Find"), h("span", {class: "soft"}, `${plural(room.pictures, "picture")} in ${room.folder}`)), form, likeness, told.place), hits);
  takesDrops(place, take);
  takesPastes(place, take);
  return place;
}
