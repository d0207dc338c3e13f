// What a model's state is called and looks like.

import { element, setText } from "./dom.js";

const WORDS = { ready: "Ready", cold: "Cold", loading: "Loading", failed: "Failed", disabled: "Disabled" };

/** Return the state that an entry of /v1/models tells: what `heliograph` says, or nothing. */
export function stateOf(model) {
  return model?.heliograph ?? {};
}

/** Return an element that shows a state, to be brought up to date by `showState`. */
export function stateBadge() {
  return element("span", { className: "badge" });
}

export function showState(badge, state) {
  const word = WORDS[state.state] ?? "";
  const percent = state.state === "loading" && typeof state.progress === "number";
  setText(badge, percent ? `${word} ${Math.round(state.progress * 100)} %` : word);
  badge.dataset.state = state.state ?? "";
  badge.hidden = !word;
}

/** Return why a model is as it is, for people. */
export function explanation(state) {
  if (["failed", "loading"].includes(state.state)) {
    return state.message || state.reason || "";
  }
  return "";
}
