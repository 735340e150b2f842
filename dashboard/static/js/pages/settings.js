// Effective settings, strategies with their throttles, and every limit.
import {card, cell, h, render, table} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import {enable} from "../actions.js";
import * as words from "../words.js";

const flat = (value, path = "") => (value !== null && typeof value === "object" && !Array.isArray(value) ? Object.entries(value).flatMap(([name, inner]) => flat(inner, path ? `${path}.${name}` : name)) : [[path, value]]);

const strategyRow = (each) =>
  h("tr", {}, cell(null, h("b", {}, each.strategy)), cell("l m-hide wrap", Object.entries(each.parameters).map(([name, value]) => `${name} ${value}`).join(", ")),
    cell("m-full wrap", each.disabled.length ? h("span", {class: "st warn"}, `throttled in ${each.disabled.map((one) => one.symbol).join(", ")}`) : h("span", {class: "st ok"}, "may enter"), each.disabled.length ? h("span", {class: "sub"}, each.disabled[0].reason) : null),
    cell("num", each.disabled.length ? h("button", {type: "button", "data-key": `enable-${each.strategy}`, onclick: () => enable(each.strategy)}, "Enable again") : ""));

export const settings = () => {
  const strategies = card("strategies", "Strategies", "c12");
  const limits = card("all-limits", "All limits", "c12");
  const config = card("config", "Effective settings", "c12");
  const sections = [
    {element: strategies.element, names: ["strategies"], draw: () => render(strategies.body, store.strategies ? table("Strategies", [["Strategy"], ["Parameters"], ["State"], ["Act", "num"]], store.strategies.items.map(strategyRow)) : h("div", {class: "skeleton"}))},
    {element: limits.element, names: ["status"], draw: () => render(limits.body, store.status?.limits.length ? table("Limits", [["Limit"], ["Used", "num"], ["Of", "num"], ["At the limit"]], store.status.limits.map((each) => h("tr", {}, cell(null, words.limit(each.name), h("span", {class: "sub mono"}, each.name)), cell("num", each.unit === "of equity" ? f.percent(each.used) : f.number(each.used)), cell("num", each.unit === "of equity" ? f.percent(each.limit) : `${f.number(each.limit)} ${each.unit}`), cell("l m-full", each.effect)))) : h("p", {class: "muted"}, "Known once the account was read: after the first cycle."))},
    {element: config.element, names: ["config"], draw: () => { const shown = store.config; config.end.textContent = shown ? `hash ${shown.config_hash.slice(0, 12)}` : ""; render(config.body, shown ? h("div", {class: "scroll"}, table("Settings", [["Key"], ["Value"]], flat(shown.settings).map(([name, value]) => h("tr", {}, cell("mono wrap", name), cell("mono wrap l", typeof value === "string" ? value || "–" : JSON.stringify(value)))), {kind: "plain"})) : h("div", {class: "skeleton"})); }},
  ];
  return {element: h("div", {class: "grid"}, h("h1", {class: "vh"}, "Settings"), sections.map((section) => section.element)), sections};
};
