// What is held: profit, share, stop, and what may be done with one.
import {card, cell, h, render, table} from "../dom.js";
import * as f from "../format.js";
import {load, store} from "../store.js";
import {askAdopt, askClose} from "../dialogs.js";

// A button stays while its row is brought up to date: what it acts on is what is known now.
const latest = (held) => store.positions.items.find((each) => each.symbol === held.symbol) ?? held;

const actions = (held) => {
  if (held.strategy === null) return h("button", {type: "button", "data-key": `adopt-${held.symbol}`, "aria-label": `Adopt ${held.symbol}`, onclick: () => askAdopt(latest(held))}, "Adopt");
  if (held.exit_requested) return h("span", {class: "st open", title: held.exit_requested}, "closing");
  return h("button", {type: "button", "data-key": `close-${held.symbol}`, "aria-label": `Close ${held.symbol}`, onclick: () => askClose(latest(held))}, "Close");
};

const row = (held) => {
  const owner = held.strategy === null ? h("span", {class: "st warn"}, "foreign") : `${held.strategy}${held.adopted ? ", adopted" : ""}`;
  return h("tr", {},
    cell(null, h("a", {class: "row", href: `#orders/${encodeURIComponent(held.symbol)}`, "data-key": `p-${held.symbol}`}, held.symbol)),
    cell("num m-hide", f.exact(held.quantity)),
    cell("num m-hide", f.exact(held.average_price, held.market_price)),
    cell("num m-hide", f.exact(held.market_price)),
    cell("num m-hide", f.money(held.value)),
    cell("num m-hide", f.percent(held.share, 1)),
    cell(`num ${f.tone(held.profit)}`, f.signed(held.profit), h("span", {class: "sub m-hide"}, f.signedPercent(held.profit_share))),
    cell("num m-hide", held.stop_price === null ? "–" : f.exact(held.stop_price, held.market_price)),
    cell("muted l m-hide", owner),
    cell("l only-m", `${f.exact(held.quantity)} · ${f.number(held.value)} · ${f.percent(held.share, 1)} · stop ${held.stop_price === null ? "–" : f.exact(held.stop_price, held.market_price)}`),
    cell("num", actions(held)));
};

export const create = () => {
  const {element, body, end} = card("positions", "Positions", "c12");
  const draw = () => {
    const page = store.positions;
    if (!page) { render(body, store.problems.positions ? h("p", {class: "late"}, `${store.problems.positions.title}: ${store.problems.positions.detail}`) : h("div", {class: "skeleton"})); return; }
    const age = page.as_of ? f.since(page.as_of) : 0;
    render(end, `${page.count} · unrealised `, h("b", {class: f.tone(page.unrealised)}, `${f.signed(page.unrealised)} ${page.currency}`), page.cash === null ? "" : ` · cash ${f.money(page.cash)} ${page.currency}`, age > 60 ? h("span", {class: "late"}, ` · ${f.span(age)} old`) : null);
    const currency = page.currency;
    const heads = [["Symbol"], ["Quantity", "num"], ["Average", "num"], ["Now", "num"], [`Value, ${currency}`, "num"], ["Of equity", "num"], [`Profit, ${currency}`, "num"], ["Stop at", "num"], ["Opened by"], ["In short", "only-m"], ["Act", "num"]];
    const more = page.count > page.items.length ? h("div", {class: "pager"}, h("button", {type: "button", "data-key": "all-positions", onclick: () => { store.allPositions = true; load("positions"); }}, `Show all ${page.count}`)) : null;
    render(body, page.items.length ? table("Positions, the largest value first", heads, page.items.map(row)) : h("p", {class: "muted"}, "Nothing is held."), more);
  };
  return {element, names: ["positions"], draw};
};
