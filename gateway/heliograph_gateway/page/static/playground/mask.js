// Painting what is to be drawn anew: by brush, or, without a pointer, as boxes by their numbers.

import { byId, element, setText } from "../shared/dom.js";

const LARGEST = 4096;
const TALLEST = 280;

export class Mask {
  #picture = null;
  #url = "";
  #marks = [];
  #stroke = null;
  #canvas = element("canvas", { role: "img", "aria-label": "Mask" });
  #image = element("img", { alt: "The picture to change" });
  #easel = element("div", { className: "easel" }, this.#image, this.#canvas);
  #said = element("p", { className: "note", role: "status" });

  constructor() {
    this.#canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#canvas.addEventListener("pointermove", (event) => this.#draw(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.#canvas.addEventListener(end, () => {
        this.#stroke = null;
        this.#tell();
      });
    }
    this.root = element(
      "fieldset",
      { id: "mask-editor" },
      element("legend", { textContent: "Mask" }),
      this.#easel,
      this.#tools(),
      this.#boxes(),
      this.#said,
      element("p", { className: "problem", id: "mask-problem", hidden: true }),
    );
  }

  /** Show a picture to paint on, none for null; what was painted on another one is gone. */
  async show(picture) {
    const place = byId("mask");
    if (picture === null) {
      this.#picture = null;
      place.replaceChildren();
      return;
    }
    if (picture !== this.#picture) {
      this.#picture = picture;
      this.#marks = [];
      URL.revokeObjectURL(this.#url);
      this.#url = URL.createObjectURL(picture);
      this.#image.src = this.#url;
      try {
        await this.#image.decode();
      } catch {
        // No picture that the browser knows; the gateway says what is wrong with it.
        place.replaceChildren();
        return;
      }
      const scale = Math.min(1, LARGEST / Math.max(this.#image.naturalWidth, this.#image.naturalHeight));
      this.#canvas.width = Math.round(this.#image.naturalWidth * scale);
      this.#canvas.height = Math.round(this.#image.naturalHeight * scale);
      this.#easel.style.maxWidth = `${Math.round((TALLEST * this.#canvas.width) / this.#canvas.height)}px`;
      this.#paint();
      this.#tell();
    }
    if (picture === this.#picture && !this.root.isConnected) {
      place.replaceChildren(this.root);
    }
  }

  /** Return the mask as a PNG file that is transparent where it is painted, null where nothing is. */
  async file() {
    if (this.#picture === null || !this.#isPainted()) {
      return null;
    }
    const { width, height } = this.#canvas;
    const kept = element("canvas", { width, height });
    const context = kept.getContext("2d");
    context.fillRect(0, 0, width, height);
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.#canvas, 0, 0);
    return new Promise((resolve) => kept.toBlob(resolve, "image/png"));
  }

  /** The control to go to where the mask is at fault. */
  get control() {
    return byId("brush-size");
  }

  #tools() {
    const tool = (value, word, checked) =>
      element("label", {}, element("input", { type: "radio", name: "brush", value, checked }), element("span", { textContent: word }));
    const size = element("input", { type: "range", id: "brush-size", min: "2", max: "60", value: "16" });
    const button = (word, act) => element("button", { type: "button", textContent: word, on: { click: act } });
    return element(
      "div",
      { className: "brushes" },
      element("span", { className: "switch", role: "radiogroup", "aria-label": "Tool" }, tool("paint", "Brush", true), tool("erase", "Eraser", false)),
      element("label", { className: "size", for: "brush-size" }, "Size", size),
      button("Undo", () => this.#change(() => this.#marks.pop())),
      button("Clear", () => this.#change(() => this.#marks.splice(0))),
    );
  }

  #boxes() {
    const numbers = Object.entries({ Left: "x", Top: "y", Width: "w", Height: "h" }).map(([word, key]) =>
      element(
        "div",
        { className: "field" },
        element("label", { for: `box-${key}`, textContent: word }),
        element("input", { type: "text", inputMode: "numeric", id: `box-${key}` }),
      ),
    );
    const add = element("button", { type: "button", textContent: "Add box", on: { click: () => this.#addBox() } });
    const boxes = element("div", { className: "boxes" }, ...numbers);
    return element("details", { id: "mask-boxes" }, element("summary", { textContent: "Boxes by numbers" }), boxes, add);
  }

  #addBox() {
    const [x, y, w, h] = ["x", "y", "w", "h"].map((key) => Number(byId(`box-${key}`).value));
    if (![x, y, w, h].every(Number.isFinite) || w <= 0 || h <= 0) {
      setText(this.#said, "Write whole numbers of pixels; width and height from 1 up.");
      return;
    }
    this.#change(() => this.#marks.push({ box: [x, y, w, h], erase: this.#isErasing() }));
  }

  #begin(event) {
    if (event.button !== 0) {
      return;
    }
    event.preventDefault();
    this.#canvas.setPointerCapture(event.pointerId);
    const scale = this.#canvas.width / this.#canvas.getBoundingClientRect().width;
    this.#stroke = { points: [], size: Number(byId("brush-size").value) * scale, erase: this.#isErasing() };
    this.#marks.push(this.#stroke);
    this.#draw(event);
  }

  #draw(event) {
    if (!this.#stroke) {
      return;
    }
    const frame = this.#canvas.getBoundingClientRect();
    const scale = this.#canvas.width / frame.width;
    this.#stroke.points.push([(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale]);
    this.#paint();
  }

  #change(act) {
    act();
    this.#paint();
    this.#tell();
  }

  #paint() {
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.fillStyle = context.strokeStyle = "#e8741a";
    context.lineCap = context.lineJoin = "round";
    for (const mark of this.#marks) {
      context.globalCompositeOperation = mark.erase ? "destination-out" : "source-over";
      if (mark.box) {
        context.fillRect(...mark.box);
        continue;
      }
      context.lineWidth = mark.size;
      context.beginPath();
      context.moveTo(...mark.points[0]);
      mark.points.forEach((point) => context.lineTo(...point));
      context.stroke();
    }
    context.globalCompositeOperation = "source-over";
  }

  #tell() {
    setText(this.#said, this.#isPainted() ? "The painted part is drawn anew." : "Paint what is to be drawn anew, or nothing to change all of it.");
  }

  #isErasing() {
    return this.root.querySelector("input[name=brush]:checked").value === "erase";
  }

  #isPainted() {
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    const { data } = context.getImageData(0, 0, this.#canvas.width, this.#canvas.height);
    return this.#marks.length > 0 && data.some((value, index) => index % 4 === 3 && value > 127);
  }
}
