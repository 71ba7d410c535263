// What happened lately, of all versions.

import { ask, linkTo, zoned } from "./api.js";
import { h, table } from "./dom.js";

export function events() {
  return {
    title: "Events",
    nav: "#/events",
    every: 3000,
    ask: () => ask(zoned("/api/page/events")),
    draw: (told) => [
      h("h1", {}, "Events"),
      told.rows.length ? happened(told) : h("p", {}, "Nothing has happened yet."),
    ],
  };
}

/** Return a table of events. */
export function happened(told) {
  const rows = told.rows.map((cells) => ({ key: cells.join(), cells: cells.map(linked) }));
  return table("Events, the newest first", told.headings, rows, { class: "events" });
}

const linked = (text, place) => (place === 1 ? h("a", { href: linkTo(...text.split(":")) }, text) : text);
