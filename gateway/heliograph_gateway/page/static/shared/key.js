// The API key: kept for the tab, or for good where the person asks for it, and asked for when the gateway wants one.

import { byId, setText } from "./dom.js";
import { forGood, forTheSession } from "./storage.js";

const NAME = "api-key";

let asking = null;

/** Return the key, or null where none was given. */
export function apiKey() {
  return forTheSession.get(NAME) ?? forGood.get(NAME);
}

/**
 * Ask for a key; return whether one was given. Requests that fail at the same time are answered by one dialog.
 *
 * @param {string|null} refused The key that was refused, if any.
 */
export function askForKey(refused = null) {
  if (refused !== apiKey()) {
    // Another request got a newer one meanwhile.
    return Promise.resolve(apiKey() !== null);
  }
  asking ??= open(refused === null ? "" : "The gateway does not accept this key.").finally(() => {
    asking = null;
  });
  return asking;
}

/** Make the button in the header work. */
export function startKey() {
  byId("key").addEventListener("click", () => {
    asking ??= open("").finally(() => {
      asking = null;
    });
  });
  show();
}

function open(problem) {
  const dialog = byId("key-dialog");
  const input = byId("key-input");
  const remember = byId("key-remember");
  input.value = "";
  remember.checked = forGood.get(NAME) !== null;
  setText(byId("key-problem"), problem);
  byId("key-problem").hidden = !problem;
  byId("key-forget").hidden = apiKey() === null;
  input.setAttribute("aria-invalid", String(Boolean(problem)));
  dialog.returnValue = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(take(dialog.returnValue, input.value.trim(), remember.checked)), {
      once: true,
    });
  });
}

function take(answer, key, remember) {
  if (answer === "forget" || (answer === "use" && key)) {
    forTheSession.remove(NAME);
    forGood.remove(NAME);
  }
  if (answer === "use" && key) {
    forTheSession.set(NAME, key);
    if (remember) {
      forGood.set(NAME, key);
    }
  }
  byId("key-input").value = "";
  show();
  return answer === "use" && Boolean(key);
}

function show() {
  setText(byId("key-state"), apiKey() === null ? "API key" : "API key set");
}
