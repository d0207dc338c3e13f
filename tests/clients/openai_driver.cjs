// Does with OpenAI's client for Node what its standard input asks for, one line of JSON each; see driven.py.
// Arguments: the folder that has node_modules, and the name of the package there.
"use strict";

const fs = require("node:fs");
const { createRequire } = require("node:module");
const path = require("node:path");
const readline = require("node:readline");

const [folder, name] = process.argv.slice(2);
const OpenAI = createRequire(path.join(folder, "package.json"))(name);
const { APIError, toFile } = OpenAI;

const camelCase = (text) => text.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

async function withFiles(value) {
  if (Array.isArray(value)) return Promise.all(value.map(withFiles));
  if (value === null || typeof value !== "object") return value;
  if ("$stream" in value) return fs.createReadStream(value.$stream);
  if ("$bytes" in value) return toFile(fs.readFileSync(value.$bytes));
  const parts = Object.entries(value).map(async ([key, part]) => [key, await withFiles(part)]);
  return Object.fromEntries(await Promise.all(parts));
}

function described(error) {
  if (!(error instanceof APIError)) throw error;
  return {
    kind: error.constructor.name,
    status: error.status ?? null,
    request_id: error.requestID ?? null,
    message: error.message,
    type: error.type ?? null,
    code: error.code ?? null,
    param: error.param ?? null,
  };
}

async function collected(stream) {
  const events = [];
  try {
    for await (const event of stream) events.push(event);
  } catch (error) {
    return { events, error: described(error) };
  }
  return { events };
}

async function shown(value) {
  if (value instanceof Response) return { base64: Buffer.from(await value.arrayBuffer()).toString("base64") };
  return "data" in value && "object" in value ? { object: value.object, data: value.data } : value;
}

async function answer(asked) {
  const { base_url: baseURL, api_key: apiKey, max_retries: maxRetries, timeout } = asked.client;
  const client = new OpenAI({ baseURL, apiKey, maxRetries, timeout: timeout * 1000 });
  // Python's client takes fields that it does not know apart from those that it knows.
  const { extra_body: extra, ...known } = await withFiles(asked.keywords);
  const fields = { ...known, ...extra };
  const given = Object.keys(fields).length ? [...asked.arguments, fields] : asked.arguments;
  const [resource, method] = asked.call.split(".");
  try {
    const promise = client[resource][camelCase(method)](...given);
    if (fields.stream) return await collected(await promise);
    const { data, response } = await promise.withResponse();
    return { value: await shown(data), headers: Object.fromEntries(response.headers) };
  } catch (error) {
    return { error: described(error) };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}

main();
