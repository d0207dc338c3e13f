// The admin page: models, replicas and queues, and what each key used.

import { Failure, ask } from "../shared/api.js";
import { byId, element, setText } from "../shared/dom.js";
import { startKey } from "../shared/key.js";
import { repeat } from "../shared/polling.js";
import { startTheme } from "../shared/theme.js";
import { ModelCards } from "./models.js";
import { showUsage } from "./usage.js";

const SECONDS = 2;
/** Usage is summed from a database, and changes slowly. */
const USAGE_TURNS = 5;

const cards = new ModelCards();
let told = "";
let turns = 0;

async function update() {
  if (!byId("live").checked) {
    return;
  }
  try {
    const { data: models } = await ask("v1/admin/models");
    cards.show(models);
    showTotals(models);
    announce(models);
    setText(byId("models-note"), "No model is served yet. Create an ImageModel, and it appears here.");
    byId("models-note").hidden = models.length > 0;
    if (turns % USAGE_TURNS === 0) {
      await showUsage();
    }
    turns += 1;
    setText(byId("updated"), `Updated ${new Date().toLocaleTimeString()}`);
    showFailure(null);
  } catch (error) {
    if (!(error instanceof Failure)) {
      throw error;
    }
    showFailure(error);
  }
}

function showTotals(models) {
  const sum = (number) => models.reduce((total, model) => total + number(model), 0);
  const totals = {
    Models: models.length,
    Ready: models.filter(({ state }) => state === "ready").length,
    Failed: models.filter(({ state }) => state === "failed").length,
    "At work": sum(({ replicas }) => replicas.reduce((total, { outstanding }) => total + outstanding, 0)),
    Waiting: sum(({ held }) => held),
  };
  const shown = Object.entries(totals).map(([word, value]) =>
    element("div", {}, element("dt", { textContent: word }), element("dd", { textContent: String(value) })),
  );
  byId("totals").replaceChildren(...shown);
}

/** Say a change of state to those who can't see it; what stays as it is is not repeated. */
function announce(models) {
  const states = models.map(({ id, state }) => `${id} is ${state}`).join(", ");
  if (told && states !== told) {
    setText(byId("news"), states);
  }
  told = states;
}

function showFailure(failure) {
  const place = byId("failure");
  place.hidden = failure === null;
  if (failure === null) {
    place.replaceChildren();
  } else if (place.textContent !== failure.message) {
    place.replaceChildren(element("p", { textContent: failure.message }));
    setText(byId("models-note"), "");
  }
}

startTheme();
startKey();
const refresh = repeat(update, () => SECONDS);
byId("live").addEventListener("change", refresh);
