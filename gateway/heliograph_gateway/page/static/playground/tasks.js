// What a model can be asked to do, and what each task asks for.

import { byId, element } from "../shared/dom.js";
import { has } from "./parameters.js";

const TASKS = {
  generate: { word: "Draw", path: "v1/images/generations" },
  edit: { word: "Edit", path: "v1/images/edits" },
  variation: { word: "Vary", path: "v1/images/variations" },
  upscale: { word: "Upscale", path: "v1/images/upscale" },
  video: { word: "Clip", path: "v1/videos" },
};
/** As long as nobody knows what a model can do. */
const BASIC = ["generate", "edit"];

export class Tasks {
  #chosen = "generate";
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  get chosen() {
    return this.#chosen;
  }

  get path() {
    return TASKS[this.#chosen].path;
  }

  /** Show what a model can do; the chosen task stays where the model can do it. */
  show(capabilities) {
    const operations = capabilities?.operations ?? BASIC;
    const possible = Object.keys(TASKS).filter((task) => operations.includes(task));
    if (!possible.includes(this.#chosen)) {
      this.#chosen = possible[0] ?? "generate";
    }
    const choices = possible.map((task) => {
      const radio = element("input", { type: "radio", name: "task", value: task, checked: task === this.#chosen });
      radio.addEventListener("change", () => this.choose(task));
      return element("label", {}, radio, element("span", { textContent: TASKS[task].word }));
    });
    const legend = element("legend", { className: "unseen", textContent: "Task" });
    byId("tasks").replaceChildren(legend, element("div", { className: "switch" }, ...choices));
    byId("tasks").hidden = possible.length < 2;
  }

  choose(task) {
    this.#chosen = task;
    const radio = document.querySelector(`input[name=task][value=${task}]`);
    if (radio) {
      radio.checked = true;
    }
    this.#onChange();
  }
}

/** Return the places for pictures of a task: name of the field, label, and how many it takes. */
export function picturesOf(capabilities, task) {
  const places = [];
  if (["edit", "variation", "upscale"].includes(task)) {
    const word = { edit: "Picture to change", variation: "Picture to vary", upscale: "Picture to enlarge" }[task];
    places.push({ name: "image", label: word, most: 1 });
  }
  if (task === "video" && has(capabilities, "image", "images")) {
    places.push({ name: "image", label: "First frame", most: 1 });
  }
  if (task === "video" && has(capabilities, "end_image", "last_image")) {
    places.push({ name: "end_image", label: "Last frame", most: 1 });
  }
  const most = capabilities?.max_references || 4;
  if (["generate", "edit"].includes(task) && has(capabilities, "ref_images", "reference_images")) {
    places.push({ name: "ref_images", label: "Pictures to refer to", most });
  }
  if (["generate", "edit"].includes(task) && has(capabilities, "control_image")) {
    places.push({ name: "control_image", label: "Control image", most: 1 });
  }
  return places;
}

/** Return whether a part of a picture can be drawn anew. */
export function takesMask(capabilities, task) {
  return task === "edit" && (capabilities === null || capabilities.operations?.includes("inpaint") || has(capabilities, "mask"));
}
