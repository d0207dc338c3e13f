// The playground: what the parts of the page have to do with each other.

import { Failure } from "../shared/api.js";
import { byId, setText } from "../shared/dom.js";
import { startKey } from "../shared/key.js";
import { startTheme } from "../shared/theme.js";
import { drawClip } from "./clips.js";
import { showCode, startCopying } from "./copying.js";
import { draw } from "./drawing.js";
import { Form } from "./form.js";
import { Mask } from "./mask.js";
import { Models } from "./models.js";
import { fieldsOf } from "./parameters.js";
import { PictureField, nameOfFile } from "./pictures.js";
import { clearProblems, showProblem } from "./problems.js";
import { Shelf } from "./shelf.js";
import { Sizes } from "./sizes.js";
import { Stage } from "./stage.js";
import { Tasks, picturesOf, takesMask } from "./tasks.js";
import { waitingText } from "./waiting.js";

const models = new Models(arrange);
const tasks = new Tasks(arrange);
const form = new Form();
const sizes = new Sizes();
const mask = new Mask();
const stage = new Stage({ again, edit, code: (entry, result) => showCode(repeated(entry, result)) });
const shelf = new Shelf(open);

let pictures = [];
let running = null;

/** Show what the chosen model takes for the chosen task; what is there already stays. */
function arrange() {
  const { capabilities } = models;
  tasks.show(capabilities);
  const places = picturesOf(capabilities, tasks.chosen);
  const before = new Map(pictures.map((field) => [field.name, field]));
  const same = places.length === pictures.length && places.every(({ name, label }) => before.get(name)?.label === label);
  if (!same) {
    pictures = places.map((place) => Object.assign(new PictureField({ ...place, onChange: showMask }), { label: place.label }));
    byId("pictures").replaceChildren(...pictures.map(({ root }) => root));
    pictures.forEach((field) => field.set(before.get(field.name)?.files ?? []));
  }
  form.show(fieldsOf(capabilities, tasks.chosen));
  sizes.show(capabilities);
  byId("prompt-field").hidden = ["variation", "upscale"].includes(tasks.chosen);
  setText(byId("draw"), { edit: "Edit", variation: "Vary", upscale: "Upscale" }[tasks.chosen] ?? "Draw");
  showMask();
}

function showMask() {
  const picture = pictures.find(({ name }) => name === "image")?.files[0] ?? null;
  mask.show(takesMask(models.capabilities, tasks.chosen) ? picture : null);
}

/** Return what the page says: path, fields, and files with their names. */
async function requestOf() {
  const fields = { ...(models.chosen && { model: models.chosen }) };
  if (!byId("prompt-field").hidden && (byId("prompt").value.trim() || tasks.chosen === "generate")) {
    fields.prompt = byId("prompt").value;
  }
  const size = sizes.value();
  if (size) {
    fields.size = size;
  }
  const files = pictures.flatMap(({ name, files: chosen }) =>
    chosen.map((blob, index) => ({ name, blob, filename: nameOfFile(name, index, blob) })),
  );
  const painted = await mask.file();
  if (painted) {
    files.push({ name: "mask", blob: painted, filename: "mask.png" });
  }
  return { task: tasks.chosen, path: tasks.path, fields: { ...fields, ...form.values() }, files };
}

/** Return the request that draws an entry's pictures, or one of them, once more. */
function repeated({ request, results }, result) {
  const { seed } = result ?? results[0];
  const alone = result && results.length > 1 ? { n: 1 } : {};
  return { ...request, fields: { ...request.fields, ...alone, ...(seed !== null && { seed }) } };
}

async function run(request) {
  if (running) {
    return;
  }
  running = new AbortController();
  const { signal } = running;
  clearProblems();
  stage.fail(null);
  shelf.mark(null);
  stage.begin(Number(request.fields.n) || 1, "Sent; waiting for the model…");
  showRunning(true);
  setText(byId("news"), "Drawing.");
  const results = [];
  try {
    const happens = request.task === "video" ? drawClip(request, signal) : draw(request, signal);
    for await (const told of happens) {
      take(told, request, results);
    }
    await keep(request, results);
  } catch (error) {
    await stop(error, signal, request, results);
  } finally {
    running = null;
    showRunning(false);
    models.refresh();
  }
}

function take(told, request, results) {
  if (told.wait) {
    stage.wait(waitingText(told.wait), told.wait.progress === undefined ? null : Number(told.wait.progress));
  } else if (told.blob) {
    results[told.index] = { blob: told.blob, seed: told.seed };
    stage.finish(told, request);
  } else if (told.preview) {
    stage.preview(told);
  } else if (told.percent !== undefined) {
    stage.percent(told.percent);
  } else {
    stage.step(told);
  }
}

async function keep(request, results) {
  stage.end();
  const came = results.filter(Boolean);
  if (came.length) {
    const entry = await shelf.add(request, came);
    open(entry);
    setText(byId("news"), came.length > 1 ? `Done: ${came.length} pictures.` : "Done.");
  }
}

async function stop(error, signal, request, results) {
  if (!signal.aborted && !(error instanceof Failure)) {
    throw error;
  }
  await keep(request, results);
  if (signal.aborted) {
    setText(byId("news"), "Cancelled.");
    return;
  }
  stage.fail(error);
  stage.end();
  const places = pictures.map((field) => [field.name, field.control]);
  const controls = { ...Object.fromEntries(places), size: sizes.control };
  if (document.getElementById("mask-editor")) {
    controls.mask = mask.control;
  }
  showProblem(error, controls);
}

function showRunning(is) {
  byId("draw").setAttribute("aria-disabled", String(is));
  const cancel = byId("cancel");
  if (!is && document.activeElement === cancel) {
    byId("draw").focus();
  }
  cancel.hidden = !is;
  byId("stage").setAttribute("aria-busy", String(is));
}

/** Show an entry of the history; what is being drawn meanwhile goes on, and is shown once it is done. */
function open(entry) {
  stage.fail(null);
  stage.show(entry);
  shelf.mark(entry);
}

/** Set the page to what an entry was drawn with, and draw it once more. */
function again(entry, result) {
  if (running) {
    return;
  }
  const request = repeated(entry, result);
  fill(request);
  run(request);
}

function fill({ task, fields, files }) {
  const { model, prompt, size, ...settings } = fields;
  models.choose(model);
  tasks.choose(task);
  byId("prompt").value = prompt ?? "";
  form.fill(settings);
  sizes.fill(size, models.capabilities);
  for (const field of pictures) {
    field.set(files.filter(({ name }) => name === field.name).map(({ blob }) => blob));
  }
}

function edit(_entry, { blob }) {
  tasks.choose("edit");
  pictures.find(({ name }) => name === "image")?.set([blob]);
  byId("prompt").focus();
}

async function submit(event) {
  event.preventDefault();
  if (!running) {
    run(await requestOf());
  }
}

byId("request").addEventListener("submit", submit);
byId("cancel").addEventListener("click", () => running?.abort());
byId("copy-form").addEventListener("click", async () => showCode(await requestOf()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
    submit(event);
  }
});

startTheme();
startKey();
startCopying();
arrange();
shelf.start();
models.start();
