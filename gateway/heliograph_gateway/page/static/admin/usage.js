// What each key used of each model over the last days.

import { ask } from "../shared/api.js";
import { byId, element, setText } from "../shared/dom.js";
import { numberText } from "./units.js";

const DAYS = 7;
const DAY_SECONDS = 86_400;
const NUMBERS = {
  Requests: ["num_requests", 0],
  Pictures: ["images", 0],
  Megapixels: ["megapixels", 1],
  Steps: ["steps", 0],
  Seconds: ["seconds", 1],
  "GPU seconds": ["gpu_seconds", 1],
};

/** Ask for the usage and show it. */
export async function showUsage() {
  const today = Math.floor(Date.now() / 1000 / DAY_SECONDS) * DAY_SECONDS;
  const start = today - (DAYS - 1) * DAY_SECONDS;
  const query = new URLSearchParams([
    ["start_time", start],
    ["bucket_width", "1d"],
    ["limit", DAYS],
    ["group_by", "key"],
    ["group_by", "model"],
  ]);
  const { data } = await ask(`v1/usage?${query}`);
  const sums = summed(data.flatMap(({ results }) => results));
  setText(byId("usage-range"), `Last ${DAYS} days (UTC)`);
  setText(byId("usage-note"), sums.length ? "" : "Nothing was drawn in this time.");
  byId("usage").hidden = !sums.length;
  byId("usage").replaceChildren(table(sums));
}

/** Return one row for each key and model, those that drew most first. */
function summed(results) {
  const rows = new Map();
  for (const result of results) {
    const id = JSON.stringify([result.key, result.model]);
    const row = rows.get(id) ?? { key: result.key, model: result.model };
    for (const name of ["num_requests", "images", "pixels", "steps", "seconds", "gpu_seconds"]) {
      row[name] = (row[name] ?? 0) + (result[name] ?? 0);
    }
    row.megapixels = row.pixels / 1e6;
    rows.set(id, row);
  }
  return [...rows.values()].sort((one, other) => other.images - one.images);
}

function table(rows) {
  const head = [heading("Key"), heading("Model"), ...Object.keys(NUMBERS).map((word) => heading(word, "number"))];
  const body = rows.map((row) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", textContent: row.key || "no key" }),
      element("td", { textContent: row.model ?? "" }),
      ...Object.values(NUMBERS).map(([name, digits]) =>
        element("td", { className: "number", textContent: numberText(row[name], digits) }),
      ),
    ),
  );
  const caption = element("caption", { className: "unseen", textContent: "Usage by key and model" });
  return element("table", {}, caption, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

function heading(word, className = "") {
  return element("th", { scope: "col", textContent: word, className });
}
