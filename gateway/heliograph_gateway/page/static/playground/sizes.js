// The size of the pictures: shapes about as large as the model's own, or numbers.

import { byId, element, setText } from "../shared/dom.js";
import { has, schemaOf } from "./parameters.js";

const SHAPES = { "1:1": [1, 1], "3:2": [3, 2], "2:3": [2, 3], "16:9": [16, 9], "9:16": [9, 16] };
/** Sides that about every model can draw are multiples of it, and no shorter. */
const STEP = 16;

const SVG = "http://www.w3.org/2000/svg";

export class Sizes {
  #chosen = "auto";
  #custom = ["", ""];
  #own = null;
  #step = STEP;

  /** Show what a model can be asked for; nothing where its size is none of the request's business. */
  show(capabilities) {
    const place = byId("sizes");
    if (capabilities !== null && !has(capabilities, "size", "width", "height")) {
      place.replaceChildren();
      return;
    }
    this.#own = ownSize(capabilities);
    this.#step = schemaOf(capabilities, "width").multipleOf ?? STEP;
    const shapes = this.#own ? Object.keys(SHAPES) : [];
    if (!["auto", "custom", ...shapes].includes(this.#chosen)) {
      this.#chosen = "auto";
    }
    const choices = ["auto", ...shapes, "custom"].map((shape) => this.#choice(shape));
    place.replaceChildren(
      element(
        "fieldset",
        { id: "size" },
        element("legend", { textContent: "Size" }),
        element("div", { className: "shapes" }, ...choices),
        element("p", { className: "note", id: "size-note" }),
        this.#sides(),
        element("p", { className: "problem", id: "size-problem", hidden: true }),
      ),
    );
    this.#told();
  }

  /** Return what a request says: WIDTHxHEIGHT, or null for the model's own. */
  value() {
    if (this.#chosen === "auto" || !document.getElementById("size")) {
      return null;
    }
    if (this.#chosen === "custom") {
      const [width, height] = this.#custom;
      return width || height ? `${width || height}x${height || width}` : null;
    }
    return this.#of(this.#chosen).join("x");
  }

  fill(size, capabilities) {
    const shape = Object.keys(SHAPES).find((name) => this.#own && this.#of(name).join("x") === size);
    this.#chosen = size ? (shape ?? "custom") : "auto";
    this.#custom = size && !shape ? String(size).split("x") : ["", ""];
    this.show(capabilities);
  }

  /** The field to go to where the size is at fault. */
  get control() {
    return document.querySelector("#size input:checked");
  }

  #of(shape) {
    const [width, height] = SHAPES[shape];
    const area = this.#own[0] * this.#own[1];
    const unit = Math.sqrt(area / (width * height));
    return [width, height].map((side) => Math.max(1, Math.round((side * unit) / this.#step)) * this.#step);
  }

  #choice(shape) {
    const radio = element("input", { type: "radio", name: "shape", value: shape, checked: shape === this.#chosen });
    radio.addEventListener("change", () => {
      this.#chosen = shape;
      this.#told();
    });
    const word = { auto: "Auto", custom: "Custom" }[shape] ?? shape;
    return element("label", {}, radio, outline(SHAPES[shape], shape), element("span", { textContent: word }));
  }

  #sides() {
    const fields = ["Width", "Height"].map((word, index) => {
      const id = word.toLowerCase();
      const input = element("input", { type: "text", inputMode: "numeric", id, value: this.#custom[index] });
      input.addEventListener("input", () => {
        this.#custom[index] = input.value.trim();
      });
      return element("div", { className: "field" }, element("label", { for: id, textContent: word }), input);
    });
    return element("div", { className: "sides", id: "sides" }, ...fields);
  }

  #told() {
    byId("sides").hidden = this.#chosen !== "custom";
    const own = this.#own ? `The model's own: ${this.#own.join(" × ")}` : "The model's own";
    setText(byId("size-note"), this.#chosen === "auto" ? own : SHAPES[this.#chosen] ? this.#of(this.#chosen).join(" × ") : "");
  }
}

function ownSize(capabilities) {
  const sides = String(schemaOf(capabilities, "size").default ?? "").split("x").map(Number);
  const [width, height] = sides.length === 2 ? sides : ["width", "height"].map((side) => schemaOf(capabilities, side).default);
  return width > 0 && height > 0 ? [width, height] : null;
}

function outline(shape, name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 26 26");
  drawing.setAttribute("aria-hidden", "true");
  const [width, height] = shape ?? [1, 1];
  const unit = 18 / Math.max(width, height);
  const frame = document.createElementNS(SVG, "rect");
  const sides = { width: width * unit, height: height * unit };
  const about = { x: 13 - sides.width / 2, y: 13 - sides.height / 2, rx: 2, ...sides };
  if (name === "auto" || name === "custom") {
    about["stroke-dasharray"] = "3 2.5";
  }
  Object.entries(about).forEach(([key, value]) => frame.setAttribute(key, String(value)));
  drawing.append(frame);
  return drawing;
}
