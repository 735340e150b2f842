// Alerts, the history of the trading state, and who asked for what.
import {card, cell, h, render, table} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";
import {acknowledge} from "../actions.js";

const alertRow = (alert) =>
  h("tr", {}, cell("nowrap muted", f.instant(alert.opened_at)),
    cell("l", h("span", {class: `st ${alert.resolved_at ? "ok" : words.severityTone(alert.severity)}`}, alert.resolved_at ? `resolved after ${f.span(f.between(alert.opened_at, alert.resolved_at))}` : alert.severity)),
    cell("m-full wrap", h("b", {}, words.sentence(alert.name.replaceAll("_", " "))), h("span", {class: "sub"}, `${alert.detail}. ${words.sentence(alert.effect)}.`)),
    cell("l m-full", h("a", {href: `/runbook#${alert.name}`, target: "_blank"}, "What to do"), alert.cycle_id ? [" · ", h("a", {href: `#cycle/${alert.cycle_id}`}, "cycle")] : null),
    cell("l", alert.acknowledged_at ? `seen by ${alert.acknowledged_by}` : alert.resolved_at ? "" : h("button", {type: "button", "data-key": `ack-${alert.alert_id}`, onclick: () => acknowledge(alert)}, "I have seen it")));

const listed = (id, title, name, heads, row, empty) => {
  const {element, body} = card(id, title, "c12");
  const draw = () => {
    const page = store[name];
    const problem = store.problems[name];
    render(body, !page ? h("p", {class: "muted"}, problem ? `${problem.title}: ${problem.detail}` : "…") : page.items.length ? h("div", {class: "scroll"}, table(title, heads, page.items.map(row))) : h("p", {class: "muted"}, empty));
  };
  return {element, names: [name], draw};
};

export const alerts = () => {
  const sections = [
    listed("alert-list", "Alerts", "alerts", [["Since"], ["State"], ["What"], ["Where to look"], ["Seen"]], alertRow, "No alert was ever raised."),
    listed("state-list", "Trading state and schedule", "states", [["Time"], ["By"], ["What"], ["State"], ["Held down by"]], (row) => h("tr", {}, cell("nowrap muted", f.instant(row.at)), cell("l", row.actor), cell("m-full wrap", row.what), cell("l", h("span", {class: `st ${{ACTIVE: "ok", REDUCING: "warn", HALTED: "bad"}[row.effective]}`}, row.effective)), cell("l m-full wrap", row.causes.map((each) => `${each.cause.replaceAll("_", " ")}: ${each.detail}`).join("; "))), "Nothing was ever changed."),
    listed("audit-list", "Who asked for what", "audit", [["Time"], ["By"], ["Request"], ["Answer", "num"], ["Detail"]], (row) => h("tr", {}, cell("nowrap muted", f.instant(row.at)), cell("l", `${row.actor}${row.source ? `, ${row.source}` : ""}`), cell("mono wrap", `${row.method} ${row.route}`), cell("num", h("span", {class: row.status < 400 ? null : "late"}, String(row.status))), cell("l m-full wrap", row.detail)), "Nobody asked for a change yet."),
  ];
  return {element: h("div", {class: "grid"}, h("h1", {class: "vh"}, "Alerts and history"), sections.map((section) => section.element)), sections};
};
