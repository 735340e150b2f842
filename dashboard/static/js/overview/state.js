// The state card: the sentence, what comes next, the last 24 hours, and what may be done.
import {h, pairs, render, s} from "../dom.js";
import * as f from "../format.js";
import {connection} from "../stream.js";
import {store} from "../store.js";
import * as words from "../words.js";
import {cycleNow, startSchedule, stopSchedule} from "../actions.js";
import {askReduce, askResume} from "../dialogs.js";

const RECONCILE_S = 10;
const DAY_MS = 86_400_000;

const GLYPHS = {
  ACTIVE: (color) => s("path", {d: "M13 10.5v13l11-6.5z", fill: color}),
  REDUCING: (color) => s("path", {d: "M17 9v14m-6-6 6 6 6-6", fill: "none", stroke: color, "stroke-width": 2.4}),
  HALTED: (color) => s("rect", {x: 11.5, y: 11.5, width: 11, height: 11, rx: 1.5, fill: color}),
};
const COLORS = {ACTIVE: "var(--ok)", REDUCING: "var(--warn)", HALTED: "var(--bad)"};

const glyph = (state) => {
  if (!state) {
    return s("svg", {class: "glyph", viewBox: "0 0 34 34", "aria-hidden": "true"},
      s("circle", {cx: 17, cy: 17, r: 15.5, fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "4 4"}),
      s("path", {d: "M12.8 13.4c0-5.4 8.4-5.4 8.4 0 0 3.2-4.2 3-4.2 6.6m0 4v1.4", fill: "none", stroke: "currentColor", "stroke-width": 2.4}));
  }
  return s("svg", {class: "glyph", viewBox: "0 0 34 34", "aria-hidden": "true"}, s("circle", {cx: 17, cy: 17, r: 15.5, fill: "none", stroke: COLORS[state], "stroke-width": 2}), GLYPHS[state](COLORS[state]));
};

const NAMES = {ACTIVE: "Active", REDUCING: "Reducing", HALTED: "Halted"};

export const headline = (status) => {
  if (connection.isLost) return `Not known: no connection since ${f.clock(connection.lostAt)}`;
  const value = status.state.value;
  if (value === "HALTED") return "Halted: no order leaves";
  if (value === "REDUCING") return "Reducing: only orders that shrink a position leave";
  return status.schedule === "running" ? "Active: entries and exits are traded" : "Active, but the schedule is stopped";
};

const causes = (status) => {
  const {state} = status;
  const parts = [];
  if (state.operator !== "ACTIVE") parts.push(`By the operator, since ${f.moment(state.since)}: “${state.reason || "no reason given"}”.`);
  for (const latch of state.latched) parts.push(`${words.sentence(words.cause(latch.cause))} since ${f.moment(latch.since)}: ${latch.detail}.`);
  for (const held of state.derived) parts.push(`${words.sentence(words.cause(held.cause))} since ${f.moment(held.since)}: ${held.detail}; this ends by itself.`);
  if (state.operator !== "ACTIVE" || state.latched.length) parts.push("Resuming needs a reason and a clean reconciliation.");
  return parts.join(" ");
};

const explanation = (status) => {
  if (connection.isLost) return `Trading may go on. Below is what was last known: ${NAMES[status.state.value]}. Halt and the command line still try to reach the engine.`;
  if (status.state.value !== "ACTIVE") {
    const held = status.portfolio?.positions ?? 0;
    const exits = status.state.value === "HALTED" ? ` ${f.plural(held, "position is", "positions are")} open without protective exits.` : "";
    return causes(status) + exits;
  }
  if (!status.last_cycle && !status.current_cycle) return "No cycle yet. Start the schedule or run one cycle.";
  if (status.schedule !== "running") return "No cycle starts by itself. Orders are decided when you run a cycle.";
  const late = status.next_cycle_at && f.since(status.next_cycle_at) > status.cycle_interval;
  const pace = `A cycle runs every ${f.number(status.cycle_interval)} s and is ${late ? "late" : "on time"}.`;
  const degraded = [...new Set(status.degraded.map((each) => words.service(each.service)))];
  if (!degraded.length) return pace;
  return `${pace} ${degraded.length === 1 ? `${degraded[0]} is degraded: ${status.degraded[0].effect}.` : `Degraded: ${degraded.join(", ")}.`}`;
};

const nextCycle = (status) => {
  if (status.schedule !== "running") return "none: stopped";
  if (!status.next_cycle_at) return "not known";
  const left = -f.since(status.next_cycle_at);
  return left > 0 ? `in ${f.countdown(left)} · ${f.clock(status.next_cycle_at)}` : `due since ${f.countdown(-left)}`;
};

const thisCycle = (status) => {
  const now = status.current_cycle;
  if (!now) return "none";
  const length = f.between(now.started_at, now.progress.deadline_at);
  return `${now.progress.stage}, ${f.number(f.since(now.started_at))} s of ${f.number(length)} s`;
};

const lastCycle = (status) => {
  const last = status.last_cycle;
  if (!last) return "none";
  return h("a", {href: `#cycle/${last.cycle_id}`}, `${f.seconds(last.duration_s)} · ${last.status === "COMPLETED" ? "" : `${last.status} · `}${f.plural(last.orders.filled, "order")} filled`);
};

const snapshot = (status) => {
  if (!status.portfolio) return "none yet";
  const age = f.since(status.portfolio.as_of);
  const interval = Math.max(RECONCILE_S, status.schedule === "running" ? 0 : RECONCILE_S);
  return h("span", {class: age > 2 * interval ? "late" : null}, `${f.span(age)} old`);
};

const strip = (states, status) => {
  const end = Date.now();
  const begin = end - DAY_MS;
  const changes = [...(states?.items ?? [])].reverse();
  const pieces = [];
  const spent = {REDUCING: 0, HALTED: 0};
  let state = changes.length && new Date(changes[0].at).getTime() > begin ? null : (changes[0]?.effective ?? status.state.value);
  let from = begin;
  const push = (until) => {
    if (state && state !== "ACTIVE" && until > from) {
      pieces.push({state, from, until});
      spent[state] += (until - from) / 1000;
    }
  };
  for (const change of changes) {
    const at = new Date(change.at).getTime();
    if (at >= begin) { push(at); from = at; }
    state = change.effective;
  }
  push(end);
  const told = Object.entries(spent).filter(([, time]) => time >= 1).map(([name, time]) => `${name.toLowerCase()} ${f.span(time)}`);
  const text = `Trading state, 24 h: ${told.length ? told.join(", ") : "active throughout"}`;
  const x = (at) => ((at - begin) / DAY_MS) * 1000;
  return h("div", {class: "strip"}, h("div", {class: "t"}, text),
    s("svg", {viewBox: "0 0 1000 8", preserveAspectRatio: "none", role: "img", "aria-label": text}, s("rect", {width: 1000, height: 8, fill: "var(--seg1)"}),
      pieces.map((piece) => s("rect", {x: x(piece.from), width: Math.max(x(piece.until) - x(piece.from), 3), height: 8, fill: piece.state === "HALTED" ? "var(--bad)" : "var(--warn)"}))));
};

const button = (key, text, onclick, style) => h("button", {type: "button", "data-key": key, class: style, onclick}, text);

const actions = (status) => {
  const value = status.state.value;
  const raise = status.state.operator !== "ACTIVE" || status.state.latched.length > 0;
  return h("div", {class: "acts"},
    value === "HALTED" && raise ? button("resume-exits", "Resume, exits only", () => askResume("REDUCING"), "primary") : null,
    raise ? button("resume", "Resume", () => askResume("ACTIVE"), value === "HALTED" ? null : "primary") : null,
    status.schedule === "running" ? button("schedule-stop", "Stop schedule", stopSchedule) : button("schedule-start", "Start schedule", startSchedule),
    button("cycle", "Cycle now", cycleNow),
    value === "ACTIVE" ? button("reduce", "Reduce only", askReduce) : null);
};

export const create = () => {
  const element = h("section", {class: "card c8 state", id: "state", "aria-labelledby": "state-line"});
  const draw = () => {
    const status = store.status;
    if (!status) {
      const problem = store.problems.status;
      render(element, h("div", {class: "line"}, glyph(null), h("h1", {id: "state-line"}, problem ? "Not known" : "…")), h("p", {class: "what"}, problem ? `${problem.title}. ${problem.detail}` : "Asking the engine."), h("div", {class: "skeleton"}));
      return;
    }
    const value = status.state.value;
    element.className = `card c8 state ${connection.isLost ? "" : value.toLowerCase()}`;
    render(element,
      h("div", {class: "line"}, glyph(connection.isLost ? null : value), h("h1", {id: "state-line"}, headline(status))),
      h("p", {class: "what"}, explanation(status)),
      h("dl", {class: "facts"}, [["Next cycle", nextCycle(status)], ["This cycle", thisCycle(status)], ["Last cycle", lastCycle(status)], ["Portfolio snapshot", snapshot(status)]].map(([name, shown]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown)))),
      strip(store.states, status),
      actions(status));
  };
  return {element, names: ["status", "states"], draw, ticks: true};
};
