// The page: one view at a time, chosen by the fragment, asked for again every few seconds.

import { ask, Gone, hasKey, keep, Locked, Problem } from "./api.js";
import { fill, h } from "./dom.js";
import { events } from "./events.js";
import { nodes } from "./nodes.js";
import { overview } from "./overview.js";
import { register } from "./register.js";
import { version } from "./version.js";

const at = (id) => document.getElementById(id);

let view;
let asked = 0;
let timer;
let answeredAt;
let drawn = false;
let carried = "";

function viewOf(fragment) {
  const [name = "", ...rest] = fragment.replace(/^#\/?/, "").split("/").map(decoded);
  if (name === "models" && rest.length === 2) return version(page, ...rest);
  if (name === "events") return events(page);
  if (name === "nodes") return nodes(page);
  if (name === "register") return register(page);
  return overview(page);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** What views may do with the page. */
const page = {
  refresh: turn,
  tell(text, bad = false) {
    at("notice").textContent = text;
    at("notice").className = bad ? "bad" : "good";
    at("notice").hidden = !text;
  },
  /** Ask the platform for a change, and tell what came of it. */
  async change(path, options, told) {
    try {
      const answer = await ask(path, options);
      page.tell(typeof told === "function" ? told(answer) : told);
      turn();
      return answer;
    } catch (error) {
      if (error instanceof Locked) lock(error);
      page.tell(error instanceof Gone ? `The platform does not answer: ${error.message}` : error.message, true);
      return null;
    }
  },
  /** Show another view, with a word on what led there. */
  leave(hash, text) {
    carried = text;
    location.hash = hash;
  },
  /** Ask the user; tell whether the answer is yes. */
  sure(question, verb) {
    const dialog = at("sure");
    at("question").textContent = question;
    at("yes").textContent = verb;
    dialog.returnValue = "";
    dialog.showModal();
    at("no").focus();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  },
};

function open() {
  const before = view;
  view = viewOf(location.hash);
  drawn = false;
  document.title = view.title ? `${view.title} - Longshore` : "Longshore";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash && link.hash === view.nav) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  page.tell(carried);
  carried = "";
  if (before) at("main").focus({ preventScroll: true });
  if (before) scrollTo(0, 0);
  turn();
}

/** Ask for what the view shows, show it, and do so again in a while. */
async function turn() {
  clearTimeout(timer);
  const mine = ++asked;
  const began = performance.now();
  try {
    const told = await view.ask();
    if (mine !== asked) return;
    answered(told);
  } catch (error) {
    if (mine !== asked) return;
    failed(error);
  }
  // Where answers take long, they are asked for less often.
  const every = Math.max(view.every, 5 * (performance.now() - began));
  if (!document.hidden) timer = setTimeout(turn, every);
}

function answered(told) {
  if (!drawn) at("main").replaceChildren();
  fill(at("main"), view.draw(told));
  drawn = true;
  answeredAt = new Date();
  at("age").textContent = `as of ${answeredAt.toLocaleTimeString()}`;
  at("trouble").hidden = true;
  at("ask").hidden = true;
  document.body.classList.remove("stale");
}

function failed(error) {
  if (error instanceof Locked) {
    lock(error);
    return;
  }
  if (error.status === 404) {
    trouble(error.message);
    fill(at("main"), [h("p", {}, h("a", { href: "#/" }, "All models"))]);
    drawn = false;
    return;
  }
  const since = drawn && answeredAt ? `\nWhat is below is as of ${answeredAt.toLocaleTimeString()}.` : "";
  trouble(said(error) + since);
  document.body.classList.toggle("stale", drawn);
  if (!drawn) at("main").replaceChildren();
}

function said(error) {
  if (error instanceof Gone) return `The platform does not answer: ${error.message}. The page goes on asking.`;
  if (error instanceof Problem) return error.message;
  console.error(error);
  return "The page does not understand the answer: the platform may be of another release by now. Reload the page.";
}

function lock(error) {
  // Nothing of what was shown stays for those who have no key.
  at("main").replaceChildren();
  drawn = false;
  at("age").textContent = "";
  trouble(hasKey() ? `The key is not accepted: ${error.message}.` : "This platform asks for a key.");
  if (!at("ask").hidden) return;
  at("ask").hidden = false;
  at("key").focus();
}

function trouble(text) {
  // Told once: an alert that is written anew each time is read out each time.
  if (at("trouble").textContent !== text) at("trouble").textContent = text;
  at("trouble").hidden = false;
}

function act(kind) {
  return (event) => {
    const element = event.target.closest?.(`[data-${kind}]`);
    const does = element && view.does?.[element.dataset[kind]];
    if (!does) return;
    if (kind === "submit") event.preventDefault();
    does(element, event);
  };
}

at("main").addEventListener("click", act("click"));
at("main").addEventListener("submit", act("submit"));
at("main").addEventListener("input", act("input"));
at("main").addEventListener("toggle", act("toggle"), true);
at("yes").addEventListener("click", () => at("sure").close("yes"));
at("no").addEventListener("click", () => at("sure").close(""));
at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(at("key").value);
  at("key").value = "";
  turn();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  const filter = at("filter");
  if (event.key !== "/" || typing || !filter || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  filter.focus();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : turn()));
addEventListener("hashchange", open);
open();
