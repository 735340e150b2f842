// The current cycle on its time axis; between cycles the last one, scaled to its own duration.
import {card, h, render, s} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";

const HEIGHT = 62;
const TOP = 20;
const BAR = 34;
const COLORS = {select: "--seg3", fetch: "--seg1", evaluate: "--seg2", risk: "--seg1", allocate: "--seg2", execute: "--seg3", finish: "--seg1"};
const NEARS = 0.6;

const segment = (span, x, now) => {
  const from = x(span.began_at);
  const to = x(span.ended_at ?? now);
  const wide = Math.max(to - from, 1.5);
  const progress = span.ended_at || span.total === null ? "" : ` ${span.done}/${span.total}`;
  const length = span.ended_at ? ` ${f.seconds(f.between(span.began_at, span.ended_at))}` : progress;
  const label = wide > 96 ? `${span.step}${length}` : wide > 50 ? span.step : "";
  const dark = ["--seg3", "--seg2"].includes(COLORS[span.step]);
  return s("g", {}, s("rect", {x: from, y: TOP, width: Math.max(wide - 1.5, 1), height: BAR, fill: span.ended_at ? `var(${COLORS[span.step]})` : "url(#running)"}, s("title", {}, `${span.step}${length}`)),
    label ? s("text", {x: from + 7, y: TOP + 21, "font-size": 11.5, class: dark && span.ended_at ? "on-dark" : "on-light", style: null}, label) : null);
};

const mark = (x, text, width) => {
  const late = x > width - 90;
  return s("g", {}, s("line", {x1: x, x2: x, y1: 2, y2: HEIGHT - 2, stroke: "var(--muted)", "stroke-dasharray": "3 3"}), s("text", {x: late ? x - 4 : x + 4, y: 12, "font-size": 11, "text-anchor": late ? "end" : "start"}, text));
};

const counts = (cycle, running) => {
  const {symbols, batches, signals, orders} = cycle;
  const total = cycle.progress?.batches_total ?? batches.total;
  const done = cycle.progress?.batches_reported ?? batches.ok + batches.failed;
  return h("div", {class: "counts"},
    h("span", {}, h("b", {}, f.number(symbols.selected)), " symbols selected"),
    h("span", {}, "batches ", h("b", {}, f.number(done)), ` of ${total}, `, h("b", {}, f.number(batches.failed)), " failed"),
    h("span", {}, h("b", {}, f.number(symbols.evaluated)), " evaluated, ", h("b", {}, f.number(symbols.skipped)), " skipped", symbols.failed ? `, ${symbols.failed} failed` : ""),
    h("span", {}, "signals ", h("b", {}, f.number(signals.received)), " received, ", h("b", {}, f.number(signals.kept)), " kept"),
    h("span", {}, "orders ", h("b", {}, f.number(orders.submitted)), " sent, ", h("b", {}, f.number(orders.filled)), " filled, ", h("b", {}, f.number(orders.denied)), " denied"),
    running ? null : h("span", {}, cycle.status.toLowerCase(), cycle.reason ? `: ${cycle.reason}` : ""));
};

const chart = (cycle, steps, width) => {
  const running = cycle.progress !== undefined;
  const now = running ? new Date().toISOString() : (cycle.finished_at ?? cycle.started_at);
  const begin = new Date(cycle.started_at).getTime();
  const elapsed = new Date(now).getTime() - begin;
  const deadline = running ? new Date(cycle.progress.deadline_at).getTime() - begin : 0;
  const nears = running && elapsed > NEARS * deadline;
  const length = Math.max(nears ? deadline * 1.05 : elapsed * (running ? 1.25 : 1), 1);
  const x = (at) => ((new Date(at).getTime() - begin) / length) * width;
  const told = `${running ? "Running" : "Finished"}: ${steps.map((span) => `${span.step} ${span.ended_at ? f.seconds(f.between(span.began_at, span.ended_at)) : "running"}`).join(", ")}`;
  return s("svg", {class: "chart track", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": told},
    s("defs", {}, s("pattern", {id: "running", width: 12, height: 12, patternUnits: "userSpaceOnUse", patternTransform: "rotate(25)"}, s("rect", {width: 12, height: 12, fill: "var(--seg1)"}), s("rect", {width: 6, height: 12, fill: "var(--line2)"}))),
    s("rect", {y: TOP, width, height: BAR, rx: 6, fill: "var(--sunken)"}),
    steps.map((span) => segment(span, x, now)),
    nears ? [mark(x(cycle.progress.cutoff_at), `send cut-off ${f.number(f.between(cycle.started_at, cycle.progress.cutoff_at))} s`, width), mark(x(cycle.progress.deadline_at), `deadline ${f.number(deadline / 1000)} s`, width)] : null);
};

export const create = () => {
  const {element, body, title, end} = card("cycle-now", "Cycle", "c12");
  const draw = () => {
    const status = store.status;
    if (!status) { render(body, h("div", {class: "skeleton"})); return; }
    const cycle = status.current_cycle ?? status.last_cycle;
    if (!cycle) {
      title.textContent = "Cycle";
      render(body, h("p", {class: "muted"}, "No cycle yet. Start the schedule or run one cycle."));
      return;
    }
    const running = status.current_cycle !== null;
    render(title, running ? "Current cycle " : "Last cycle ", h("a", {class: "mono", href: `#cycle/${cycle.cycle_id}`, "data-key": "cycle-link"}, cycle.cycle_id));
    end.textContent = `${cycle.trigger === "manual" ? "by hand" : "scheduled"}${running ? "" : `, ${f.moment(cycle.finished_at ?? cycle.started_at)}`} · epoch ${f.number(cycle.epoch)} · config ${cycle.config_hash.slice(0, 6)}${cycle.dry_run ? " · dry run" : ""}`;
    const steps = running ? cycle.progress.steps : status.last_cycle_steps;
    const width = Math.max(Math.floor(body.clientWidth), 260);
    render(body, steps.length ? chart(cycle, steps, width) : h("p", {class: "muted"}, `${words.sentence(cycle.status.toLowerCase())}: ${cycle.reason}`), counts(cycle, running));
  };
  return {element, names: ["status"], draw, ticks: true, sized: true};
};
