// The way to the platform: JSON both ways, with the key where one is needed.

const KEPT_AS = "longshore-key";
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Nobody answers. */
export class Gone extends Error {}

/** The platform asks who is calling. */
export class Locked extends Error {}

/** The platform did not do what was asked, and says why. */
export class Problem extends Error {
  constructor(document, status) {
    const said = document?.detail ?? document?.title ?? `The platform answered with status ${status}.`;
    super([said, document?.hint].filter(Boolean).join("\n"));
    this.status = status;
  }
}

/** Keep a key in this tab, and nowhere else. */
export function keep(key) {
  sessionStorage.setItem(KEPT_AS, key);
}

/** Tell whether there is a key. */
export const hasKey = () => Boolean(sessionStorage.getItem(KEPT_AS));

/** Ask something, within some seconds; return what was answered. */
export async function ask(path, { method = "GET", body, within = 15, as = "json" } = {}) {
  const headers = { accept: "application/json" };
  const key = sessionStorage.getItem(KEPT_AS);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer, text;
  try {
    const signal = AbortSignal.timeout(within * 1000);
    const sent = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: sent, signal, cache: "no-store" });
    text = await answer.text();
  } catch (error) {
    throw new Gone(error.name === "TimeoutError" ? `no answer within ${within} s` : error.message);
  }
  if (answer.ok && as === "text") return text;
  const document = parsed(text);
  if (answer.ok && document !== undefined) return document;
  if (answer.status === 401) throw new Locked(document?.detail);
  throw new Problem(document, answer.status);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return where the page asks for a version, or the API changes one. */
export const pathOf = (base, model, version = null) =>
  `${base}/models/${encodeURIComponent(model)}` + (version === null ? "" : `/versions/${encodeURIComponent(version)}`);

/** Return the fragment of a version's view. */
export const linkTo = (model, version) => `#/models/${encodeURIComponent(model)}/${encodeURIComponent(version)}`;

/** Return a path that asks for times by the clock of whoever looks. */
export const zoned = (path) => `${path}?${new URLSearchParams({ zone: ZONE })}`;
