// compare.js - two pictures one over the other, with a slider between them: by hand, by touch and by keyboard.
import {h} from "./dom.js";

export function compare(names) {
  const before = h("img", {alt: names[0], draggable: "false"}), after = h("img", {alt: names[1], class: "after", draggable: "false"});
  const both = h("div", {class: "compare"}, before, after, h("div", {class: "bar"}));
  const slider = h("input", {type: "range", min: "0", max: "100", value: "50", "aria-label": `Between ${names[0]} and ${names[1]}`});
  const set = (percent) => {
    slider.value = percent;
    both.style.setProperty("--at", `${percent}%`);
  };
  const follow = (e) => {
    const box = both.getBoundingClientRect();
    set(Math.round(Math.min(100, Math.max(0, (e.clientX - box.left) / box.width * 100))));
  };
  both.addEventListener("pointerdown", (e) => { both.setPointerCapture(e.pointerId); follow(e); });
  both.addEventListener("pointermove", (e) => { if (both.hasPointerCapture(e.pointerId)) follow(e); });
  slider.addEventListener("input", () => set(slider.value));
  const ends = h("div", {class: "ends"}, h("span", {}, names[0]), slider, h("span", {}, names[1]));
  return {
    place: h("div", {class: "column"}, h("div", {class: "stage"}, both), ends),
    show(url, answerUrl, early) {
      before.src = url;
      after.hidden = !answerUrl;
      both.querySelector(".bar").hidden = !answerUrl;
      ends.hidden = !answerUrl;
      if (answerUrl) after.src = answerUrl;
      both.classList.toggle("early", Boolean(early));
    },
    set,
  };
}
