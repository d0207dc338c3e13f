// The dialog that shows a request as code.

import { byId, element, setText } from "../shared/dom.js";
import { curlOf, pythonOf } from "./commands.js";

const NOTES = {
  curl: "Runs in any shell; the key is read from HELIOGRAPH_API_KEY. The picture lands in the current folder.",
  python: "Needs the package openai; the key is read from HELIOGRAPH_API_KEY. The picture lands in the current folder.",
};

let shown = null;
let urls = [];

export function startCopying() {
  byId("code-languages").addEventListener("change", show);
  byId("code-copy").addEventListener("click", copy);
  byId("code-dialog").addEventListener("close", () => {
    urls.forEach((url) => URL.revokeObjectURL(url));
    urls = [];
  });
}

/** Show a request as code. */
export function showCode(request) {
  shown = request;
  urls = request.files.map(({ blob }) => URL.createObjectURL(blob));
  const links = request.files.map(({ filename }, index) =>
    element("a", { href: urls[index], download: filename, textContent: filename }),
  );
  const listed = links.flatMap((link, index) => (index ? [", ", link] : [link]));
  byId("code-files").replaceChildren("Save these beside it first: ", ...listed);
  byId("code-files").hidden = !links.length;
  show();
  byId("code-dialog").showModal();
}

function show() {
  const language = document.querySelector("input[name=language]:checked").value;
  byId("code").value = language === "curl" ? curlOf(shown) : pythonOf(shown);
  setText(byId("code-note"), NOTES[language]);
  setText(byId("code-copied"), "");
}

async function copy() {
  const code = byId("code");
  try {
    await navigator.clipboard.writeText(code.value);
    setText(byId("code-copied"), "Copied.");
  } catch {
    // Without TLS there is no clipboard to write to: what is selected can be copied by hand.
    code.focus();
    code.select();
    setText(byId("code-copied"), "Selected: copy it with Ctrl+C.");
  }
}
