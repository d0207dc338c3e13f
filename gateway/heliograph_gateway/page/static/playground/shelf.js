// The history on the page.

import { byId, element, setText } from "../shared/dom.js";
import { Store } from "./store.js";
import { thumbnailOf } from "./thumbnails.js";

export class Shelf {
  #store = new Store();
  #entries = [];
  #urls = [];
  #current = null;
  #stays = true;
  #onOpen;

  /** `onOpen` is called with an entry that is to be shown. */
  constructor(onOpen) {
    this.#onOpen = onOpen;
    byId("history-clear").addEventListener("click", () => byId("clear-dialog").showModal());
    byId("clear-dialog").addEventListener("close", () => {
      if (byId("clear-dialog").returnValue === "clear") {
        this.#clear();
      }
    });
  }

  async start() {
    this.#stays = await this.#store.open();
    await this.#load();
  }

  /** Keep what a request drew: `results` holds `{blob, seed}` for each picture. Return the entry. */
  async add(request, results) {
    const entry = {
      id: Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(""),
      created: Date.now(),
      request,
      results,
      thumbnail: await thumbnailOf(results[0].blob),
    };
    await this.#store.put(entry);
    await this.#load();
    return entry;
  }

  /** Mark the entry that is shown on the stage; null for none. */
  mark(entry) {
    this.#current = entry?.id ?? null;
    for (const item of byId("shelf").children) {
      item.firstElementChild.setAttribute("aria-current", String(item.dataset.id === this.#current));
    }
  }

  async #load() {
    this.#entries = await this.#store.all();
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls = [];
    byId("shelf").replaceChildren(...this.#entries.map((entry) => this.#item(entry)));
    byId("history-clear").hidden = !this.#entries.length;
    const where = this.#stays ? "Kept in this browser only." : "Kept until the page is closed: storage is blocked.";
    setText(byId("history-note"), this.#entries.length ? where : "What you draw is kept here, in this browser only.");
  }

  #item(entry) {
    const told = entry.request.fields.prompt || "no prompt";
    const seed = entry.results[0].seed;
    const name = seed === null ? told : `${told}, seed ${seed}`;
    const open = element("button", { type: "button", className: "entry", title: name, on: { click: () => this.#onOpen(entry) } });
    open.setAttribute("aria-label", `Show: ${name}`);
    open.setAttribute("aria-current", String(entry.id === this.#current));
    if (entry.thumbnail) {
      const src = URL.createObjectURL(entry.thumbnail);
      this.#urls.push(src);
      open.append(element("img", { src, alt: "" }));
    } else {
      open.append("Clip");
    }
    const remove = element("button", { type: "button", className: "remove", textContent: "×", on: { click: () => this.#remove(entry) } });
    remove.setAttribute("aria-label", `Delete: ${name}`);
    return element("li", { data: { id: entry.id } }, open, remove);
  }

  async #remove(entry) {
    const place = this.#entries.indexOf(entry);
    await this.#store.remove(entry.id);
    await this.#load();
    // The button that had the focus is gone; the next one is near.
    const next = byId("shelf").children[Math.min(place, this.#entries.length - 1)];
    (next?.querySelector(".remove") ?? byId("stage")).focus();
  }

  async #clear() {
    await this.#store.clear();
    await this.#load();
    byId("stage").focus();
  }
}
