// One version: what it is, why, and what can be done with it.

import { ask, linkTo, pathOf, zoned } from "./api.js";
import { badge, h } from "./dom.js";
import { happened } from "./events.js";
import { rules, traffic } from "./traffic.js";

// As the command line calls them, with what it says of each.
const CALLS = {
  wake: ["Wake", (key) => `${key} starts.`],
  sleep: ["Sleep", (key) => `${key} goes to sleep; its containers go within seconds, after their last answers.`],
  pin: ["Pin", (key) => `${key} is pinned: it is never collected.`],
  unpin: ["Unpin", (key) => `${key} is collected when nobody calls it for its retention time.`],
};

// Of the status, what matters at once where there is any of it.
const TOLD_FIRST = ["next try", "failures", "exit code", "kept warm", "pinned"];

export function version(page, model, number) {
  const key = `${model}:${number}`;
  const path = pathOf("/api", model, number);

  async function call(name) {
    if (name === "sleep" && !(await page.sure(`Put ${key} to sleep? Its next request wakes it.`, "Sleep"))) return;
    await page.change(`${path}/${name}`, { method: "POST" }, CALLS[name][1](key));
  }

  return {
    title: key,
    every: 3000,
    ask: () => ask(zoned(pathOf("/api/page", model, number))),
    draw: (told) => draw(told, key),
    does: {
      call: (button) => call(button.dataset.call),
      async delete() {
        if (!(await page.sure(`Delete ${key}? Containers go within seconds, after their last answers.`, "Delete"))) return;
        const done = await page.change(path, { method: "DELETE" }, `${key} is deleted.`);
        if (done) page.leave("#/", `${key} is deleted.`);
      },
      log: async (details) => {
        if (!details.open) return;
        const shown = details.querySelector("pre");
        shown.textContent = "loading …";
        try {
          // Colours are for terminals.
          const text = await ask(`${path}/logs?tail=200`, { as: "text" });
          shown.textContent = text.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "") || "It wrote nothing.";
        } catch (error) {
          shown.textContent = error.message;
        }
      },
      ...rules(page, model),
    },
  };
}

function draw(told, key) {
  const { content } = told;
  const named = (name) => content.find((each) => each.name === name);
  const wakes = named("wakes");
  return [
    h("p", { class: "way" }, h("a", { href: "#/" }, "Models"), " / ", told.model, others(told)),
    h("h1", {}, key, " ", badge(told.state), " ", h("small", { class: "quiet" }, `for ${told.since}`)),
    why(told),
    h("p", { class: "buttons" }, told.can.map(button)),
    h("dl", { class: "glance" }, glance(told, named("status"))),
    section("plan", "Hardware", told.plan.map((line) => h("p", {}, line)),
      told.warnings.map((line) => h("p", { class: "warning" }, `Warning: ${line}`))),
    section("traffic", `Traffic of ${told.model}`, traffic(told)),
    wakes ? section("wakes", "Wakes", h("ul", { class: "ledger", tabindex: "0" }, wakes.lines.map((line) => h("li", {}, line)))) : null,
    h("details", { "data-key": "log", class: "card", "data-toggle": "log" },
      h("summary", {}, h("h2", {}, "Log")), h("pre", { "data-own": true, tabindex: "0" })),
    h("details", { "data-key": "decisions", class: "card" },
      h("summary", {}, h("h2", {}, "Why it is so"), ` ${told.decisions.length} decision${told.decisions.length === 1 ? "" : "s"}`),
      h("ol", { class: "decisions" }, told.decisions.map(decision))),
    told.events.rows.length
      ? h("details", { "data-key": "events", class: "card" }, h("summary", {}, h("h2", {}, "What happened")), happened(told.events))
      : null,
    content.filter((each) => each.fields).map((each) =>
      h("details", { "data-key": `about ${each.name}`, class: "card", open: each.name === "image" },
        h("summary", {}, h("h2", {}, capital(each.name))), list(each.fields))),
    h("p", { class: "quiet" }, `Registered ${named("registered")?.text ?? ""}`),
  ].flat().filter(Boolean);
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

const section = (key, title, ...children) =>
  h("section", { "data-key": key, class: "card" }, h("h2", {}, title), children);

function others(told) {
  const versions = told.traffic.versions.filter((each) => each !== told.version);
  if (!versions.length) return null;
  return h("span", { class: "quiet" }, " · other versions: ",
    versions.slice(-10).map((each) => [h("a", { href: linkTo(told.model, each) }, each), " "]));
}

function why(told) {
  if (!told.why && !told.hint && !told.log_tail.length) return null;
  return h("div", { "data-key": "why", class: `why ${told.state}` },
    told.why ? h("p", {}, told.why) : null,
    told.hint ? h("p", { class: "hint" }, `Hint: ${told.hint}`) : null,
    told.log_tail.length ? h("pre", { tabindex: "0" }, told.log_tail.join("\n")) : null);
}

function button(call) {
  if (call === "delete") return h("button", { type: "button", class: "danger", "data-key": call, "data-click": "delete" }, "Delete");
  return h("button", { type: "button", "data-key": call, "data-click": "call", "data-call": call }, CALLS[call][0]);
}

function glance(told, status) {
  const facts = { traffic: told.share || "none", load: told.load || "none", "last call": told.called || "none known" };
  for (const { name, text } of status.fields) if (TOLD_FIRST.includes(name) && text !== "0") facts[name] = text;
  return Object.entries(facts).map(([name, text]) => h("div", {}, h("dt", {}, capital(name)), h("dd", {}, text)));
}

function decision(told) {
  return h("li", {},
    h("p", {}, h("strong", {}, told.hook), ` by ${told.plugin}, ${told.when}`),
    told.outcome.map((line) => h("p", {}, line)),
    told.inputs ? h("p", { class: "quiet" }, `from: ${told.inputs}`) : null,
    told.why ? h("p", { class: "quiet" }, `why: ${told.why}`) : null);
}

function list(fields) {
  return h("dl", {}, fields.map((each) => [
    h("dt", {}, each.name),
    h("dd", {}, each.fields ? list(each.fields) : each.lines ? each.lines.map((line) => h("p", {}, line)) : each.text),
  ]));
}
