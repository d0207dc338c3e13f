// What a request waits for, in words.

const STATES = {
  cold: "The model is being woken",
  loading: "The model is loading",
  queued: "Waiting in the queue",
  busy: "Waiting for a free replica",
};

/** Return a line for what a comment tells: state, progress from 0 to 1, waited, position, each of them if it is known. */
export function waitingText({ state, progress, waited, position }) {
  const parts = [STATES[state] ?? "Waiting for the model"];
  if (progress !== undefined && Number.isFinite(Number(progress))) {
    parts.push(`${Math.round(Number(progress) * 100)} %`);
  }
  if (position !== undefined) {
    parts.push(`position ${position}`);
  }
  if (waited !== undefined) {
    parts.push(`waited ${waited.replace(/s$/, " s")}`);
  }
  return parts.join(" · ");
}
