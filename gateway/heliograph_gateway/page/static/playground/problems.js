// Which field is at fault, shown at the field.

import { byId, setText } from "../shared/dom.js";

/** Other names by which the gateway calls the fields of this page. */
const ALSO = { images: "image", reference_images: "ref_images", last_image: "end_image", input_reference: "image" };

let marked = [];

export function clearProblems() {
  for (const { control, problem } of marked) {
    control?.removeAttribute("aria-invalid");
    problem.hidden = true;
  }
  marked = [];
}

/**
 * Show a failure at the field that it names, and go there; return whether there is one.
 *
 * `controls` are the controls of fields that have no element with their name as id.
 */
export function showProblem(failure, controls) {
  const name = ALSO[failure.param] ?? failure.param;
  const control = controls[name] ?? (name ? document.getElementById(name) : null);
  const problem = document.getElementById(`${["width", "height"].includes(name) ? "size" : name}-problem`);
  if (!control || !problem) {
    return false;
  }
  if (byId("more").contains(control)) {
    byId("more").open = true;
  }
  setText(problem, failure.message);
  problem.hidden = false;
  control.setAttribute("aria-invalid", "true");
  marked.push({ control, problem });
  control.focus();
  return true;
}
