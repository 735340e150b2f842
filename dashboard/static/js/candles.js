// The candles that a decision saw, with fill, stop and target; the decision's candle is marked.
import {CandlestickSeries, createSeriesMarkers, LineStyle, PriceScaleMode} from "../vendor/lightweight-charts.js";
import {addKeys, color, makeChart, tableView} from "./charts.js";
import {h, render, tabs} from "./dom.js";
import * as f from "./format.js";

const SHOWN = 60;

// Candles that are missing stay missing: an empty place each.
const rows = (answer) => {
  const {time, open, high, low, close} = answer.candles;
  const found = [];
  for (let index = 0; index < time.length; index += 1) {
    const at = time[index] / 1000;
    const before = found.at(-1)?.time;
    for (let gap = before + answer.timeframe_s; before && gap < at && found.length < 20000; gap += answer.timeframe_s) found.push({time: gap});
    found.push({time: at, open: open[index], high: high[index], low: low[index], close: close[index]});
  }
  return found;
};

const line = (series, price, title, shade) => series.createPriceLine({price: Number(price), color: color(shade), lineWidth: 1, lineStyle: LineStyle.Dashed, title, axisLabelVisible: true});

export const candleChart = (answer, {side, price, stop, target, at}) => {
  const data = rows(answer);
  const real = data.filter((candle) => candle.close !== undefined);
  const holder = h("div", {class: "chart candles", role: "img"});
  const readout = h("p", {class: "readout", "aria-live": "polite"});
  const values = h("div", {hidden: true});
  const controls = h("span", {});
  let log = false;
  let asTable = false;
  let chart = null;
  const digits = Math.max(...real.slice(-20).map((candle) => (String(candle.close).split(".")[1] ?? "").length), 2);
  const shown = (value) => f.number(value, Math.min(digits, 8));
  const last = real.at(-1);
  holder.setAttribute("aria-label", `${answer.symbol}, ${answer.timeframe} candles up to ${f.instant(answer.candle_time)}, last close ${shown(last.close)}. Arrow keys walk over them.`);

  const paint = () => {
    chart?.remove();
    chart = makeChart(holder);
    const series = chart.addSeries(CandlestickSeries, {upColor: color("--surface"), downColor: color("--down"), borderUpColor: color("--up"), borderDownColor: color("--down"), wickUpColor: color("--up"), wickDownColor: color("--down"), lastValueVisible: false, priceLineVisible: false, priceFormat: {type: "custom", minMove: 10 ** -Math.min(digits, 8), formatter: shown}});
    series.priceScale().applyOptions({mode: log ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal});
    series.setData(data);
    if (price) line(series, price, at === "fill" ? "fill" : "asked at", side === "buy" ? "--up" : "--down");
    if (stop) line(series, stop, "stop", "--bad");
    if (target) line(series, target, "target", "--ok");
    createSeriesMarkers(series, [{time: last.time, position: side === "buy" ? "belowBar" : "aboveBar", shape: side === "buy" ? "arrowUp" : "arrowDown", color: color(side === "buy" ? "--up" : "--down"), text: "decided"}]);
    chart.timeScale().setVisibleLogicalRange({from: data.length - SHOWN, to: data.length + 2});
    const tell = (candle) => { readout.textContent = `${f.instant(candle.time * 1000)} ${f.zoneName()}: open ${shown(candle.open)}, high ${shown(candle.high)}, low ${shown(candle.low)}, close ${shown(candle.close)}`; };
    chart.subscribeCrosshairMove((moved) => { const candle = moved.seriesData.get(series); if (candle?.close !== undefined) tell({...candle, time: moved.time}); });
    addKeys(holder, chart, series, real, tell);
  };

  const draw = () => {
    render(controls, tabs("Scale", [["linear", "linear"], ["log", "log"]], log ? "log" : "linear", (value) => { log = value === "log"; draw(); }), " ",
      h("span", {class: "tabs"}, h("button", {type: "button", "aria-pressed": String(asTable), "data-key": "candle-table", onclick: () => { asTable = !asTable; draw(); }}, "Table")));
    holder.hidden = asTable;
    values.hidden = !asTable;
    if (asTable) render(values, tableView("Candles, newest first", [`Opened, ${f.zoneName()}`, "Open", "High", "Low", "Close"], real.map((each) => [f.instant(each.time * 1000), shown(each.open), shown(each.high), shown(each.low), shown(each.close)]).reverse()));
    else if (holder.isConnected) paint();
  };
  return {elements: [holder, values, readout], controls, draw, close: () => chart?.remove()};
};
