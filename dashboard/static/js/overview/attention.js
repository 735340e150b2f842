// What needs somebody: open alerts, what is degraded, orders of unknown fate, the last recovery.
import {card, h, note, render} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";
import {acknowledge} from "../actions.js";

const SHOWN = 6;

const what = (alert) => words.sentence(alert.name.replaceAll("_", " "));

const alertNote = (alert) => {
  const seen = alert.acknowledged_at ? ` Seen by ${alert.acknowledged_by}, ${f.moment(alert.acknowledged_at)}.` : "";
  const act = alert.acknowledged_at ? null : h("button", {type: "button", class: "link", "data-key": `ack-${alert.alert_id}`, onclick: () => acknowledge(alert)}, "I have seen it");
  return note(words.severityTone(alert.severity), what(alert),
    h("span", {}, `Since ${f.moment(alert.opened_at)} (${f.span(f.since(alert.opened_at))}). ${words.sentence(alert.detail)}. ${words.sentence(alert.effect)}.${seen} `, h("a", {href: `/runbook#${alert.name}`, target: "_blank"}, "What to do"), " ", act));
};

const degradedNote = (entry) =>
  note("warn", `${words.service(entry.service)}: ${entry.reason}`, `${entry.since ? `Since ${f.moment(entry.since)} (${f.span(f.since(entry.since))}). ` : ""}${words.sentence(entry.effect)}.`);

const unknownNote = (order) =>
  note("bad", `${order.symbol}: an order of unknown fate`, h("span", {}, `Since ${f.moment(order.at)}. It may have traded; its budget stays held, and the symbol takes no entry. `, h("a", {href: `#order/${order.client_order_id}`}, "Its story")));

const recovery = (alerts) => {
  const [latest] = alerts.filter((alert) => alert.resolved_at).sort((one, other) => other.resolved_at.localeCompare(one.resolved_at));
  if (!latest) return null;
  return note("quiet", `Last recovery: ${latest.name.replaceAll("_", " ")}`, `${f.moment(latest.resolved_at)}, after ${f.span(f.between(latest.opened_at, latest.resolved_at))}`);
};

export const create = () => {
  const {element, body, end} = card("attention", "Needs attention", "c4");
  const draw = () => {
    const alerts = store.alerts?.items ?? [];
    const open = alerts.filter((alert) => !alert.resolved_at);
    const told = new Set(open.map((alert) => alert.name));
    const degraded = (store.status?.degraded ?? []).filter((entry) => !told.has(`${entry.service}_down`));
    const unknown = (store.orders?.items ?? []).filter((order) => order.status === "UNKNOWN");
    const count = open.length + degraded.length + unknown.length;
    end.textContent = store.alerts ? `${count} open` : "";
    const notes = [...unknown.map(unknownNote), ...open.map(alertNote), ...degraded.map(degradedNote)];
    const problem = store.problems.alerts;
    render(body, h("div", {class: "notes"},
      problem ? note("bad", problem.title, problem.detail) : null,
      count === 0 && store.alerts ? note("quiet", "Nothing needs you", "No alert is open, and every service serves.") : null,
      notes.slice(0, SHOWN),
      notes.length > SHOWN ? h("p", {class: "small"}, h("a", {href: "#alerts"}, `${notes.length - SHOWN} more`)) : null,
      recovery(alerts)));
  };
  return {element, names: ["alerts", "status", "orders"], draw};
};
