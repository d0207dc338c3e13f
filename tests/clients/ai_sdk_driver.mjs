// Does with Vercel's AI SDK what its standard input asks for, one line of JSON each; see driven.py.
// Argument: the folder that has node_modules.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";

const load = createRequire(path.join(process.argv[2], "package.json"));
const { generateImage } = load("ai");
const { createOpenAI } = load("@ai-sdk/openai");
const { createOpenAICompatible } = load("@ai-sdk/openai-compatible");

const models = {
  openai: ({ url, model }) => createOpenAI({ baseURL: url, apiKey: "none" }).image(model),
  compatible: ({ url, model }) =>
    createOpenAICompatible({ name: "heliograph", baseURL: url, apiKey: "none" }).imageModel(model),
};

async function answer(asked) {
  const { images, mask, text, ...options } = asked.options;
  const read = (file) => fs.readFileSync(file);
  const prompt = images ? { text, images: images.map(read), ...(mask && { mask: read(mask) }) } : text;
  try {
    const { images: drawn, usage } = await generateImage({
      model: models[asked.provider](asked),
      prompt,
      maxRetries: 0,
      ...options,
    });
    return { images: drawn.map(({ base64, mediaType }) => ({ base64, mediaType })), usage };
  } catch (error) {
    return { error: { kind: error.name, status: error.statusCode ?? null, message: error.message } };
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
