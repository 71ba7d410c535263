// How a model's requests are shared among its versions: read, and changed as a whole.

import { pathOf } from "./api.js";
import { h, table } from "./dom.js";

/** Return what is said of a rule, and the form that changes it. */
export function traffic(told) {
  const { lines, weights, warnings, rule, versions } = told.traffic;
  return [
    lines.map((line) => h("p", {}, line)),
    warnings.map((line) => h("p", { class: "warning" }, `Warning: ${line}`)),
    weights.length ? table("Weights", ["Version", "Weight", "Share", "State"], weights.map((cells) => ({ key: cells[0], cells }))) : null,
    h("details", {}, h("summary", {}, "Change"), form(rule, versions)),
  ];
}

function form(rule, versions) {
  return h("form", { "data-submit": "share" },
    h("fieldset", {}, h("legend", {}, "Weights; none: the newest version that is ready gets all requests"),
      versions.map((each) => field(each, h("input", {
        type: "number", min: 0, max: 1000000, name: "weight", "data-version": each, value: rule.weights[each] ?? null,
      })))),
    field("Sticky by header", h("input", { name: "sticky", value: rule.sticky, placeholder: "x-user-id", spellcheck: "false" })),
    field("Shadow", h("select", { name: "shadow" }, h("option", { value: "" }, "none"),
      versions.map((each) => h("option", { value: each, selected: each === rule.shadow?.version }, each)))),
    field("Percent of the requests", h("input", {
      type: "number", name: "percent", min: 0.000001, max: 100, step: "any", value: rule.shadow?.percent ?? 100,
    })),
    h("p", { class: "buttons" }, h("button", {}, "Share so"), " ",
      h("button", { type: "button", "data-click": "clear" }, "Clear the rule")));
}

/** Return a labelled control. */
export const field = (name, control) => h("label", { class: "field" }, h("span", {}, name), control);

/** Return what the form does. */
export function rules(page, model) {
  const path = `${pathOf("/api", model)}/traffic`;
  const told = (answer) => ["The traffic rule is changed.", ...answer.warnings].join("\n");
  return {
    async share(form) {
      const inputs = [...form.querySelectorAll("[name=weight]")].filter((each) => each.value !== "");
      const { sticky, shadow, percent } = form.elements;
      await page.change(path, {
        method: "PUT",
        body: {
          weights: Object.fromEntries(inputs.map((each) => [each.dataset.version, Number(each.value)])),
          sticky: sticky.value.trim() || null,
          shadow: shadow.value ? { version: shadow.value, percent: Number(percent.value) } : null,
        },
      }, told);
    },
    async clear(button) {
      if (!(await page.sure(`Clear the traffic rule of ${model}? The newest version that is ready gets all requests.`, "Clear"))) return;
      const form = button.form;
      if (await page.change(path, { method: "PUT", body: {} }, told)) {
        for (const each of form.querySelectorAll("[name=weight], [name=sticky]")) each.value = "";
        form.elements.shadow.value = "";
      }
    },
  };
}
