// The nodes of all backends, and what is known of each.

import { ask } from "./api.js";
import { h, table } from "./dom.js";

export function nodes() {
  return {
    title: "Nodes",
    nav: "#/nodes",
    // What nodes are changes seldom, and reading it costs more.
    every: 5000,
    ask: () => ask("/api/page/nodes", { within: 30 }),
    draw: (told) => [
      h("h1", {}, "Nodes"),
      told.rows.length
        ? table("Nodes, by backend", told.headings, told.rows.map((cells) => ({ key: cells.join(), cells })))
        : h("p", {}, "No backend has a node."),
      told.nodes.map(node),
    ].flat(),
  };
}

function node(told) {
  const key = `${told.backend} ${told.name}`;
  const facts = told.facts.map((cells) => ({ key: cells[0], cells }));
  const tables = told.tables.map(([headings, rows]) =>
    table(`More of ${told.name}`, headings, rows.map((cells) => ({ cells }))));
  return h("details", { "data-key": key, class: "card" },
    h("summary", {}, h("h2", {}, told.name), ` ${told.backend}`),
    facts.length
      ? table(`What is known of ${told.name}`, ["Fact", "Confidence", "Value", "Read where"], facts, { class: "facts" })
      : h("p", {}, "Nothing more is known of it."),
    tables,
    told.unread.length ? h("h3", {}, "Not read") : null,
    told.unread.length ? h("ul", {}, told.unread.map(([names, why]) => h("li", {}, `${names}: ${why}`))) : null);
}
