// A form to register a version, and what that would plan.

import { ask, linkTo, pathOf } from "./api.js";
import { h } from "./dom.js";
import { field } from "./traffic.js";

const MINUTES = 300;
// Each control, its label, and where its value stands in what is registered.
const FIELDS = [
  ["image", "Image", { required: true, placeholder: "registry.example.com/team/iris:1" }],
  ["port", "Port", { type: "number", min: 1, max: 65535, placeholder: "found in the image" }],
  ["health_path", "Health path", { placeholder: "found in the image" }],
  ["predict_path", "Predict path", { placeholder: "found in the image" }],
  ["scaling.min", "Fewest replicas", { type: "number", min: 0, max: 1000, placeholder: "1; 0: may sleep" }],
  ["scaling.max", "Most replicas", { type: "number", min: 1, max: 1000, placeholder: "1" }],
  ["scaling.idle", "Idle seconds", { type: "number", min: 0, placeholder: "600" }],
  ["resources.cpu", "CPU", { placeholder: "no limit; 0.5, 500m" }],
  ["resources.memory", "Memory", { placeholder: "no limit; 512Mi, 2Gi" }],
  ["resources.gpu", "GPUs", { type: "number", min: 0, max: 64, placeholder: "what the image needs" }],
  ["resources.gpu_memory", "Memory of each GPU", { placeholder: "20Gi" }],
];

export function register(page) {
  async function send(form, wanted) {
    const name = form.elements.name.value.trim();
    const version = form.elements.version.value.trim();
    if (wanted === "plan") {
      const out = form.querySelector("output");
      out.textContent = "reading the image and planning …";
      try {
        const path = `${pathOf("/api/page", name, version)}/preflight`;
        const told = await ask(path, { method: "POST", body: spec(form), within: MINUTES });
        out.textContent = [...told.plan, ...told.warnings.map((each) => `Warning: ${each}`)].join("\n");
      } catch (error) {
        out.textContent = error.message;
      }
      return;
    }
    page.tell(`${name}:${version}: reading the image and planning …`);
    const done = await page.change(pathOf("/api", name, version),
      { method: "PUT", body: spec(form), within: MINUTES }, `${name}:${version} is registered.`);
    if (done) page.leave(linkTo(name, version), `${name}:${version} is registered.`);
  }

  return {
    title: "Register",
    nav: "#/register",
    every: 5000,
    // So that a key is asked for before somebody fills the form, and who waits sees what is wrong.
    ask: () => ask("/api/page/overview?limit=1"),
    draw: () => [h("h1", {}, "Register a version"), form()],
    does: { register: (form, event) => send(form, event.submitter?.value) },
  };
}

function form() {
  const name = { required: true, autocomplete: "off", spellcheck: "false" };
  return h("form", { class: "card", "data-submit": "register" },
    h("div", { class: "grid" },
      field("Name", h("input", { ...name, name: "name", placeholder: "iris" })),
      field("Version", h("input", { ...name, name: "version", placeholder: "1" })),
      FIELDS.map(([place, label, more]) => field(label, h("input", { name: place, autocomplete: "off", spellcheck: "false", ...more }))),
      field("Environment, a line each", h("textarea", { name: "env", rows: 3, placeholder: "NAME=VALUE", spellcheck: "false" }))),
    h("p", { class: "quiet" }, "What you leave out is found in the image, or has the default that is shown. More settings: longshore register --help"),
    h("p", { class: "buttons" }, h("button", { value: "register", class: "primary" }, "Register"), " ", h("button", { value: "plan" }, "Only plan")),
    h("output", { "data-own": true }));
}

function spec(form) {
  const made = {};
  for (const [place, , { type }] of FIELDS) {
    const text = form.elements[place].value.trim();
    if (!text) continue;
    const path = place.split(".");
    const last = path.pop();
    const table = path.reduce((within, part) => (within[part] ??= {}), made);
    table[last] = type === "number" ? Number(text) : text;
  }
  const lines = form.elements.env.value.split("\n").filter((line) => line.trim());
  if (lines.length) made.env = Object.fromEntries(lines.map((line) => cut(line.trim())));
  return made;
}

function cut(line) {
  const at = line.indexOf("=");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
}
