// All versions at a glance, and a filter over them.

import { ask, linkTo } from "./api.js";
import { badge, h, number, table } from "./dom.js";

const PAGE = 200;
const HEADINGS = ["Version", "State", "Ready", "Traffic", "Load", "Last call", "Wakes, p95", "Image", "Age", "Reason"];

export function overview(page) {
  let filter = "";
  let limit = PAGE;
  let typed;

  function look(text) {
    filter = text;
    limit = PAGE;
    clearTimeout(typed);
    typed = setTimeout(page.refresh, 120);
  }

  return {
    nav: "#/",
    every: 3000,
    ask: () => ask(`/api/page/overview?${new URLSearchParams({ filter, limit })}`),
    draw(told) {
      if (!told.total) return [h("h1", {}, "Models"), empty()];
      return [h("h1", {}, "Models"), bar(told, filter), list(told), more(told)];
    },
    does: {
      filter: (input) => look(input.value),
      state(button) {
        const input = document.getElementById("filter");
        const state = button.dataset.state;
        input.value = filter.trim() === state ? "" : state;
        look(input.value);
        page.refresh();
      },
      more() {
        limit += PAGE;
        page.refresh();
      },
    },
  };
}

function empty() {
  return h("div", { class: "card" },
    h("p", {}, "Nothing is registered yet. ", h("a", { href: "#/register" }, "Register a version"), ", or:"),
    h("pre", {}, "longshore register NAME VERSION IMAGE"));
}

function bar(told, filter) {
  const chips = Object.entries(told.states).map(([state, count]) =>
    h("button", {
      type: "button", class: `chip ${state}`, "data-key": state, "data-click": "state", "data-state": state,
      "aria-pressed": String(filter.trim() === state),
    }, `${number(count)} ${state}`));
  return h("div", { class: "bar" },
    h("label", { for: "filter", class: "unseen" }, "Filter"),
    h("input", {
      id: "filter", type: "search", "data-input": "filter", placeholder: "Filter by name, state, image, reason (press /)",
      "aria-keyshortcuts": "/",
      autocomplete: "off", spellcheck: "false", maxlength: 200,
    }),
    h("div", { class: "chips", role: "group", "aria-label": "States" }, chips),
    h("span", { class: "quiet", id: "found", role: "status" },
      told.found === told.total ? counted(told.total) : `${number(told.found)} of ${counted(told.total)}`));
}

const counted = (count) => `${number(count)} version${count === 1 ? "" : "s"}`;

function list(told) {
  const rows = told.rows.map((row) => ({
    key: `${row.model}:${row.version}`,
    cells: [
      h("a", { href: linkTo(row.model, row.version) }, `${row.model}:${row.version}`),
      badge(row.state), row.ready, row.share, row.load, row.called,
      row.woken && h("span", { title: "Ready after so long, at the 95th percentile" }, row.woken),
      row.image, row.age, row.why,
    ],
  }));
  return table("Versions, by name", HEADINGS, rows, { id: "versions" });
}

function more(told) {
  const left = told.found - told.rows.length;
  if (!left) return h("p", {}, told.found ? "" : "No version fits the filter.");
  const next = Math.min(PAGE, left);
  return h("p", {},
    h("button", { type: "button", "data-click": "more" }, `Show ${number(next)} more`), " ",
    h("span", { class: "quiet" }, `${number(told.rows.length)} of ${number(told.found)} are shown`));
}
