// Equity over market time with the drawdown below; unrealised results are in it.
import {AreaSeries, PriceScaleMode} from "../../vendor/lightweight-charts.js";
import {addKeys, color, makeChart, soft, tableView, toSeconds} from "../charts.js";
import {card, h, render, tabs} from "../dom.js";
import * as f from "../format.js";
import {load, store} from "../store.js";

const WINDOWS = [["24h", "1 D"], ["7d", "7 D"], ["30d", "30 D"], ["all", "All"]];
const SCALES = [["money", "USD"], ["percent", "%"], ["log", "log"]];
const MODES = {money: PriceScaleMode.Normal, percent: PriceScaleMode.Percentage, log: PriceScaleMode.Logarithmic};

const points = (curve) => {
  const found = new Map();
  for (const point of curve) found.set(toSeconds(point.time), Number(point.equity));
  return [...found].map(([time, value]) => ({time, value}));
};

const falls = (curve) => {
  let peak = -Infinity;
  return curve.map(({time, value}) => { peak = Math.max(peak, value); return {time, value: (value / peak - 1) * 100}; });
};

const kpi = (label, ...shown) => h("div", {class: "kpi"}, h("div", {class: "l"}, label), h("div", {class: "n"}, ...shown));

const figures = () => {
  const {status, performance} = store;
  const account = status?.portfolio;
  if (!account) return h("p", {class: "muted"}, "Known once the account was read: after the first cycle.");
  const before = Number(account.equity) - Number(account.day_pnl);
  const first = performance?.equity_curve[0];
  const gain = first ? Number(account.equity) - Number(first.equity) : null;
  const ratio = performance?.sharpe;
  return h("div", {class: "kpis"},
    kpi("Equity", f.money(account.equity), " ", h("small", {class: "muted"}, account.currency)),
    kpi("Today", h("span", {class: f.tone(account.day_pnl)}, f.signed(account.day_pnl), " ", h("small", {}, f.signedPercent(before ? Number(account.day_pnl) / before : 0)))),
    kpi(store.window === "all" ? "Since start" : `Last ${WINDOWS.find(([value]) => value === store.window)[1]}`, gain === null ? "–" : h("span", {class: f.tone(gain)}, f.signed(gain), " ", h("small", {}, f.signedPercent(gain / Number(first.equity))))),
    kpi("Drawdown", f.percent(-Number(account.drawdown) || 0), " ", h("small", {class: "muted"}, performance?.max_drawdown === null || !performance ? "" : `max ${f.percent(Math.min(performance.max_drawdown, -account.drawdown))}`)),
    kpi("Sharpe · win rate", ratio === null || ratio === undefined ? "–" : f.number(ratio, 2), " ", h("small", {class: "muted"}, performance?.win_rate === null || !performance ? "· no closed trade" : `· ${f.percent(performance.win_rate, 1)} of ${performance.trades}`)));
};

export const create = () => {
  const {element, body, end} = card("equity", "Equity and drawdown", "c8");
  const kpis = h("div", {});
  const holder = h("div", {class: "chart tall", role: "img"});
  const readout = h("p", {class: "readout", "aria-live": "polite"});
  const tableHolder = h("div", {hidden: true});
  body.append(kpis, holder, tableHolder, readout);
  let scale = "money";
  let asTable = false;
  let chart = null;
  let drawn = "";

  const controls = () => render(end,
    tabs("Window", WINDOWS, store.window, (value) => { store.window = value; load("performance"); draw(); }),
    tabs("Scale", [["money", store.status?.portfolio?.currency ?? "USD"], ...SCALES.slice(1)], scale, (value) => { scale = value; drawn = ""; draw(); }),
    h("span", {class: "tabs"}, h("button", {type: "button", "aria-pressed": String(asTable), "data-key": "equity-table", onclick: () => { asTable = !asTable; drawn = ""; draw(); }}, "Table")));

  const paint = (curve) => {
    chart?.remove();
    chart = makeChart(holder);
    const equity = chart.addSeries(AreaSeries, {lineColor: color("--text"), topColor: soft("--text", 0.08), bottomColor: soft("--text", 0.02), lineWidth: 2, priceFormat: {type: "custom", formatter: (value) => (scale === "percent" ? `${f.number(value, 2)} %` : f.number(value, value < 100 ? 2 : 0))}});
    equity.priceScale().applyOptions({mode: MODES[scale], scaleMargins: {top: 0.08, bottom: 0.05}});
    equity.setData(curve);
    const fall = chart.addSeries(AreaSeries, {lineColor: color("--down"), topColor: soft("--down", 0.05), bottomColor: soft("--down", 0.3), lineWidth: 1, priceFormat: {type: "custom", formatter: (value) => `${f.number(value, 1)} %`}, lastValueVisible: false, priceLineVisible: false, invertFilledArea: true}, 1);
    fall.setData(falls(curve));
    chart.panes()[0].setStretchFactor(3);
    chart.panes()[1]?.setStretchFactor(1);
    chart.timeScale().fitContent();
    const depth = new Map(falls(curve).map(({time, value}) => [time, value]));
    const tell = ({time, value}) => { readout.textContent = `${f.instant(time * 1000)} ${f.zoneName()}: equity ${f.money(value)}, drawdown ${f.number(depth.get(time) ?? 0, 2)} %`; };
    chart.subscribeCrosshairMove((moved) => { const value = moved.seriesData.get(equity); if (value) tell({time: moved.time, value: value.value}); });
    addKeys(holder, chart, equity, curve, tell);
  };

  const draw = () => {
    controls();
    render(kpis, figures());
    const answer = store.performance;
    const curve = answer ? points(answer.equity_curve) : [];
    const key = JSON.stringify([Boolean(answer), curve.length, curve.at(-1), curve[0], scale, asTable, document.documentElement.dataset.theme, f.settings.zone]);
    if (key === drawn) return;
    drawn = key;
    holder.hidden = asTable || curve.length < 2;
    tableHolder.hidden = !asTable && curve.length >= 2;
    if (asTable) render(tableHolder, tableView("Equity, newest first", [`Market time, ${f.zoneName()}`, "Equity", "Drawdown"], falls(curve).map((fall, index) => [f.instant(fall.time * 1000), f.money(curve[index].value), `${f.number(fall.value, 2)} %`]).reverse()));
    else if (curve.length < 2) render(tableHolder, h("p", {class: "muted"}, answer ? "A curve needs two cycles." : "", answer ? "" : h("span", {class: "skeleton"})));
    else render(tableHolder);
    if (!holder.hidden) {
      const highest = Math.max(...curve.map((point) => point.value));
      holder.setAttribute("aria-label", `Equity from ${f.money(curve[0].value)} to ${f.money(curve.at(-1).value)}, peak ${f.money(highest)}; drawdown now ${f.number(falls(curve).at(-1).value, 2)} percent. Arrow keys walk over it.`);
      paint(curve);
    }
  };
  return {element, names: ["performance", "status"], draw, close: () => chart?.remove()};
};
