// One cycle: headline, steps and batches over time, counts as a funnel, symbols.
import {card, cell, h, mount, render, s, table, tabs} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";
import {fetched} from "./fetched.js";
import {tasksOf} from "./flower.js";
import {gantt} from "./gantt.js";

const SHOWN = 200;

const headline = (cycle) => {
  const {symbols, orders, status} = cycle;
  if (status === "SKIPPED") return `Skipped: ${cycle.reason}`;
  if (status === "RUNNING") return `Running for ${f.seconds(f.since(cycle.started_at))}: ${f.plural(symbols.evaluated, "symbol")} so far`;
  return `${words.sentence(status.toLowerCase())} in ${f.seconds(cycle.duration_s)}: ${f.number(symbols.evaluated)} of ${f.plural(symbols.selected, "symbol")}, ${f.plural(orders.filled, "order")} filled`;
};

const below = (cycle) => {
  const skipped = cycle.outcomes.filter((outcome) => outcome.status !== "OK");
  const first = skipped[0];
  return [`${cycle.trigger === "manual" ? "Asked for" : "Scheduled"} ${f.moment(cycle.scheduled_at)}, started ${f.moment(cycle.started_at)}`, `epoch ${f.number(cycle.epoch)}`, `config ${cycle.config_hash.slice(0, 6)}`, cycle.dry_run ? "dry run: nothing is sent" : null, cycle.market_time ? `market time ${f.instant(cycle.market_time)}` : null,
    first ? `${f.plural(skipped.length, "symbol")} not evaluated: ${first.symbol}, ${first.reason}${skipped.length > 1 ? ", …" : ""}` : null, ...cycle.degraded.map((each) => `${words.service(each.service)}: ${each.reason}`), cycle.status === "SKIPPED" ? null : cycle.reason || null].filter(Boolean).join(" · ");
};

const funnel = (cycle) => {
  const {signals, orders} = cycle;
  const rules = [...new Set(cycle.decisions.filter((each) => each.verdict === "DENIED").map((each) => words.rule(each.binding_rule)))].join(", ");
  const count = (value) => h("b", {}, f.number(value));
  return h("div", {class: "counts"}, h("span", {}, "signals ", count(signals.received), " received, ", count(signals.kept), " kept, ", count(signals.dropped), " dropped"), h("span", {}, "candidates ", count(orders.candidates)), h("span", {}, "approved ", count(orders.approved)), h("span", {}, "denied ", count(orders.denied), rules ? `: ${rules}` : ""), h("span", {}, "submitted ", count(orders.submitted), ", filled ", count(orders.filled), ", unknown ", count(orders.unknown)));
};

// One row a decision, then one a symbol without one.
const outcomes = (cycle, decisions) => {
  const orders = new Map(cycle.order_list.map((order) => [order.client_order_id, order]));
  const batch = new Map(cycle.outcomes.map((outcome) => [outcome.symbol, outcome.batch]));
  const decided = decisions.map((row) => {
    const order = row.client_order_id ? orders.get(row.client_order_id) : null;
    const filled = order && Number(order.filled_quantity) > 0;
    const what = order ? (filled ? `${order.side === "buy" ? "bought" : "sold"} ${f.exact(order.filled_quantity)}` : order.status) : row.verdict === "DENIED" ? "not traded" : "approved, dry run";
    const reason = order ? `${row.exit_reason ? order.why : `${row.strategy} ${f.number(row.confidence, 2)}; ${words.rule(row.binding_rule)} set the size`}` : `${row.strategy} ${f.number(row.confidence, 2)}; denied: ${words.rule(row.binding_rule)}, ${words.bare(row.binding_rule, row.reason)}`;
    return {symbol: row.symbol, batch: batch.get(row.symbol), stage: order ? "execute" : row.stage, tone: order ? words.orderTone(order.status) : "open", what, reason, href: order ? `#order/${order.client_order_id}` : `#decision/${row.decision_id}`, kind: "decided"};
  });
  const dropped = cycle.signal_list.filter((each) => !each.kept).map((each) => ({symbol: each.signal.symbol, batch: each.batch, stage: "evaluate", tone: "open", what: "signal dropped", reason: `${each.signal.strategy} ${each.signal.action} ${f.number(each.signal.confidence, 2)}: ${each.reason}`, kind: "dropped"}));
  const plain = cycle.outcomes.map((outcome) => ({symbol: outcome.symbol, batch: outcome.batch, stage: outcome.stage, tone: outcome.status === "OK" ? "ok" : outcome.status === "FAILED" ? "bad" : "warn", what: outcome.status === "OK" ? "ok" : outcome.status.toLowerCase(), reason: outcome.reason, kind: outcome.status === "OK" ? "ok" : "bad"}));
  return [...decided, ...dropped, ...plain];
};

const symbolRow = (row, index) =>
  h("tr", {}, cell(null, row.href ? h("a", {class: "row", href: row.href, "data-key": `s${index}`}, row.symbol) : row.symbol), cell("m-hide", row.batch ?? "–"), cell("l m-hide", row.stage), cell("l", h("span", {class: `st ${row.tone}`}, row.what)), cell("l m-full wrap", row.reason));

const symbols = (cycle, decisions) => {
  const {element, body, head, end} = card("symbols", "Symbols", "c12", {end: h("span", {class: "m-no"}, h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move, ", h("kbd", {}, "Enter"), " open")});
  const all = outcomes(cycle, decisions);
  const kinds = {decided: (row) => row.kind === "decided", dropped: (row) => row.kind === "dropped", bad: (row) => row.kind === "bad", all: (row) => ["ok", "bad"].includes(row.kind)};
  let kind = all.some(kinds.decided) ? "decided" : all.some(kinds.bad) ? "bad" : "all";
  const group = h("span", {});
  head.insertBefore(group, end);
  const draw = () => {
    const rows = all.filter(kinds[kind]);
    render(group, tabs("Show", [["decided", `With a decision ${all.filter(kinds.decided).length}`], ["dropped", `Dropped ${all.filter(kinds.dropped).length}`], ["bad", `Not OK ${all.filter(kinds.bad).length}`], ["all", `All ${all.filter(kinds.all).length}`]], kind, (value) => { kind = value; draw(); }));
    render(body, rows.length ? table("Symbols of the cycle", [["Symbol"], ["Batch"], ["Reached"], ["Outcome"], ["Reason"]], rows.slice(0, SHOWN).map(symbolRow)) : h("p", {class: "muted"}, "None."), rows.length > SHOWN ? h("p", {class: "small muted"}, `the first ${SHOWN} of ${rows.length}`) : null);
  };
  draw();
  return element;
};

const trace = (document, tasks) => {
  const {element, body} = card("trace", "Trace", "c12", {end: h("span", {}, `asked for by ${document.request}`, tasks ? [" · Flower: ", tasks] : null)});
  const began = document.events[0]?.at;
  body.append(h("details", {}, h("summary", {}, `${document.events.length} events from the request to the end`), h("div", {class: "scroll"}, table("Trace", [["Time"], ["After", "num"], ["What"], ["Detail"]], document.events.map((event) => h("tr", {}, cell("mono nowrap", f.millis(event.at)), cell("num", f.seconds(f.between(began, event.at))), cell("nowrap", event.batch === null ? event.what : `${event.what}, batch ${event.batch}`, event.seconds === null ? null : h("span", {class: "sub"}, f.seconds(event.seconds))), cell("wrap", event.client_order_id ? h("a", {href: `#order/${event.client_order_id}`}, event.detail) : event.detail))), {kind: "plain"}))));
  return element;
};

export const cycle = (id) => {
  const element = h("div", {class: "grid"});
  let shown = null;
  const read = () => fetched(element, [[`/cycles/${encodeURIComponent(id)}`], [`/decisions?cycle=${encodeURIComponent(id)}&limit=500`], [`/cycles/${encodeURIComponent(id)}/trace`]], async (document, decisions, events) => {
    shown = document;
    const tasks = await tasksOf(id);
    const chart = h("div", {});
    mount(element, h("div", {class: "crumb"}, h("a", {href: "#home"}, "Overview"), " / ", h("a", {href: "#cycles"}, "Cycles"), " / ", h("span", {class: "mono"}, id)),
      h("section", {class: "card c12"}, h("header", {}, h("div", {}, h("h1", {class: "h1"}, headline(document)), h("p", {class: "muted wrap"}, below(document)))), chart, funnel(document), document.steps.length ? h("div", {class: "counts small"}, [["--seg1", "fetch, finish"], ["--seg2", "evaluate, allocate"], ["--seg3", "select, risk, execute"]].map(([shade, text]) => h("span", {}, s("svg", {width: 10, height: 10, "aria-hidden": "true"}, s("rect", {width: 10, height: 10, rx: 2, fill: `var(${shade})`})), ` ${text}`)), document.batch_list.length > 40 ? h("span", {}, `the first 40 of ${document.batch_list.length} batches`) : null) : null),
      symbols(document, decisions.items), trace(events, tasks));
    const draw = () => { if (document.steps.length) render(chart, gantt(document, Math.max(Math.floor(chart.clientWidth), 260))); };
    section.draw = draw;
    draw();
  });
  const section = {element, names: [], draw: () => {}, sized: true};
  read();
  const follow = {element, names: ["cycles"], draw: () => { const now = store.cycles?.items.find((each) => each.cycle_id === id); if (shown?.status === "RUNNING" && now && now.status !== "RUNNING") { shown = null; read(); } }};
  return {element, sections: [section, follow]};
};
