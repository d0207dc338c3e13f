// Asking for pictures, and telling of them as they come.

import { Failure, failureOf, send } from "../shared/api.js";
import { eventsOf, toldBy } from "./stream.js";

const PREVIEWS = 3;

/** Return a request's body as `send` takes it: JSON, or a form where files go along. */
export function bodyOf({ fields, files }, more = {}) {
  const content = { ...fields, ...more };
  if (!files.length) {
    return { json: content };
  }
  const form = new FormData();
  Object.entries(content).forEach(([name, value]) => form.append(name, formText(value)));
  files.forEach(({ name, blob, filename }) => form.append(name, blob, filename));
  return { form };
}

/** Return a value as a field of a form says it; lists are JSON. */
export function formText(value) {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/**
 * Draw, and yield what happens: `{wait}`, `{index, done, steps}`, `{index, preview}` with an unfinished picture as a
 * file, `{index, blob, seed}` with a finished one.
 */
export async function* draw(request, signal) {
  const body = bodyOf(request, { stream: true, stream_format: "openai", partial_images: PREVIEWS });
  const answer = await send(request.path, { method: "POST", ...body, signal });
  let finished = 0;
  for await (const { comment, data } of eventsOf(answer)) {
    if (comment !== undefined) {
      const told = toldBy(comment);
      if (told) {
        yield told;
      }
      continue;
    }
    const event = parsed(data);
    if (event.error) {
      throw failureOf(event.error, { requestId: answer.headers.get("x-request-id") });
    }
    const index = event.index ?? 0;
    if (event.type?.endsWith(".partial_image")) {
      yield { index, preview: fileOf(event.b64_json, event.output_format) };
    } else if (event.type?.endsWith(".completed")) {
      finished += 1;
      yield { index, blob: fileOf(event.b64_json, event.output_format, event.mime_type), seed: event.seed ?? null };
    }
  }
  if (!finished) {
    throw new Failure("The connection broke before a picture came. Try again.", { code: "incomplete" });
  }
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Failure("The answer can't be read; is there another server at this address?", { code: "unreadable" });
  }
}

function fileOf(b64, format, type) {
  const bytes = Uint8Array.from(atob(b64), (character) => character.charCodeAt(0));
  return new Blob([bytes], { type: type ?? `image/${format ?? "png"}` });
}
