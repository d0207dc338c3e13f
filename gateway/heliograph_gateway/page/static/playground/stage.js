// The pictures that are being drawn, and those that were.

import { byId, element, setText } from "../shared/dom.js";

export class Stage {
  #tiles = [];
  #urls = [];
  #steps = new Map();
  #count = 1;
  #isLive = false;
  #acts;

  /** `acts` is what the buttons below a picture do, each called with the entry and the result: again, edit, code. */
  constructor(acts) {
    this.#acts = acts;
  }

  /** Make room for `count` pictures; `told` is said until the first sign of them. */
  begin(count, told) {
    this.#empty();
    this.#isLive = true;
    this.#count = count;
    this.#steps.clear();
    this.#tiles = Array.from({ length: count }, () => this.#tile());
    byId("shown").replaceChildren(...this.#tiles.map(({ figure }) => figure));
    byId("running").hidden = false;
    byId("progress").removeAttribute("value");
    setText(byId("running-text"), told);
  }

  /** Say what a request waits for; `progress` from 0 to 1, or null. */
  wait(told, progress) {
    setText(byId("running-text"), told);
    this.#measure(progress);
  }

  step({ index, done, steps }) {
    this.#steps.set(index, done / steps);
    const all = [...this.#steps.values()].reduce((sum, share) => sum + share, 0) / this.#count;
    const which = this.#count > 1 ? `Picture ${index + 1} of ${this.#count}: step` : "Step";
    setText(byId("running-text"), `${which} ${done} of ${steps}`);
    this.#measure(all);
  }

  /** Say how much of a clip is done, in percent. */
  percent(done) {
    setText(byId("running-text"), `${done} %`);
    this.#measure(done / 100);
  }

  preview({ index, preview }) {
    const tile = this.#isLive ? this.#tiles[index] : null;
    if (tile) {
      tile.frame.className = "frame unfinished";
      tile.frame.replaceChildren(element("img", { src: this.#url(preview), alt: "Unfinished picture" }));
    }
  }

  finish({ index, blob, seed }, request) {
    const tile = this.#isLive ? this.#tiles[index] : null;
    if (tile) {
      this.#fill(tile, { blob, seed }, request);
    }
  }

  /** Show an entry of the history, with what can be done with it. */
  show(entry) {
    this.#empty();
    this.#isLive = false;
    this.#tiles = entry.results.map((result) => {
      const tile = this.#tile();
      this.#fill(tile, result, entry.request);
      tile.figure.append(this.#actions(entry, result));
      return tile;
    });
    byId("shown").replaceChildren(...this.#tiles.map(({ figure }) => figure));
  }

  /** End what runs; the pictures that came stay, the places of others go. */
  end() {
    byId("running").hidden = true;
    this.#tiles.filter(({ done }) => !done).forEach(({ figure }) => figure.remove());
    this.#tiles = this.#tiles.filter(({ done }) => done);
    byId("blank").hidden = this.#tiles.length > 0 || !byId("failure").hidden;
  }

  /** Tell what went wrong, null for nothing. */
  fail(failure) {
    const place = byId("failure");
    place.hidden = failure === null;
    if (failure === null) {
      place.replaceChildren();
      return;
    }
    const about = [failure.code, failure.requestId && `request ${failure.requestId}`].filter(Boolean).join(" · ");
    place.replaceChildren(
      element("p", { textContent: failure.message }),
      about ? element("p", { className: "note", textContent: about }) : "",
    );
  }

  #empty() {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [];
    this.#tiles = [];
    byId("blank").hidden = true;
  }

  #tile() {
    const frame = element("div", { className: "frame waiting" });
    return { frame, figure: element("figure", { className: "picture" }, frame), done: false };
  }

  #fill(tile, { blob, seed }, request) {
    const src = this.#url(blob);
    const told = request.fields.prompt ?? "";
    const size = element("span");
    const shown = blob.type.startsWith("video/")
      ? element("video", { src, controls: true, loop: true, muted: true, "aria-label": told || "Clip" })
      : element("img", { src, alt: told || "Picture" });
    const measure = () => setText(size, `${shown.naturalWidth ?? shown.videoWidth} × ${shown.naturalHeight ?? shown.videoHeight}`);
    shown.addEventListener(blob.type.startsWith("video/") ? "loadedmetadata" : "load", measure);
    tile.done = true;
    tile.frame.className = "frame";
    tile.frame.replaceChildren(shown);
    const caption = element("figcaption", {}, told ? element("span", { className: "told", textContent: told }) : "");
    caption.append(seed === null ? "" : element("span", { textContent: `Seed ${seed}` }), size);
    caption.append(element("span", { textContent: request.fields.model ?? "" }));
    tile.figure.replaceChildren(tile.frame, caption);
  }

  #actions(entry, result) {
    const button = (word, act) => element("button", { type: "button", textContent: word, on: { click: act } });
    const isClip = result.blob.type.startsWith("video/");
    return element(
      "div",
      { className: "actions" },
      button("Download", () => download(result)),
      button("Again", () => this.#acts.again(entry, result)),
      isClip ? "" : button("Edit", () => this.#acts.edit(entry, result)),
      button("Copy as code", () => this.#acts.code(entry, result)),
    );
  }

  #measure(share) {
    const progress = byId("progress");
    if (share === null || !Number.isFinite(share)) {
      progress.removeAttribute("value");
    } else {
      progress.value = Math.min(1, share);
    }
  }

  #url(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    return url;
  }
}

function download({ blob, seed }) {
  const ending = { "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4" }[blob.type] ?? "png";
  const href = URL.createObjectURL(blob);
  element("a", { href, download: seed === null ? `clip.${ending}` : `picture-${seed}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
