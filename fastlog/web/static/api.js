// The JSON API of the server, as functions. Documented in docs/web.md and /api/v1/openapi.json.

const ROOT = "/api/v1";
/** Characters of a text in lists. The server leaves out the rest, and says how long the text is. */
export const LIST_TEXT = 4000;
/** Characters of the longest value in counts; of a longer one the server sends so many, and an ellipsis. */
export const LONGEST_VALUE = 1000;
// Integers of this length may not fit a number of JavaScript. Texts, such as ids, seldom look like it.
const LONG_INTEGER = /[:,[]\s*-?\d{16}/;

/** An answer that is an error; `column` says where a query is wrong, counted from 1, or is null. */
class ApiError extends Error {
  constructor(status, message, column = null) {
    super(message);
    this.status = status;
    this.column = column;
  }
}

/** Returns the address of a request. Parameters that are null or empty are left out. */
export function addressOf(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `${ROOT}${path}${text ? `?${text}` : ""}`;
}

/** Asks the server, and returns the answer. Throws ApiError; AbortError if `signal` aborts. */
export async function ask(path, parameters, signal) {
  return parse(await askText(path, parameters, signal));
}

/** Asks the server, and returns the JSON text of the answer as it is. */
export async function askText(path, parameters, signal) {
  return read(() => fetch(addressOf(path, parameters), { signal, headers: { Accept: "application/json" } }));
}

/** Sends a change to the server. The header shows it that the request is from this page. */
export async function send(path, body) {
  const text = await read(() =>
    fetch(addressOf(path), {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Fastlog": "1" },
      body: JSON.stringify(body),
    }),
  );
  return text ? parse(text) : null;
}

/** Parses JSON. Integers that a number cannot hold become BigInt, where the browser can tell. */
export function parse(text) {
  if (!LONG_INTEGER.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    return context && /^-?\d+$/.test(context.source) ? BigInt(context.source) : value;
  });
}

async function read(request) {
  let response;
  try {
    response = await request();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  const text = await response.text();
  if (response.ok) return text;
  throw errorOf(response.status, text);
}

function errorOf(status, text) {
  try {
    const { message, column } = JSON.parse(text).error;
    return new ApiError(status, message, column ?? null);
  } catch {
    return new ApiError(status, `The server answers with status ${status}.`);
  }
}

/** One question at a time: a newer one aborts the older, so that no late answer is shown. */
export class Question {
  #controller = null;

  /** Asks; returns null if a newer question replaced this one. */
  async ask(path, parameters) {
    this.stop();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      const answer = await ask(path, parameters, controller.signal);
      return controller.signal.aborted ? null : answer;
    } catch (error) {
      if (controller.signal.aborted) return null;
      throw error;
    }
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
  }
}
