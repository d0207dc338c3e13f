// The fields of the settings: made anew for each model and task, with what the person wrote kept.

import { byId, element, setAttribute } from "../shared/dom.js";
import { LORA } from "./parameters.js";

const GROUPS = { first: "fields-first", main: "fields-main", more: "fields-more" };

export class Form {
  #fields = new Map();
  #written = new Map();

  /** Show fields as `fieldsOf` returns them. */
  show(fields) {
    this.#fields = new Map(fields.map((field) => [field.name, field]));
    for (const [group, id] of Object.entries(GROUPS)) {
      const made = fields.filter((field) => field.group === group).map((field) => this.#field(field));
      byId(id).replaceChildren(...made);
    }
    byId("more").hidden = !fields.some((field) => field.group === "more");
  }

  /** Return what differs from the model's own values, as a request says it. */
  values() {
    const found = {};
    const loras = [];
    for (const field of this.#fields.values()) {
      const text = this.#written.get(field.name);
      if (text === undefined || text === "" || text === textOf(field.initial)) {
        continue;
      }
      if (field.name.startsWith(LORA)) {
        loras.push({ id: field.name.slice(LORA.length), scale: valueOf(field, text) });
      } else {
        found[field.name] = valueOf(field, text);
      }
    }
    return loras.length ? { ...found, loras } : found;
  }

  /** Set the fields to what a request says; those that it leaves out become the model's own. */
  fill(values) {
    const { loras = [], ...others } = values;
    const weights = loras.map(({ id, scale }) => [LORA + id, textOf(scale)]);
    this.#written = new Map([...Object.entries(others).map(([name, value]) => [name, textOf(value)]), ...weights]);
    this.show([...this.#fields.values()]);
  }

  #field(field) {
    const control = this.#control(field);
    const problem = element("p", { className: "problem", id: `${field.name}-problem`, hidden: true });
    if (field.type === "boolean") {
      return element("div", { className: "field" }, element("label", { className: "check" }, control, field.label), problem);
    }
    const label = element("label", { for: field.name, textContent: field.label });
    const bounds = boundsOf(field);
    const note = bounds ? element("p", { className: "note", id: `${field.name}-note`, textContent: bounds }) : null;
    setAttribute(control, "aria-describedby", note ? `${field.name}-problem ${field.name}-note` : `${field.name}-problem`);
    return element("div", { className: "field" }, label, control, problem, note);
  }

  #control(field) {
    const text = this.#written.get(field.name) ?? textOf(field.initial);
    const about = { id: field.name, name: field.name, autocomplete: "off" };
    let control;
    if (field.type === "boolean") {
      control = element("input", { ...about, type: "checkbox", checked: text === "true" });
      control.addEventListener("change", () => this.#written.set(field.name, String(control.checked)));
      return control;
    }
    if (field.choices) {
      control = element("select", about, ...options(field));
      control.value = text;
    } else if (field.long) {
      control = element("textarea", { ...about, rows: 1, value: text });
    } else {
      // A number field drops what is no number; as text it reaches the gateway, which says what is wrong with it.
      const mode = { integer: "numeric", number: "decimal" }[field.type] ?? "text";
      control = element("input", { ...about, type: "text", inputMode: mode, placeholder: field.empty, value: text });
      control.addEventListener("keydown", (event) => step(event, control, field));
    }
    control.addEventListener("input", () => this.#written.set(field.name, control.value.trim()));
    return control;
  }
}

function options(field) {
  const own = field.initial === null ? [element("option", { value: "", textContent: field.empty })] : [];
  return [...own, ...field.choices.map((choice) => element("option", { value: choice, textContent: choice }))];
}

/** Let the arrow keys change a number, as they do in a number field. */
function step(event, control, field) {
  const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (!direction || field.type === "string" || event.altKey || event.ctrlKey || event.metaKey) {
    return;
  }
  const now = Number(control.value || field.initial || field.least || 0);
  if (!Number.isFinite(now)) {
    return;
  }
  event.preventDefault();
  const size = field.type === "integer" ? 1 : (field.most ?? 100) <= 2 ? 0.05 : 0.5;
  const next = Math.round((now + direction * size) * 100) / 100;
  control.value = String(Math.min(field.most ?? next, Math.max(field.least ?? 0, next)));
  control.dispatchEvent(new Event("input"));
}

function boundsOf(field) {
  if (field.choices || field.least === null || field.most === null || field.name === "seed") {
    return "";
  }
  return `${field.least} to ${field.most}`;
}

function textOf(value) {
  return value === null || value === undefined ? "" : String(value);
}

function valueOf(field, text) {
  if (field.type === "boolean") {
    return text === "true";
  }
  const number = Number(text);
  const exact = field.type === "number" ? Number.isFinite(number) : Number.isSafeInteger(number);
  return field.type !== "string" && exact ? number : text;
}
