// The models with their replicas and queues, as cards that are brought up to date in place.

import { byId, element, setText } from "../shared/dom.js";
import { showState, stateBadge } from "../shared/states.js";
import { memoryText } from "./units.js";

const COLUMNS = ["Replica", "State", "Requests", "Sent by this gateway", "Pictures queued", "GPU"];

export class ModelCards {
  #cards = new Map();

  /** Show models as the admin API tells of them. */
  show(models) {
    const names = new Set(models.map(nameOf));
    for (const [name, card] of this.#cards) {
      if (!names.has(name)) {
        card.root.remove();
        this.#cards.delete(name);
      }
    }
    models.forEach((model, index) => {
      const name = nameOf(model);
      const card = this.#cards.get(name) ?? new Card(name);
      this.#cards.set(name, card);
      const place = byId("models").children[index] ?? null;
      if (place !== card.root) {
        byId("models").insertBefore(card.root, place);
      }
      card.show(model);
    });
  }
}

class Card {
  #badge = stateBadge();
  #title = element("h3");
  #also = element("span", { className: "note" });
  #why = element("p", { className: "why", hidden: true });
  #figures = element("dl", { className: "figures" });
  #queue = element("p", { className: "note", hidden: true });
  #rows = element("tbody");
  #table;

  constructor(name) {
    const head = element("tr", {}, ...COLUMNS.map((word, index) => cell("th", word, index > 1 && index < 5, "col")));
    const caption = element("caption", { className: "unseen", textContent: `Replicas of ${name}` });
    const table = element("table", {}, caption, element("thead", {}, head), this.#rows);
    this.#table = element("div", { className: "scroll", role: "region", "aria-label": `Replicas of ${name}`, tabIndex: 0 }, table);
    const top = element("div", { className: "top" }, this.#title, this.#also, this.#badge);
    this.root = element("article", { className: "card" }, top, this.#why, this.#figures, this.#queue, this.#table);
  }

  show(model) {
    setText(this.#title, model.id);
    setText(this.#also, [nameOf(model) === model.id ? "" : nameOf(model), ...model.aliases].filter(Boolean).join(" · "));
    showState(this.#badge, model);
    const why = [model.reason, model.message].filter(Boolean).join(": ");
    setText(this.#why, why);
    this.#why.hidden = !why || model.state === "ready";
    this.#showFigures(model);
    setText(this.#queue, waitingText(model.queue));
    this.#queue.hidden = !this.#queue.textContent;
    this.#rows.replaceChildren(...model.replicas.map(row));
    this.#table.hidden = !model.replicas.length;
  }

  #showFigures(model) {
    const figures = {
      "Ready replicas": `${model.replicas.filter(({ ready }) => ready).length} of ${model.wanted}`,
      "At work": model.replicas.reduce((sum, { outstanding }) => sum + outstanding, 0),
      Held: model.held,
    };
    const shown = Object.entries(figures).map(([word, value]) =>
      element("div", {}, element("dt", { textContent: word }), element("dd", { textContent: String(value) })),
    );
    this.#figures.replaceChildren(...shown);
  }
}

function nameOf({ namespace, name }) {
  return namespace ? `${namespace}/${name}` : name;
}

function waitingText(queue) {
  const shares = Object.entries(queue).map(([owner, requests]) => `${owner || "no key"} ${requests}`);
  return shares.length ? `Waiting by key: ${shares.join(", ")}` : "";
}

function row({ address, ready, busy, requests, outstanding, queue, gpu }) {
  const doing = busy === null ? "Ready; tells no more" : busy ? "Drawing" : "Idle";
  const shown = (value) => (value === null ? "–" : String(value));
  const gpus = element("td");
  gpus.append(gpu ? gpuOf(gpu) : "–");
  return element(
    "tr",
    {},
    cell("th", address, false, "row"),
    cell("td", ready ? doing : "Not ready"),
    cell("td", shown(requests), true),
    cell("td", String(outstanding), true),
    cell("td", shown(queue), true),
    gpus,
  );
}

function gpuOf({ name, count, memory_used: used, memory_total: total }) {
  const what = count > 1 ? `${count} × ${name}` : name;
  const meter = element("meter", { max: total, value: used, "aria-label": `GPU memory of ${what}` });
  return element("span", { className: "gpu" }, what, meter, memoryText(used, total));
}

function cell(tag, text, isNumber = false, scope = undefined) {
  return element(tag, { textContent: text, className: isNumber ? "number" : "", ...(scope && { scope }) });
}
