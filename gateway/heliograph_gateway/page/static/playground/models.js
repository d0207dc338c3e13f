// The list of models with their states, kept up to date; and what the chosen one can do.

import { Failure, ask } from "../shared/api.js";
import { byId, element, setText } from "../shared/dom.js";
import { repeat } from "../shared/polling.js";
import { explanation, showState, stateBadge, stateOf } from "../shared/states.js";
import { forGood } from "../shared/storage.js";

const CALM_SECONDS = 4;
const EAGER_SECONDS = 1;
/** From so many models on there is a field to find one by. */
const MANY = 7;

export class Models {
  #rows = new Map();
  #known = new Map();
  #chosen = null;
  #details = null;
  #refused = null;
  #eager = false;
  #refresh = () => {};
  #onChange;

  /** `onChange` is called when another model was chosen, or more is known of what the chosen one can do. */
  constructor(onChange) {
    this.#onChange = onChange;
    byId("model-filter").addEventListener("input", () => this.#filter());
    byId("wake-button").addEventListener("click", () => this.#wake());
  }

  start() {
    this.#refresh = repeat(
      () => this.#update(),
      () => (this.#eager ? EAGER_SECONDS : CALM_SECONDS),
    );
  }

  /** Ask now, as where a request may have changed a state. */
  refresh() {
    this.#refresh();
  }

  /** Id of the chosen model; null where there is none. */
  get chosen() {
    return this.#chosen;
  }

  /** What the chosen model can do, `heliograph.capabilities`; null as long as nobody knows. */
  get capabilities() {
    return stateOf(this.#details).capabilities ?? null;
  }

  choose(id) {
    const row = this.#rows.get(id);
    if (row && this.#chosen !== id) {
      row.radio.checked = true;
      this.#select(id);
    }
  }

  async #update() {
    try {
      this.#list((await ask("v1/models")).data);
    } catch (error) {
      if (!(error instanceof Failure)) {
        throw error;
      }
      setText(byId("models-note"), error.message);
      byId("models-note").hidden = false;
      return;
    }
    const wanted = stateOf(this.#known.get(this.#chosen)).state;
    const told = stateOf(this.#details);
    if (this.#chosen !== null && (told.state !== wanted || (wanted === "ready" && !told.capabilities))) {
      await this.#learn();
    }
  }

  #list(models) {
    const byName = [...models].sort((one, other) => one.id.localeCompare(other.id));
    this.#known = new Map(byName.map((model) => [model.id, model]));
    for (const [id, row] of this.#rows) {
      if (!this.#known.has(id)) {
        row.label.remove();
        this.#rows.delete(id);
      }
    }
    let place = byId("model-list").firstElementChild;
    for (const model of byName) {
      const row = this.#rows.get(model.id) ?? this.#row(model.id);
      if (row.label === place) {
        place = place.nextElementSibling;
      } else {
        byId("model-list").insertBefore(row.label, place);
      }
      showState(row.badge, stateOf(model));
      setText(row.why, explanation(stateOf(model)));
      row.why.hidden = !row.why.textContent;
    }
    setText(byId("models-note"), "No model is served yet. Create an ImageModel, and it appears here.");
    byId("models-note").hidden = byName.length > 0;
    byId("model-filter").hidden = byName.length < MANY;
    if (!this.#known.has(this.#chosen)) {
      this.#chooseFirst(byName);
    }
    this.#eager = byName.some((model) => stateOf(model).state === "loading");
    this.#showWake();
  }

  #row(id) {
    const badge = stateBadge();
    const why = element("span", { className: "note" });
    const radio = element("input", { type: "radio", name: "model", value: id, on: { change: () => this.#select(id) } });
    const name = element("span", { className: "model-name", textContent: id });
    const row = { label: element("label", { className: "model" }, radio, name, badge, why), radio, badge, why };
    this.#rows.set(id, row);
    return row;
  }

  #chooseFirst(models) {
    const last = this.#known.get(forGood.get("model"));
    const ready = models.find((model) => stateOf(model).state === "ready");
    const first = last ?? ready ?? models[0];
    this.#chosen = null;
    if (first) {
      this.choose(first.id);
      this.#rows.get(first.id).label.scrollIntoView({ block: "nearest" });
    }
  }

  #select(id) {
    this.#chosen = id;
    this.#details = null;
    forGood.set("model", id);
    this.#showWake();
    this.#onChange();
    this.#learn();
  }

  async #learn() {
    const id = this.#chosen;
    let details;
    try {
      details = await ask(`v1/models/${encodeURIComponent(id)}`);
    } catch {
      // The list tells what is wrong; the next turn tries again.
      return;
    }
    if (id === this.#chosen) {
      const before = JSON.stringify(this.capabilities);
      this.#details = details;
      if (JSON.stringify(this.capabilities) !== before) {
        this.#onChange();
      }
    }
  }

  #filter() {
    const wanted = byId("model-filter").value.trim().toLowerCase();
    for (const [id, row] of this.#rows) {
      row.label.hidden = !id.toLowerCase().includes(wanted) && id !== this.#chosen;
    }
  }

  #showWake() {
    const { state } = stateOf(this.#known.get(this.#chosen));
    byId("wake").hidden = state !== "cold";
    if (state === "cold") {
      const refused = this.#refused?.id === this.#chosen ? this.#refused.message : null;
      setText(byId("wake-note"), refused ?? "No replica runs. Load it now, or draw: the request waits for it.");
    }
  }

  async #wake() {
    const button = byId("wake-button");
    button.setAttribute("aria-disabled", "true");
    try {
      await ask(`v1/models/${encodeURIComponent(this.#chosen)}/load`, { method: "POST" });
      this.#eager = true;
      this.#refresh();
    } catch (error) {
      this.#refused = { id: this.#chosen, message: error.message };
      this.#showWake();
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
}
