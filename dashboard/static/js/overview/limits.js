// Each limit: how much of it is used, and what happens at it.
import {card, h, render, s} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";

const NEAR = 0.8;

const shown = (limit, value) => (limit.unit === "of equity" ? percent(value) : f.number(value));
const percent = (value) => {
  const shown = Number(value) * 100;
  return `${f.number(shown, Number.isInteger(Number(shown.toFixed(6))) ? 0 : shown >= 10 ? 1 : 2)} %`;
};

const bar = (share, mark) =>
  s("svg", {viewBox: "0 0 1000 12", preserveAspectRatio: "none", "aria-hidden": "true"},
    s("rect", {y: 3, width: 1000, height: 6, fill: "var(--sunken)"}),
    s("rect", {y: 3, width: Math.min(Math.max(share, 0), 1) * 1000, height: 6, fill: share >= NEAR ? "var(--warn)" : "var(--seg3)"}),
    mark === null ? null : s("rect", {x: mark * 1000 - 3, width: 6, height: 12, fill: "var(--text)"}));

const row = (limit, soft) => {
  const least = limit.name === "min_cash";
  const used = Number(limit.used);
  const bound = Number(limit.limit);
  const share = least ? (used <= 0 ? 1 : bound / used) : bound > 0 ? used / bound : 0;
  const halts = limit.effect.startsWith("HALTED");
  const follows = soft ? `${percent(soft.limit)} reduces, ${percent(limit.limit)} halts` : halts ? `${percent(limit.limit)} halts until resumed` : limit.effect;
  return h("div", {class: "lim"}, h("span", {}, words.limit(limit.name)),
    h("span", {class: "v"}, `${shown(limit, Math.max(used, 0))} `, h("span", {}, `${least ? "at least" : "of"} ${limit.unit === "of equity" ? `${f.number(bound * 100, Number.isInteger(bound * 100) ? 0 : 1)} %` : f.number(bound)}`)),
    bar(share, soft ? Number(soft.limit) / bound : null),
    soft || share >= NEAR || limit.name === "max_drawdown" ? h("span", {class: "small muted"}, follows) : null);
};

export const create = () => {
  const {element, body, end} = card("limits", "What would stop it", "c4");
  const draw = () => {
    const limits = store.status?.limits;
    if (!limits) { render(body, h("div", {class: "skeleton"})); return; }
    if (!limits.length) { render(body, h("p", {class: "muted"}, "Known once the account was read: after the first cycle.")); return; }
    const soft = limits.find((limit) => limit.name === "max_daily_loss_soft");
    const order = (limit) => { const place = words.LIMIT_ORDER.indexOf(limit.name); return place < 0 ? 99 : place; };
    const rows = limits.filter((limit) => limit !== soft).sort((one, other) => order(one) - order(other));
    render(end, h("a", {class: "muted", href: "#settings"}, "all limits"));
    render(body, rows.map((limit) => row(limit, limit.name === "max_daily_loss_hard" ? soft : null)));
  };
  return {element, names: ["status"], draw};
};
