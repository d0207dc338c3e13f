// Requests to the gateway: the key goes along, and whatever goes wrong is one kind of error.

import { apiKey, askForKey } from "./key.js";

/**
 * What the gateway, or the way to it, answered other than success.
 *
 * `status` is 0 where no answer came; `param` the field at fault; `code` the reason for machines.
 */
export class Failure extends Error {
  constructor(message, { status = 0, code = null, param = null, requestId = null } = {}) {
    super(message);
    this.name = "Failure";
    this.status = status;
    this.code = code;
    this.param = param;
    this.requestId = requestId;
  }
}

/** Return the address of a path of the gateway, which may be behind a prefix. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/**
 * Send a request and return the answer, a success.
 *
 * `json` or `form` is the body. Where the gateway wants a key, or another one, it is asked for and the request repeated:
 * nothing was done by then.
 */
export async function send(path, { method = "GET", json, form, signal } = {}) {
  for (;;) {
    const key = apiKey();
    const headers = {};
    if (key !== null) {
      headers.Authorization = `Bearer ${key}`;
    }
    if (json !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const body = json === undefined ? form : JSON.stringify(json);
    const answer = await reach(address(path), { method, headers, body, signal });
    if (answer.ok) {
      return answer;
    }
    const failure = await read(answer);
    if (answer.status !== 401 || signal?.aborted || !(await askForKey(key))) {
      throw failure;
    }
  }
}

/** Return the JSON of an answer. */
export async function ask(path, options) {
  return (await send(path, options)).json();
}

/** Return the error of OpenAI's envelope. */
export function failureOf(error, { status = 0, requestId = null } = {}) {
  return new Failure(error?.message ?? "Something went wrong.", {
    status,
    code: error?.code ?? null,
    param: error?.param ?? null,
    requestId,
  });
}

async function reach(url, options) {
  try {
    return await fetch(url, { ...options, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (options.signal?.aborted) {
      throw error;
    }
    throw new Failure("The gateway can't be reached. Check the connection, then try again.", { code: "unreachable" });
  }
}

async function read(answer) {
  const about = { status: answer.status, requestId: answer.headers.get("x-request-id") };
  try {
    return failureOf((await answer.json()).error, about);
  } catch {
    return new Failure(`The gateway answered ${answer.status}.`, about);
  }
}
