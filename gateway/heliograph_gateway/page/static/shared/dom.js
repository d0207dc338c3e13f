// Making and finding elements. Text is always set as text, so that nothing that a server says becomes markup.

/** Return the element with an id, which must be there. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) {
    throw new Error(`#${id} is missing`);
  }
  return found;
}

/**
 * Return a new element.
 *
 * Keys of `properties`: `on` holds listeners, `data` what goes into the dataset; those with a dash, and `role`, `for` and
 * `list`, are attributes, and all others properties.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      Object.entries(value).forEach(([event, listener]) => made.addEventListener(event, listener));
    } else if (name === "data") {
      Object.assign(made.dataset, value);
    } else if (name.includes("-") || ["role", "for", "list"].includes(name)) {
      setAttribute(made, name, value);
    } else if (value !== undefined) {
      made[name] = value;
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Set an attribute, or remove it where the value is null or false. */
export function setAttribute(target, name, value) {
  if (value === null || value === undefined || value === false) {
    target.removeAttribute(name);
  } else {
    target.setAttribute(name, String(value));
  }
}

/** Set a text only where it differs: a live region would be read out again otherwise. */
export function setText(target, text) {
  if (target.textContent !== text) {
    target.textContent = text;
  }
}

const SVG = "http://www.w3.org/2000/svg";

/** Return an icon that is drawn in the colour of the text around it, and that screen readers pass over. */
export function icon(path) {
  const drawing = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}
