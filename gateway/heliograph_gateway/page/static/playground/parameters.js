// Which settings a model has and how each is shown, made of the JSON Schemas that the gateway tells of it.

/** What a model is asked with as long as nobody knows what it can do: the settings that about every one has. */
const BASIC = {
  n: { type: "integer", minimum: 1, maximum: 10, default: 1 },
  seed: { type: "integer" },
  steps: { type: "integer", minimum: 1 },
  guidance_scale: { type: "number", minimum: 0 },
  output_format: { type: "string", enum: ["png", "jpeg", "webp"], default: "png" },
};

const SHOWN = {
  negative_prompt: { label: "Negative prompt", group: "first", long: true },
  n: { label: "Pictures", group: "main", but: ["video"] },
  seed: { label: "Seed", group: "main", empty: "Random" },
  steps: { label: "Steps" },
  guidance_scale: { label: "Guidance" },
  guidance: { label: "Distilled guidance" },
  true_cfg_scale: { label: "True CFG scale" },
  sampler: { label: "Sampler" },
  schedule: { label: "Schedule" },
  strength: { label: "Strength", only: ["edit", "variation", "video"] },
  control_strength: { label: "Control strength", only: ["generate", "edit"], beside: "control_image" },
  scale: { label: "Scale", group: "main", only: ["upscale"] },
  clip_skip: { label: "CLIP skip" },
  num_frames: { label: "Frames", group: "main", only: ["video"] },
  fps: { label: "Frames per second", group: "main", only: ["video"] },
  seconds: { label: "Seconds", group: "main", only: ["video"] },
  output_format: { label: "File format", but: ["video"] },
  output_compression: { label: "Quality (JPEG, WebP)", but: ["video"] },
};

/** They have a place of their own on the page, or are the page's business. */
const ELSEWHERE = new Set([
  "prompt", "model", "size", "width", "height", "image", "images", "mask", "ref_images", "reference_images",
  "control_image", "last_image", "end_image", "response_format", "stream", "stream_format", "stream_options",
  "partial_images", "background", "quality", "invert_mask",
]);

/** What the name of the field of an adapter's weight begins with. */
export const LORA = "lora:";

const SCALARS = new Set(["integer", "number", "string", "boolean"]);

/**
 * Return the fields to show, in order: name, label, group (`first`, `main` or `more`), and what the schema says of type,
 * bounds, choices and default.
 */
export function fieldsOf(capabilities, task) {
  const parameters = capabilities?.parameters ?? BASIC;
  const order = [...Object.keys(SHOWN), ...Object.keys(parameters)];
  const names = [...new Set(order)].filter((name) => name in parameters && !ELSEWHERE.has(name));
  return names.flatMap((name) => fields(name, parameters[name], task));
}

/** Return whether a model has a setting: any of its names. */
export function has(capabilities, ...names) {
  return names.some((name) => name in (capabilities?.parameters ?? {}));
}

/** Return what the schema of a setting says, or nothing where a model lacks it. */
export function schemaOf(capabilities, name) {
  return capabilities?.parameters?.[name] ?? {};
}

function fields(name, schema, task) {
  if (name === "loras") {
    return adapters(schema);
  }
  const shown = SHOWN[name] ?? { label: name };
  if ((shown.only && !shown.only.includes(task)) || shown.but?.includes(task)) {
    return [];
  }
  const alternatives = [schema, ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  const typed = alternatives.find((one) => [one.type].flat().some((type) => SCALARS.has(type))) ?? {};
  const type = [typed.type].flat().find((one) => SCALARS.has(one)) ?? (schema.enum ? "string" : null);
  if (type === null) {
    return [];
  }
  return [
    {
      name,
      type,
      label: shown.label,
      group: shown.group ?? "more",
      long: shown.long ?? false,
      empty: shown.empty ?? "Model's own",
      choices: schema.enum ?? typed.enum ?? null,
      least: schema.minimum ?? typed.minimum ?? null,
      most: schema.maximum ?? typed.maximum ?? null,
      initial: schema.default ?? typed.default ?? null,
    },
  ];
}

/** Return a field for each LoRA adapter: its weight. */
function adapters(schema) {
  const names = schema.items?.properties?.id?.enum ?? [];
  const about = { type: "number", group: "more", long: false, empty: "0", choices: null, least: null, most: null };
  return names.map((name) => ({ ...about, name: `${LORA}${name}`, label: `LoRA ${name}`, initial: null }));
}
