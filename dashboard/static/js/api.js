// Calls of the API. The key is kept in memory alone; unchanged lists are not sent again.
let key = "";
let askForKey = async () => "";
const known = new Map();

export class Problem extends Error {
  constructor(document, status) {
    super(document.title ?? "No answer");
    this.title = document.title ?? "No answer";
    this.detail = [document.detail, ...(document.reasons ?? []), ...(document.failed_checks ?? []).map((each) => `${each.name}: ${each.reason}`)].filter(Boolean).join(". ");
    this.requestId = document.request_id ?? "";
    this.status = status;
    this.document = document;
  }
}

export const onMissingKey = (ask) => { askForKey = ask; };
export const headers = (more = {}) => (key ? {...more, Authorization: `Bearer ${key}`} : more);

let asking = null;
export const unlock = (refused) => {
  asking ??= askForKey(refused).then((given) => { key = given; asking = null; });
  return asking;
};

const send = async (path, options) => {
  try {
    return await fetch(path, {cache: "no-store", credentials: "omit", redirect: "error", ...options, headers: headers(options.headers)});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({title: "No connection", detail: "The engine does not answer."}, 0);
  }
};

const read = async (answer) => {
  const text = await answer.text();
  let document = {};
  try { document = JSON.parse(text); } catch { document = {title: `${answer.status}`, detail: text.slice(0, 200)}; }
  if (!answer.ok) throw new Problem(document, answer.status);
  return document;
};

// The document, and whether it is the one that came before.
export const get = async (path) => {
  const before = known.get(path);
  const answer = await send(path, {headers: before ? {"If-None-Match": before.etag} : {}});
  if (answer.status === 304) return before.document;
  if (answer.status === 401) {
    await unlock(key !== "");
    return get(path);
  }
  const document = await read(answer);
  const etag = answer.headers.get("ETag");
  if (etag) {
    if (known.size > 200) known.clear();
    known.set(path, {etag, document});
  }
  return document;
};

export const post = async (path, body = {}, {once = false} = {}) => {
  const more = {"Content-Type": "application/json", ...(once ? {"Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`} : {})};
  const answer = await send(path, {method: "POST", headers: more, body: JSON.stringify(body)});
  if (answer.status === 401) {
    await unlock(key !== "");
    return post(path, body, {once});
  }
  return read(answer);
};
