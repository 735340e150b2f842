// What the charts share: colours of the theme, the zone of the axis, keys, and a table of values.
import {createChart} from "../vendor/lightweight-charts.js";
import {h} from "./dom.js";
import * as f from "./format.js";

export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const toSeconds = (at) => Math.floor(new Date(at).getTime() / 1000);

const faded = (hex, share) => `${hex}${Math.round(share * 255).toString(16).padStart(2, "0")}`;
export const soft = (name, share) => faded(color(name).length === 4 ? color(name).replace(/[^#]/g, "$&$&") : color(name), share);

// The axis is labelled in the chosen zone; the data stays in UTC, so that no hour falls on another.
export const makeChart = (element) => createChart(element, {
  autoSize: true,
  layout: {background: {color: "transparent"}, textColor: color("--muted"), fontFamily: color("--sans"), fontSize: 12, attributionLogo: false, panes: {separatorColor: color("--line2"), enableResize: false}},
  grid: {vertLines: {color: color("--line")}, horzLines: {color: color("--line")}},
  rightPriceScale: {borderVisible: false},
  timeScale: {borderVisible: false, timeVisible: true, tickMarkFormatter: (time, kind) => (kind <= 2 ? f.day(time * 1000) : f.minutes(time * 1000))},
  crosshair: {mode: 0, vertLine: {color: color("--muted"), labelBackgroundColor: color("--seg3")}, horzLine: {color: color("--muted"), labelBackgroundColor: color("--seg3")}},
  localization: {timeFormatter: (time) => `${f.instant(time * 1000)} ${f.zoneName()}`},
  handleScroll: {mouseWheel: false}, handleScale: {mouseWheel: false},
});

// Left and right walk over the points and tell each; Home and End jump.
export const addKeys = (element, chart, series, points, tell) => {
  let place = points.length - 1;
  element.tabIndex = 0;
  element.onkeydown = (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity}[event.key];
    if (step === undefined || !points.length) return;
    event.preventDefault();
    place = Math.min(Math.max(place + step, 0), points.length - 1);
    const point = points[place];
    chart.setCrosshairPosition(point.value ?? point.close, point.time, series);
    tell(point);
  };
  element.onblur = () => chart.clearCrosshairPosition();
};

export const tableView = (label, heads, rows) =>
  h("div", {class: "tableview", tabindex: 0, role: "region", "aria-label": label}, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", {scope: "col"}, head)))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map((text) => h("td", {class: "nowrap"}, text)))))));
