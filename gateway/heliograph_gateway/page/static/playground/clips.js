// Asking for a clip: a job that is looked after until it ends.

import { Failure, ask, send } from "../shared/api.js";
import { bodyOf } from "./drawing.js";

const POLL_MS = 1000;

/** Have a clip drawn, and yield what happens, as `draw` does for pictures. */
export async function* drawClip(request, signal) {
  let job = await ask(request.path, { method: "POST", ...bodyOf(request), signal });
  const path = `v1/videos/${encodeURIComponent(job.id)}`;
  try {
    while (job.status === "queued" || job.status === "in_progress") {
      yield job.status === "queued" ? { wait: { state: "queued" } } : { percent: job.progress ?? 0 };
      await pause(POLL_MS, signal);
      job = await ask(path, { signal });
    }
  } catch (error) {
    if (signal.aborted) {
      await ask(path, { method: "DELETE" }).catch(() => {});
    }
    throw error;
  }
  if (job.status !== "completed") {
    throw new Failure(job.error?.message ?? "The clip failed.", { code: job.error?.code ?? null });
  }
  const clip = await (await send(`${path}/content`, { signal })).blob();
  yield { index: 0, blob: clip, seed: null };
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
