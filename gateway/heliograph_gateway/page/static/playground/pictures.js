// Pictures that a request draws from: chosen as files, dropped, or taken from what was drawn.

import { element } from "../shared/dom.js";

const TYPES = "image/png,image/jpeg,image/webp,image/gif";

/** One place for pictures; `onChange` is called when they are other ones. */
export class PictureField {
  #files = [];
  #urls = [];
  #thumbs = element("div", { className: "thumbs" });
  #input;
  #remove;
  #multiple;
  #onChange;

  /** `name` is the request's field; at most `most` pictures are taken. */
  constructor({ name, label, most = 1, onChange = () => {} }) {
    this.name = name;
    this.#multiple = most;
    this.#onChange = onChange;
    const id = `${name}-file`;
    this.#input = element("input", { type: "file", id, accept: TYPES, multiple: most > 1 });
    this.#input.setAttribute("aria-describedby", `${name}-problem`);
    this.#input.addEventListener("change", () => this.set([...this.#input.files]));
    this.#remove = element("button", { type: "button", className: "quiet", textContent: "Remove", hidden: true });
    this.#remove.setAttribute("aria-label", `Remove: ${label}`);
    this.#remove.addEventListener("click", () => {
      this.set([]);
      this.#input.focus();
    });
    const controls = element("div", { className: "controls" }, this.#input, this.#remove);
    const box = element("div", { className: "chooser" }, this.#thumbs, controls);
    this.#takeDrops(box);
    this.root = element(
      "div",
      { className: "field" },
      element("label", { for: id, textContent: label }),
      box,
      element("p", { className: "problem", id: `${name}-problem`, hidden: true }),
    );
  }

  get files() {
    return this.#files;
  }

  get control() {
    return this.#input;
  }

  set(files) {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#files = files.slice(0, this.#multiple);
    this.#urls = this.#files.map((file) => URL.createObjectURL(file));
    this.#thumbs.replaceChildren(...this.#urls.map((src) => element("img", { src, alt: "" })));
    this.#remove.hidden = !this.#files.length;
    // The field tells the names of the files, of those too that were not chosen by it.
    const listed = new DataTransfer();
    this.#files.forEach((file, index) => listed.items.add(file instanceof File ? file : asFile(this.name, index, file)));
    this.#input.files = listed.files;
    this.#onChange();
  }

  #takeDrops(box) {
    const over = (event, entered) => {
      event.preventDefault();
      box.classList.toggle("over", entered);
    };
    box.addEventListener("dragover", (event) => over(event, true));
    box.addEventListener("dragleave", (event) => over(event, false));
    box.addEventListener("drop", (event) => {
      over(event, false);
      const pictures = [...event.dataTransfer.files].filter((file) => file.type.startsWith("image/"));
      if (pictures.length) {
        this.set(pictures);
      }
    });
  }
}

function asFile(name, index, blob) {
  return new File([blob], nameOfFile(name, index, blob), { type: blob.type });
}

/** Return the name that a picture has as a file of its own, `mask.png` or `image-2.jpg`. */
export function nameOfFile(name, index, blob) {
  const ending = { "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif" }[blob.type] ?? "png";
  return index ? `${name}-${index + 1}.${ending}` : `${name}.${ending}`;
}
