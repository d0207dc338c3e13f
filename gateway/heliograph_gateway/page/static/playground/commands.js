// A request as a command: for a shell with curl, and for Python with OpenAI's client.

import { address } from "../shared/api.js";
import { formText } from "./drawing.js";

const KEY = "HELIOGRAPH_API_KEY";
/** What OpenAI's client knows of its methods; the rest goes into `extra_body`. Its methods for clips are deprecated. */
const KNOWN = {
  "v1/images/generations": ["model", "prompt", "n", "size", "output_format", "output_compression", "response_format"],
  "v1/images/edits": ["model", "prompt", "n", "size", "output_format", "output_compression", "response_format"],
  "v1/images/variations": ["model", "n", "size", "response_format"],
};
const METHODS = {
  "v1/images/generations": "images.generate",
  "v1/images/edits": "images.edit",
  "v1/images/variations": "images.create_variation",
};
/** Files that OpenAI's client uploads; the others go along in base64. */
const UPLOADED = { "v1/images/edits": ["image", "mask"], "v1/images/variations": ["image"] };

const SAVE = `import base64, json, sys
answer = json.load(sys.stdin)
if "error" in answer:
    sys.exit(answer["error"]["message"])
for number, picture in enumerate(answer["data"], start=1):
    with open(f"picture-{number}.ENDING", "wb") as file:
        file.write(base64.b64decode(picture["b64_json"]))`;

/** Return the command for a shell. */
export function curlOf(request) {
  const isClip = request.path === "v1/videos";
  const body = isClip ? request.fields : { ...request.fields, response_format: "b64_json" };
  const lines = [`curl -sS ${quoted(address(request.path))}`, `-H "Authorization: Bearer $${KEY}"`];
  if (request.files.length) {
    Object.entries(body).forEach(([name, value]) => lines.push(`--form-string ${quoted(`${name}=${formText(value)}`)}`));
    request.files.forEach(({ name, filename }) => lines.push(`-F ${quoted(`${name}=@${filename}`)}`));
  } else {
    lines.push("-H 'Content-Type: application/json'", `--data-raw ${quoted(JSON.stringify(body))}`);
  }
  const call = lines.join(" \\\n  ");
  if (isClip) {
    return clipInShell(call, request);
  }
  return `${call} \\\n  | python3 -c ${quoted(SAVE.replace("ENDING", endingOf(request)))}\n`;
}

/** Return the program for Python. */
export function pythonOf(request) {
  const base = address("v1");
  const head = ["import base64", "import os", "", "from openai import OpenAI"];
  const client = `client = OpenAI(base_url=${literal(base)}, api_key=os.environ.get("${KEY}", "none"))`;
  const uploaded = UPLOADED[request.path] ?? [];
  const encoded = request.files.filter(({ name }) => !uploaded.includes(name));
  const helper = encoded.length ? [...ENCODED, ""] : [];
  if (request.path === "v1/videos") {
    const modules = [...(encoded.length ? ["import base64"] : []), "import os", "import time"];
    const imports = [...modules, "", "from openai import HttpxBinaryResponseContent, OpenAI"];
    const call = postOf(request, request.fields, { encoded, type: "object" });
    return text([...imports, "", ...helper, client, `video = ${call}`, ...CLIP_IN_PYTHON]);
  }
  const call = callOf(request, { ...request.fields, response_format: "b64_json" }, { uploaded, encoded });
  if (!(request.path in METHODS)) {
    head.push("from openai.types import ImagesResponse");
  }
  return text([...head, "", ...helper, client, `answer = ${call}`, ...saveInPython(request)]);
}

const ENCODED = ["", "def encoded(path):", '    with open(path, "rb") as file:', "        return base64.b64encode(file.read()).decode()", ""];

const CLIP_IN_PYTHON = [
  'while video["status"] in ("queued", "in_progress"):',
  "    time.sleep(1)",
  `    video = client.get(f"/videos/{video['id']}", cast_to=object)`,
  'if video["status"] != "completed":',
  '    raise SystemExit(video["error"]["message"])',
  `clip = client.get(f"/videos/{video['id']}/content", cast_to=HttpxBinaryResponseContent)`,
  'clip.write_to_file("clip.mp4")',
];

function postOf(request, fields, { encoded, type }) {
  const body = [...entries(Object.entries(fields)), ...encodedEntries(encoded)];
  const path = request.path.replace(/^v1/, "");
  return block("client.post", [literal(path), `cast_to=${type}`, `body={${body.join(", ")}}`]);
}

function callOf(request, fields, { uploaded, encoded }) {
  const own = KNOWN[request.path];
  if (!own) {
    return postOf(request, fields, { encoded, type: "ImagesResponse" });
  }
  const known = Object.entries(fields).filter(([name]) => own.includes(name));
  const others = Object.entries(fields).filter(([name]) => !own.includes(name));
  const files = request.files.filter(({ name }) => uploaded.includes(name));
  const parts = [
    ...known.map(([name, value]) => `${name}=${literal(value)}`),
    ...files.map(({ name, filename }) => `${name}=open(${literal(filename)}, "rb")`),
  ];
  if (request.path === "v1/images/edits" && fields.prompt === undefined) {
    parts.push('prompt=""');
  }
  const more = [...entries(others), ...encodedEntries(encoded)];
  if (more.length) {
    parts.push(`extra_body={${more.join(", ")}}`);
  }
  return block(`client.${METHODS[request.path]}`, parts);
}

function entries(fields) {
  return fields.map(([name, value]) => `${literal(name)}: ${literal(value)}`);
}

function encodedEntries(files) {
  const byName = Map.groupBy(files, ({ name }) => name);
  return [...byName].map(([name, group]) => {
    const values = group.map(({ filename }) => `encoded(${literal(filename)})`);
    return `${literal(name)}: ${values.length > 1 ? `[${values.join(", ")}]` : values[0]}`;
  });
}

function block(call, parts) {
  return `${call}(\n${parts.map((part) => `    ${part},\n`).join("")})`;
}

function saveInPython(request) {
  return [
    "for number, picture in enumerate(answer.data, start=1):",
    `    with open(f"picture-{number}.${endingOf(request)}", "wb") as file:`,
    "        file.write(base64.b64decode(picture.b64_json))",
  ];
}

function clipInShell(call, request) {
  const url = address(request.path);
  const key = `-H "Authorization: Bearer $${KEY}"`;
  const read = (what) => `python3 -c ${quoted(`import json, sys; print(json.load(sys.stdin)["${what}"])`)}`;
  return [
    `id=$(${call} \\\n  | ${read("id")}) || exit 1`,
    `while status=$(curl -sS ${quoted(`${url}/`)}"$id" ${key} | ${read("status")})`,
    `  [ "$status" = queued ] || [ "$status" = in_progress ]; do sleep 1; done`,
    `curl -sS --fail-with-body -o clip.mp4 ${quoted(`${url}/`)}"$id"/content ${key}`,
    "",
  ].join("\n");
}

function endingOf(request) {
  return { jpeg: "jpg", webp: "webp" }[request.fields.output_format] ?? "png";
}

/** Return a text as one word of a POSIX shell. */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Return a value as Python spells it; JSON's strings and numbers are Python's too. */
function literal(value) {
  if (typeof value === "boolean") {
    return value ? "True" : "False";
  }
  return JSON.stringify(value);
}

function text(lines) {
  return `${lines.join("\n")}\n`;
}
