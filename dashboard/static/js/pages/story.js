// The story of an order, or of a decision that no order followed: signal, size, sent, fills.
import {candleChart} from "../candles.js";
import {cell, h, mount, pairs, render, table} from "../dom.js";
import * as f from "../format.js";
import {load, store} from "../store.js";
import * as words from "../words.js";
import {fetched} from "./fetched.js";
import {tasksOf} from "./flower.js";

const base = (symbol) => symbol.split("/")[0];
const quote = (symbol) => symbol.split("/")[1] ?? "";

const headline = (order) => {
  const filled = Number(order.filled_quantity) > 0;
  const bought = order.side === "buy";
  const mark = h("span", {class: bought ? "up" : "down"}, `${bought ? "▲" : "▼"} ${filled ? (bought ? "Bought" : "Sold") : bought ? "Buy" : "Sell"}`);
  return h("h1", {class: "h1"}, mark, ` ${f.exact(filled ? order.filled_quantity : order.quantity)} ${order.symbol} at ${f.exact(filled ? order.average_price : order.limit_price, filled ? order.reference_price : order.limit_price)}`, filled ? "" : `, ${order.status}`);
};

const inOneLine = (story) => {
  const {order, decision, transitions} = story;
  const end = transitions.at(-1);
  const took = transitions.length > 1 ? f.seconds(f.between(transitions[0].at, end.at)) : null;
  const outcome = `${order.status.toLowerCase()}${took ? ` after ${took}` : ""}`;
  const intent = decision?.intent;
  if (!intent) return `Adopted: the ledger learned of it from the execution service; ${outcome}.`;
  if (intent.exit_reason) return `${words.sentence(intent.reason || `exit: ${intent.exit_reason}`)}; ${outcome}.`;
  return `${order.strategy} wanted in after the candle of ${f.instant(intent.candle_time)}; ${words.rule(decision.binding_rule)} set the size; ${outcome}.`;
};

const signalStep = (signal, intent, market, settings, timeframeS) => {
  const least = settings?.trading_engine.min_confidence;
  const ttl = settings?.risk.signal_ttl_s;
  const closed = intent.candle_time + timeframeS * 1000;
  const age = market && intent.candle_time ? (new Date(market).getTime() - closed) / 1000 : null;
  const levels = [intent.stop_price, intent.target_price].map((price) => f.exact(price, intent.price)).join(" · ");
  return pairs("kv",
    ["Strategy", `${intent.strategy || "–"} ${intent.version}`],
    ["Reason", signal?.reason || intent.reason || "–"],
    signal ? ["Confidence", `${f.number(signal.confidence, 2)}${least === undefined ? "" : `, needs ${f.number(least, 2)}`}`] : null,
    intent.candle_time ? ["Candle", `${f.instant(intent.candle_time)} to ${f.minutes(closed)} ${f.zoneName()}${age === null ? "" : `, closed ${f.span(age)} before${ttl ? ` (limit ${f.span(ttl)})` : ""}`}`] : null,
    intent.exit_reason ? ["Exit by", intent.exit_reason === "operator" ? "an operator" : intent.exit_reason] : ["Stop · target", levels]);
};

const allowances = (decision) => {
  const bounds = decision.allowances.filter((each) => each.quantity !== null).sort((one, other) => Number(one.quantity) - Number(other.quantity));
  const passed = decision.allowances.filter((each) => each.quantity === null);
  const row = (each) => h("tr", {class: each.rule === decision.binding_rule ? "bind" : null},
    cell(null, words.sentence(words.rule(each.rule)), each.rule === decision.binding_rule ? h("span", {class: "sub"}, decision.verdict === "DENIED" ? "refuses" : "binding") : null),
    cell("num", f.exact(each.quantity)), cell("wrap", each.detail));
  return h("div", {}, table("Allowances, the smallest first", [["Rule"], [`Allows, ${base(decision.intent.symbol)}`, "num"], ["Limit and use"]], bounds.map(row), {kind: "allowances"}),
    passed.length ? h("p", {class: "muted small"}, `Also passed: ${passed.map((each) => `${words.rule(each.rule)}${each.detail ? ` (${each.detail})` : ""}`).join(" · ")}`) : null);
};

const sentStep = (story) => {
  const {order, transitions} = story;
  let before = null;
  return h("dl", {class: "kv"}, transitions.map((step) => {
    const after = before === null ? null : f.between(before, step.at);
    before = step.at;
    const first = step.to_status === "RESERVED" ? `limit ${f.exact(order.limit_price)}, at most ${f.money(Number(order.quantity) * Number(order.limit_price))} ${quote(order.symbol)} held` : "";
    return [h("dt", {class: "mono"}, f.millis(step.at)), h("dd", {}, `${step.to_status} `, h("span", {class: "muted"}, [after === null ? null : `+${f.number(after * 1000)} ms`, step.detail || first, step.cause].filter(Boolean).join(", ")))];
  }));
};

const fillStep = (story) => {
  const {order, fills} = story;
  if (!fills.length) return h("p", {class: "muted"}, ["RESERVED", "SENDING", "UNKNOWN", "ACCEPTED"].includes(order.status) ? "None yet." : "None: nothing was traded.");
  return h("dl", {class: "kv"}, fills.map((fill) => {
    const worse = (Number(fill.price) / Number(order.reference_price) - 1) * 10000 * (fill.side === "buy" ? 1 : -1);
    const against = Number(order.reference_price) > 0 ? `, ${f.number(Math.abs(worse), 1)} bps ${worse >= 0 ? "worse" : "better"} than the quote` : "";
    return [h("dt", {}, `${f.exact(fill.quantity)} at ${f.exact(fill.price, order.reference_price)}`), h("dd", {}, `${f.money(Number(fill.quantity) * Number(fill.price))} ${quote(order.symbol)}, fee ${f.money(fill.fee)}${against}`)];
  }));
};

const steps = (...entries) => h("ol", {class: "steps"}, entries.filter(Boolean).map(([title, content], index) => h("li", {"data-n": index + 1}, h("h2", {}, title), content)));

const candlesCard = (answer, marks) => {
  const head = h("header", {}, h("h2", {}, "Candles it was decided on"));
  const element = h("section", {class: "card c5"}, head);
  if (!answer) {
    element.append(h("p", {class: "muted"}, "They are not kept any more."));
    return {element, draw: () => {}, close: () => {}};
  }
  const chart = candleChart(answer, marks);
  head.append(h("span", {class: "end"}, chart.controls));
  element.append(...chart.elements, h("p", {class: "small muted"}, `${answer.candles.time.length} candles of ${answer.timeframe} up to ${f.instant(answer.candle_time)}, ${answer.source === "ledger" ? "as they were kept with the decision" : "as the cache holds them now"}`));
  return {element, draw: chart.draw, close: chart.close};
};

const raw = (path, body) => {
  const shown = h("pre", {hidden: true, tabindex: 0}, body);
  const toggle = h("button", {type: "button", class: "link", "aria-expanded": "false", onclick: () => { shown.hidden = !shown.hidden; toggle.setAttribute("aria-expanded", String(!shown.hidden)); }}, "request as sent");
  return {links: [body ? [toggle, " · "] : null, h("button", {type: "button", class: "link", onclick: (event) => showJson(event.target, path)}, "JSON")], shown};
};

const showJson = async (button, path) => {
  const {get} = await import("../api.js");
  const answer = await get(path);
  const old = document.querySelector("#raw-json");
  if (old) { old.remove(); return; }
  button.closest("section").append(h("pre", {id: "raw-json", tabindex: 0}, JSON.stringify(answer, null, 2)));
};

const sinceThen = (order) => {
  const box = h("div", {});
  const draw = () => {
    const held = (store.positions?.items ?? []).find((each) => each.symbol === order.symbol);
    const now = held?.market_price;
    const effect = now && Number(order.filled_quantity) > 0 ? (Number(now) - Number(order.average_price)) * Number(order.filled_quantity) * (order.side === "buy" ? 1 : -1) - Number(order.fees) : null;
    render(box, pairs("kv",
      ["Position now", held ? [`${f.exact(held.quantity)} ${base(order.symbol)}, average ${f.exact(held.average_price, now)}, `, h("span", {class: f.tone(held.profit)}, `${f.signed(held.profit)} ${quote(order.symbol)}`)] : "none"],
      effect === null ? null : ["This order", [h("span", {class: f.tone(effect)}, f.signed(effect)), h("span", {class: "muted"}, ` ${quote(order.symbol)}, with its fee`)]],
      held?.stop_price ? ["Would close at", `${f.exact(held.stop_price, now)} (${f.signedPercent(Number(held.stop_price) / Number(now) - 1, 1)}) or on a sell signal`] : null));
  };
  return {box, draw};
};

const about = (rows, links, shown) => [pairs("kv small", ...rows, ["Raw", links]), shown];

const timeframe = () => store.config?.settings.trading_engine;
const TIMEFRAMES = {m: 60, h: 3600, d: 86400};
const lengthOf = (name) => Number(name.slice(0, -1)) * TIMEFRAMES[name.at(-1)];

const settingsOf = async () => { if (!store.config) await load("config"); return store.config?.settings; };

export const order = (id) => {
  const element = h("div", {class: "grid"});
  const path = `/orders/${encodeURIComponent(id)}`;
  let chart = {draw: () => {}, close: () => {}};
  let after = {draw: () => {}};
  let status = null;
  const read = () => fetched(element, [[path], [`${path}/candles`, true]], async (story, candles) => {
    const settings = await settingsOf();
    status = story.order.status;
    const {order: made, decision, signal} = story;
    const tasks = made.cycle_id === "adopted" ? null : await tasksOf(made.cycle_id);
    chart.close();
    chart = candlesCard(candles, {side: made.side, price: made.average_price ?? made.limit_price, at: made.average_price ? "fill" : "limit", stop: made.stop_price, target: made.target_price});
    after = sinceThen(made);
    const {links, shown} = raw(path, made.body);
    chart.element.append(...about([
      ["Cycle", made.cycle_id === "adopted" ? "none: adopted" : [h("a", {class: "mono", href: `#cycle/${made.cycle_id}`}, made.cycle_id), story.batch === null ? "" : ` batch ${story.batch}`, " · ", h("a", {href: `#cycle/${made.cycle_id}`}, "trace")]],
      ["Decision key", h("span", {class: "mono"}, made.decision_key)],
      tasks ? ["Flower", tasks] : null,
    ].filter(Boolean), links, shown), h("h2", {}, "Since then"), after.box);
    const intent = decision?.intent;
    mount(element, h("div", {class: "crumb wrap"}, h("a", {href: "#home"}, "Overview"), " / ", h("a", {href: "#orders"}, "Orders"), " / ", h("span", {class: "mono"}, id)),
      h("section", {class: "card c7", id: "story"}, h("header", {}, h("div", {}, headline(made), h("p", {class: "muted"}, inOneLine(story)))),
        steps(intent ? [intent.exit_reason && !signal ? "Exit" : "Signal", signalStep(signal, intent, made.market_time, settings, lengthOf(timeframe()?.default_timeframe ?? "1h"))] : null,
          decision ? ["Size: the smallest allowance decides", allowances(decision)] : null,
          ["Sent", sentStep(story)], ["Fills", fillStep(story)])),
      chart.element);
    chart.draw();
    after.draw();
  });
  read();
  return {element, sections: [
    {element, names: ["positions"], draw: () => after.draw(), close: () => chart.close()},
    {element, names: ["orders"], draw: () => { const now = store.orders?.items.find((each) => each.client_order_id === id); if (status && now && now.status !== status) { status = null; read(); } }},
    {element, names: [], draw: () => chart.draw()},
  ]};
};

export const decision = (id) => {
  const element = h("div", {class: "grid"});
  const path = `/decisions/${encodeURIComponent(id)}`;
  let chart = {draw: () => {}, close: () => {}};
  fetched(element, [[path], [`${path}/candles`, true]], async (story, candles) => {
    const settings = await settingsOf();
    const {row, signal, decision: made} = story;
    const {intent} = made;
    const denied = made.verdict === "DENIED";
    chart = candlesCard(candles, {side: intent.side, price: intent.price, at: "asked", stop: intent.stop_price, target: intent.target_price});
    const {links, shown} = raw(path, "");
    chart.element.append(...about([["Cycle", h("a", {class: "mono", href: `#cycle/${row.cycle_id}`}, row.cycle_id)], ["Decision key", h("span", {class: "mono"}, intent.decision_key)]], links, shown));
    mount(element, h("div", {class: "crumb"}, h("a", {href: "#home"}, "Overview"), " / ", h("a", {href: "#orders"}, "Orders and decisions"), ` / decision ${id}`),
      h("section", {class: "card c7", id: "story"}, h("header", {}, h("div", {}, h("h1", {class: "h1"}, h("span", {class: intent.side === "buy" ? "up" : "down"}, `${intent.side === "buy" ? "▲ Buy" : "▼ Sell"}`), ` ${intent.symbol}: ${denied ? "not traded" : made.verdict.toLowerCase()}`), h("p", {class: "muted"}, denied ? `Denied by ${words.rule(made.binding_rule)}: ${words.bare(made.binding_rule, made.reason)}.` : `${words.sentence(words.rule(made.binding_rule))} set the size.`))),
        steps([intent.exit_reason && !signal ? "Exit" : "Signal", signalStep(signal, intent, row.market_time, settings, lengthOf(timeframe()?.default_timeframe ?? "1h"))],
          ["Size: the smallest allowance decides", allowances(made)],
          ["Sent", row.client_order_id ? h("a", {href: `#order/${row.client_order_id}`}, "its order") : h("p", {class: "muted"}, "Nothing: no order followed.")])),
      chart.element);
    chart.draw();
  });
  return {element, sections: [{element, names: [], draw: () => chart.draw(), close: () => chart.close()}]};
};
