// Every cycle, page by page.
import {get} from "../api.js";
import {card, cell, h, render, table} from "../dom.js";
import * as f from "../format.js";
import {bars} from "../overview/cycles.js";
import {store} from "../store.js";
import * as words from "../words.js";
import {pager} from "./fetched.js";

const row = (cycle) =>
  h("tr", {},
    cell(null, h("a", {class: "row", href: `#cycle/${cycle.cycle_id}`, "data-key": cycle.cycle_id}, f.moment(cycle.started_at))),
    cell("l", h("span", {class: `st ${words.cycleTone(cycle.status)}`}, cycle.status)),
    cell("num m-hide", f.seconds(cycle.duration_s)),
    cell("num m-hide", f.number(cycle.symbols.selected)),
    cell("num m-hide", `${f.number(cycle.signals.kept)} of ${f.number(cycle.signals.received)}`),
    cell("num m-hide", `${f.number(cycle.orders.filled)} of ${f.number(cycle.orders.submitted)}`),
    cell("muted m-full wrap", [cycle.trigger === "manual" ? "by hand" : null, cycle.dry_run ? "dry run" : null, cycle.reason, ...cycle.degraded.map((each) => `${words.service(each.service)}: ${each.reason}`)].filter(Boolean).join("; ")));

export const cycles = () => {
  const {element, body} = card("all-cycles", "Cycles", "c12");
  const older = [];
  let cursor;
  const more = async () => {
    const page = await get(`/cycles?limit=200&before=${cursor ?? store.cycles.next_before}`);
    older.push(...page.items);
    cursor = page.next_before;
    draw();
  };
  const draw = () => {
    const newest = store.cycles?.items;
    if (!newest) { render(body, h("div", {class: "skeleton"})); return; }
    const seen = new Set(newest.map((each) => each.cycle_id));
    const all = [...newest, ...older.filter((each) => !seen.has(each.cycle_id))];
    const closed = newest.filter((each) => each.status !== "RUNNING");
    const heads = [[`Started, ${f.zoneName()}`], ["Status"], ["Took", "num"], ["Symbols", "num"], ["Signals kept", "num"], ["Orders filled", "num"], ["Note"]];
    render(body, closed.length ? bars(closed, Math.max(Math.floor(body.clientWidth), 260)) : null, all.length ? table("Cycles, newest first", heads, all.map(row)) : h("p", {class: "muted"}, "No cycle yet. Start the schedule or run one cycle."), pager(cursor === undefined ? store.cycles.next_before : cursor, more));
  };
  return {element: h("div", {class: "grid"}, h("h1", {class: "vh"}, "Cycles"), element), sections: [{element, names: ["cycles"], draw, sized: true}]};
};
