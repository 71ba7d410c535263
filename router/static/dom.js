// Elements, made and brought up to date. Whatever comes from a model goes in as text, never as HTML.

/** Return an element; attributes that are false, null or undefined are left out. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((each) => each != null && each !== false));
  return made;
}

/** Let an element hold these nodes; what is the same stays, with its focus and what was typed. */
export function fill(place, fresh) {
  const keyed = new Map();
  for (const child of place.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = place.firstChild;
  for (const each of fresh) {
    const key = each.dataset?.key;
    const match = key ? keyed.get(key) : at?.dataset?.key ? null : at;
    if (match && match.nodeName === each.nodeName) {
      if (match === at) at = at.nextSibling;
      else place.insertBefore(match, at);
      patch(match, each);
    } else place.insertBefore(each, at);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whoever opened it wants it open.
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  // What is loaded on demand is none of the answer's business.
  if (!old.hasAttribute("data-own")) fill(old, [...fresh.childNodes]);
}

/** Return a table; on a narrow screen each row becomes a list with the headings in it. */
export function table(caption, headings, rows, attributes = {}) {
  const head = headings.map((each) => h("th", { scope: "col" }, each));
  const lines = rows.map(({ key, className, cells }) =>
    h("tr", { "data-key": key, class: className }, cells.map((each, place) =>
      h("td", { "data-label": headings[place], class: each === "" ? "empty" : null }, each))));
  return h("div", { class: "scroll" },
    h("table", attributes, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, lines)));
}

/** Return a state as a mark that does not go by colour alone. */
export const badge = (state) => h("span", { class: `state ${state}` }, state);

/** Return a number as people read it. */
export const number = (value) => value.toLocaleString("en");
