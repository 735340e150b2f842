// Every order and every decision that no order followed, with a filter, page by page.
import {get} from "../api.js";
import {card, h, render, table, tabs} from "../dom.js";
import {choices, chosen, HEADS, merged, rowOf} from "../overview/orders.js";
import {store} from "../store.js";
import {pager} from "./fetched.js";

export const orders = (symbol) => {
  const {element, body, head, end} = card("all-orders", "Orders and decisions", "c12");
  const field = h("input", {type: "search", id: "filter", "aria-label": "Filter by symbol, strategy, state or rule", placeholder: "filter", value: symbol});
  const group = h("span", {});
  head.insertBefore(group, end);
  end.append(field);
  const older = [];
  const cursors = {orders: undefined, denied: undefined};
  let filter = "all";

  const more = async () => {
    const known = {orders: cursors.orders ?? store.orders?.next_before, denied: cursors.denied ?? store.denied?.next_before};
    const [next, refused] = await Promise.all([known.orders ? get(`/orders?limit=200&before=${known.orders}`) : null, known.denied ? get(`/decisions?verdict=DENIED&limit=200&before=${known.denied}`) : null]);
    older.push(...(next?.items ?? []).map((order) => ({at: order.at, order})), ...(refused?.items ?? []).map((decision) => ({at: decision.at, decision})));
    older.sort((one, other) => other.at.localeCompare(one.at));
    cursors.orders = next?.next_before ?? null;
    cursors.denied = refused?.next_before ?? null;
    draw();
  };

  const matches = (row) => {
    const text = field.value.trim().toLowerCase();
    if (!text) return true;
    const {symbol: name, strategy, side, status, verdict, binding_rule: rule, why, cycle_id: cycle} = row.order ?? row.decision;
    return [name, strategy, side, status, verdict, rule, why, cycle].some((value) => String(value ?? "").toLowerCase().includes(text));
  };

  const draw = () => {
    const newest = merged();
    const seen = new Set(newest.map((row) => row.order?.client_order_id ?? row.decision.decision_id));
    const all = [...newest, ...older.filter((row) => !seen.has(row.order?.client_order_id ?? row.decision.decision_id))];
    render(group, tabs("Show", choices(all), filter, (value) => { filter = value; draw(); }));
    const rows = chosen(all, filter).filter(matches);
    const isMore = (cursors.orders === undefined ? store.orders?.next_before : cursors.orders) || (cursors.denied === undefined ? store.denied?.next_before : cursors.denied);
    render(body, rows.length ? table("Orders and decisions, newest first", HEADS(), rows.map(rowOf), {kind: "cards orders"}) : h("p", {class: "muted"}, "Nothing of this kind among what was read."), pager(isMore, more));
  };
  field.oninput = draw;
  return {element: h("div", {class: "grid"}, h("h1", {class: "vh"}, "Orders"), element), sections: [{element, names: ["orders", "denied"], draw}]};
};
