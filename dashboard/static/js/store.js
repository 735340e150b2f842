// What was read last of each list, who wants to know, and what failed.
import {get, Problem} from "./api.js";

const PATHS = {
  status: () => "/status",
  health: () => "/health",
  orders: () => "/orders?limit=50",
  denied: () => "/decisions?verdict=DENIED&limit=50",
  positions: () => `/positions?limit=${store.allPositions ? 500 : 20}`,
  cycles: () => "/cycles?limit=60",
  alerts: () => "/alerts?limit=50",
  states: () => "/states?limit=200",
  performance: () => `/performance?window=${store.window}`,
  config: () => "/config",
  strategies: () => "/strategies",
  audit: () => "/audit?limit=50",
};

export const store = {window: "7d", allPositions: false, problems: {}, readAt: {}, wanted: new Set()};
const listeners = new Map();
const running = new Map();
const again = new Set();

export const on = (names, listener) => {
  for (const name of names) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(listener);
  }
  return () => names.forEach((name) => listeners.get(name).delete(listener));
};

export const tell = (name) => { for (const listener of [...(listeners.get(name) ?? [])]) listener(); };

// Reads once more when it was asked for while a read was under way.
export const load = (name) => {
  if (running.has(name)) { again.add(name); return running.get(name); }
  const reading = read(name).finally(() => {
    running.delete(name);
    if (again.delete(name)) load(name);
  });
  running.set(name, reading);
  return reading;
};

const read = async (name) => {
  try {
    store[name] = await get(PATHS[name]());
    store.readAt[name] = Date.now();
    delete store.problems[name];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    store.problems[name] = error;
    // Health tells what is down with a status of its own.
    if (name === "health" && error.document.checks) { store.health = error.document; delete store.problems.health; }
  }
  tell(name);
};

const MEANS = {
  beat: ["status", "health"],
  cycle: ["status", "cycles", "denied", "performance", "positions"],
  orders: ["orders", "status", "positions"],
  state: ["status", "states"],
  alerts: ["alerts"],
  positions: ["positions", "status"],
};

export const changed = (kind) => {
  const names = kind === "resync" ? [...store.wanted] : (MEANS[kind] ?? []);
  for (const name of names) if (store.wanted.has(name)) load(name);
};

// The lists that the shown view needs; each is read now and whenever it changes.
export const want = (names) => {
  store.wanted = new Set(names);
  for (const name of names) load(name);
};
