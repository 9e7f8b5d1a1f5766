// settings.js - the settings of a model in words: a control for each that the server tells of, and what of them was changed.
import {h} from "./dom.js";

const words = {
  "per-canvas": "Pairs on a canvas", side: "Outputs stand", transposed: "Examples in columns", arrange: "Arrangement",
  ensemble: "All eight arrangements", background: "Colour between the cells", filter: "Pictures are resized", temperature: "Temperature",
  blend: "Blend of codes", views: "Views", "keep-codes": "Keep the canvas's own codes", kind: "What is segmented", size: "Size",
  fit: "Answer is resized", palette: "Colours of the examples only", "no-palette": "Colours as painted", mask: "Answer as a mask",
  seed: "Seed", steps: "Steps",
};

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.)]$/.test(text) ? "" : ".");

function control(setting, changed) {
  const id = `setting-${setting.name}`;
  if (setting.kind === "flag") return h("input", {id, type: "checkbox", onchange: changed});
  if (setting.kind === "choice")
    return h("select", {id, onchange: changed}, h("option", {value: ""}, "as it is"), setting.choices.map((c) => h("option", {value: c}, c)));
  if (setting.kind === "text") return h("input", {id, type: "text", placeholder: "as it is", onchange: changed});
  const step = setting.kind === "whole" ? "1" : "any";
  return h("input", {id, type: "number", min: String(setting.low), max: String(setting.high), step, placeholder: "as it is", onchange: changed});
}

function valueOf(setting, input) {
  if (setting.kind === "flag") return input.checked ? true : undefined;
  if (input.value === "") return undefined;
  return setting.kind === "whole" || setting.kind === "real" ? Number(input.value) : input.value;
}

/* {place, values()}: values has what was changed, by name. */
export function settingsOf(list, changed) {
  const controls = list.map((setting) => [setting, control(setting, () => changed())]);
  const rows = controls.map(([setting, input]) => h("div", {class: "setting"},
    h("label", {for: input.id}, words[setting.name] ?? setting.name), h("span", {class: "soft"}, sentence(setting.help)),
    h("div", {class: "control"}, input)));
  return {
    place: h("div", {class: "settings"}, rows),
    values() {
      const values = {};
      for (const [setting, input] of controls) {
        const value = valueOf(setting, input);
        if (value !== undefined) values[setting.name] = value;
      }
      return values;
    },
  };
}

const plain = /^[A-Za-z0-9_@%+=:,./-]+$/;
export const quoted = (word) => plain.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/* As options of the command. */
export function optionsOf(values) {
  return Object.entries(values).map(([name, value]) => value === true ? `--${name}` : `--${name} ${quoted(String(value))}`);
}
