// The last 60 cycles: how long each took, how it ended, what it filled.
import {card, h, render, s} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";

const HEIGHT = 132;
const BASE = 100;
const BARS = 60;

const bar = (cycle, x, width, y) => {
  const skipped = cycle.status === "SKIPPED";
  const bad = ["FAILED", "ABORTED"].includes(cycle.status);
  const top = skipped ? BASE - 11 : y(cycle.duration_s ?? 0);
  const fill = skipped ? "none" : bad ? "var(--bad)" : cycle.status === "DEGRADED" ? "url(#hatch)" : "var(--seg2)";
  const edge = skipped ? "var(--muted)" : cycle.status === "DEGRADED" ? "var(--warn)" : "none";
  const told = `${f.instant(cycle.started_at)}: ${cycle.status.toLowerCase()}, ${f.seconds(cycle.duration_s)}, ${f.plural(cycle.orders.filled, "order")} filled`;
  const dots = Math.min(cycle.orders.filled, Math.floor((BASE - top) / 6.5));
  return s("a", {href: `#cycle/${cycle.cycle_id}`, "aria-label": told, tabindex: -1},
    s("title", {}, told),
    s("rect", {x, y: 0, width: width + 2, height: BASE, fill: "transparent"}),
    s("rect", {x: x + 0.5, y: top, width, height: Math.max(BASE - top, 1), rx: 1.5, fill, stroke: edge}),
    Array.from({length: Math.max(dots, 0)}, (_, index) => s("circle", {cx: x + width / 2 + 0.5, cy: BASE - 6 - index * 6.5, r: Math.min(1.9, width / 3), fill: "var(--surface)"})));
};

export const bars = (cycles, width) => {
  const right = width - 46;
  const longest = Math.max(...cycles.map((cycle) => cycle.duration_s ?? 0), 0.1);
  const scale = 10 ** Math.floor(Math.log10(longest));
  const top = Math.ceil(longest / scale) * scale;
  const y = (value) => BASE - (value / top) * 92;
  const step = right / BARS;
  const shown = [...cycles].reverse();
  const offset = BARS - shown.length;
  const failed = shown.filter((cycle) => cycle.status !== "COMPLETED");
  const labels = shown.length > 1 ? [0, Math.floor((shown.length - 1) / 2), shown.length - 1] : [];
  return s("svg", {class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "group", "aria-label": `Duration of the last ${shown.length} cycles, up to ${f.seconds(longest)}; ${shown.length - failed.length} completed, ${failed.length} otherwise`},
    s("defs", {}, s("pattern", {id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"}, s("rect", {width: 5, height: 5, fill: "var(--warn-bg)"}), s("rect", {width: 2.4, height: 5, fill: "var(--warn)"}))),
    [top / 2, top].map((value) => [s("line", {x1: 0, x2: right, y1: y(value), y2: y(value), stroke: "var(--line)"}), s("text", {x: width, y: y(value) + 4, "text-anchor": "end", "font-size": 11.5}, f.seconds(value))]),
    shown.map((cycle, index) => bar(cycle, (offset + index) * step, Math.max(step - 4, 2), y)),
    s("line", {x1: 0, x2: right, y1: BASE, y2: BASE, stroke: "var(--line2)"}),
    labels.map((index, place) => s("text", {x: place === 2 ? right : (offset + index) * step, y: 120, "font-size": 11.5, "text-anchor": place === 2 ? "end" : "start"}, f.minutes(shown[index].started_at))));
};

const causes = (cycles) => {
  const degraded = cycles.filter((cycle) => cycle.status === "DEGRADED");
  const skipped = cycles.filter((cycle) => cycle.status === "SKIPPED");
  const broken = cycles.filter((cycle) => ["FAILED", "ABORTED"].includes(cycle.status));
  const reasons = [...new Set(degraded.flatMap((cycle) => cycle.degraded.map((each) => `${each.service.replaceAll("_", " ")}: ${each.reason}`)))].slice(0, 2).join("; ");
  return h("div", {class: "counts small"}, h("span", {}, "■ completed"),
    h("span", {}, "▨ degraded: ", degraded.length ? h("a", {href: `#cycle/${degraded[0].cycle_id}`, "data-key": "degraded"}, `${degraded.length}${reasons ? `, ${reasons}` : ""}`) : "0"),
    h("span", {}, "□ skipped: ", skipped.length ? h("a", {href: `#cycle/${skipped[0].cycle_id}`, "data-key": "skipped"}, `${skipped.length}, ${skipped[0].reason}`) : "0"),
    broken.length ? h("span", {class: "late"}, "failed or aborted: ", h("a", {href: `#cycle/${broken[0].cycle_id}`, "data-key": "broken"}, `${broken.length}`)) : null,
    h("span", {}, "• order filled"));
};

export const create = () => {
  const {element, body, end, title} = card("cycles", "Last 60 cycles", "c12");
  const draw = () => {
    const cycles = store.cycles?.items;
    if (!cycles) { render(body, h("div", {class: "skeleton"})); return; }
    const closed = cycles.filter((cycle) => cycle.status !== "RUNNING");
    title.textContent = `Last ${Math.min(closed.length, BARS) || ""} cycles`.replace("  ", " ");
    const recent = store.status?.performance;
    render(end, recent?.cycles ? `p50 ${f.seconds(recent.cycle_seconds.p50)} · p95 ${f.seconds(recent.cycle_seconds.p95)} · success ${f.percent(recent.success_rate, 1)} · ` : "", h("a", {href: "#cycles"}, "all cycles"));
    if (!closed.length) { render(body, h("p", {class: "muted"}, "No cycle yet.")); return; }
    render(body, bars(closed.slice(0, BARS), Math.max(Math.floor(body.clientWidth), 260)), causes(closed));
  };
  return {element, names: ["cycles", "status"], draw, sized: true};
};
