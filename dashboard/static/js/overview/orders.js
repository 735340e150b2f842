// Orders, and decisions that no order followed, newest first.
import {card, cell, h, render, table, tabs} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";

const SHOWN = 12;

const merged = () => {
  const orders = (store.orders?.items ?? []).map((order) => ({at: order.at, order}));
  const denied = (store.denied?.items ?? []).map((decision) => ({at: decision.at, decision}));
  return [...orders, ...denied].sort((one, other) => other.at.localeCompare(one.at));
};

export const side = (value, symbol) => [h("span", {class: `side ${value}`}, value === "buy" ? "Buy" : "Sell"), ` ${symbol}`];

export const why = (row) => {
  const by = row.binding_rule ? words.rule(row.binding_rule) : "";
  if (row.exit_reason) return [h("span", {}, row.exit_reason === "signal" ? `${row.strategy} sells` : row.exit_reason === "operator" ? "closed by hand" : "protective exit"), h("span", {class: "muted"}, `, ${row.reason ?? row.why}`)];
  return [h("span", {}, `${row.strategy} ${f.number(row.confidence, 2)}`), h("span", {class: "muted"}, by ? `, sized by ${by}` : "")];
};

export const orderRow = (order) => {
  const price = order.average_price ?? order.limit_price;
  const filled = Number(order.filled_quantity) > 0;
  const quantity = filled ? order.filled_quantity : order.quantity;
  const value = filled ? Number(quantity) * Number(price) : null;
  return h("tr", {"data-id": `order/${order.client_order_id}`},
    cell("muted nowrap", f.moment(order.at)),
    cell(null, h("a", {class: "row", href: `#order/${order.client_order_id}`, "data-key": order.client_order_id}, side(order.side, order.symbol))),
    cell("num m-hide", f.exact(quantity)),
    cell("num m-hide", f.exact(price, filled ? undefined : order.limit_price)),
    cell("num", value === null ? "–" : f.money(value)),
    cell("l", h("span", {class: `st ${words.orderTone(order.status)}`}, order.status)),
    cell("m-full", why(order.exit_reason ? {...order, reason: order.why} : order)));
};

export const deniedRow = (decision) => {
  const rule = words.rule(decision.binding_rule);
  const detail = words.bare(decision.binding_rule, decision.reason);
  return h("tr", {"data-id": `decision/${decision.decision_id}`},
    cell("muted nowrap", f.moment(decision.at)),
    cell(null, h("a", {class: "row", href: `#decision/${decision.decision_id}`, "data-key": `d${decision.decision_id}`}, side(decision.side, decision.symbol))),
    cell("num m-hide", Number(decision.asked) > 0 ? f.exact(decision.asked) : "–"),
    cell("num m-hide", "–"), cell("num", "–"),
    cell("l", h("span", {class: "st open"}, "not traded")),
    cell("m-full", h("span", {}, `${decision.strategy} ${f.number(decision.confidence, 2)}`), h("span", {class: "muted"}, `, denied: ${rule}${detail ? `: ${detail}` : ""}`)));
};

export const HEADS = () => [[`Time, ${f.zoneName()}`], ["Order"], ["Quantity", "num"], ["Price", "num"], [`Value, ${store.status?.portfolio?.currency ?? ""}`, "num"], ["State"], ["Why"]];

const FILTERS = {
  all: () => true,
  open: (row) => row.order && words.OPEN.has(row.order.status),
  filled: (row) => row.order && Number(row.order.filled_quantity) > 0,
  denied: (row) => row.decision,
};

export const choices = (rows) => [["all", "All"], ["open", `Open ${rows.filter(FILTERS.open).length}`], ["filled", "Filled"], ["denied", "Not traded"]];
export const chosen = (rows, filter) => rows.filter(FILTERS[filter]);
export const rowOf = (row) => (row.order ? orderRow(row.order) : deniedRow(row.decision));
export {merged};

export const create = () => {
  const {element, body, head, end} = card("orders", "Orders and decisions", "c12");
  let filter = "all";
  const group = h("span", {});
  head.insertBefore(group, end);
  const draw = () => {
    const rows = merged();
    render(group, tabs("Show", choices(rows), filter, (value) => { filter = value; draw(); }));
    const visible = chosen(rows, filter);
    end.textContent = "";
    end.append(h("a", {href: "#orders"}, "all orders"));
    if (!store.orders && !store.problems.orders) { render(body, h("div", {class: "skeleton"})); return; }
    const problem = store.problems.orders;
    render(body, problem && !store.orders ? h("p", {class: "late"}, `${problem.title}: ${problem.detail}`) : null,
      visible.length ? table("Orders and decisions, newest first", HEADS(), visible.slice(0, SHOWN).map(rowOf), {kind: "cards orders"}) : h("p", {class: "muted"}, filter === "all" ? "No order yet. A cycle decides on orders when a strategy signals." : "None of the latest."));
  };
  return {element, names: ["orders", "denied", "status"], draw};
};
