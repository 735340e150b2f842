// Steps and batches of a cycle over time, with cut-off and deadline once they come near.
import {s} from "../dom.js";
import * as f from "../format.js";

const ROW = 20;
const BATCHES_SHOWN = 40;
const COLORS = {fetch: "--seg1", evaluate: "--seg2", risk: "--seg3"};

const parts = (batch) => {
  let at = new Date(batch.began_at).getTime();
  return ["fetch", "evaluate", "risk"].map((step) => {
    const from = at;
    at += (batch.step_seconds[step] ?? 0) * 1000;
    return {step, from, to: at};
  });
};

export const gantt = (cycle, width) => {
  const begin = new Date(cycle.started_at).getTime();
  const end = new Date(cycle.finished_at ?? Date.now()).getTime();
  const deadline = new Date(cycle.deadline_at).getTime() - begin;
  const elapsed = Math.max(end - begin, 1);
  const nears = elapsed > deadline * 0.6;
  const length = nears ? Math.max(deadline * 1.05, elapsed) : elapsed * 1.04;
  const left = width < 500 ? 64 : 116;
  const x = (time) => left + ((time - begin) / length) * (width - left - 10);
  const batches = cycle.batch_list.filter((batch) => batch.began_at).slice(0, BATCHES_SHOWN);
  const span = (name) => cycle.steps.find((step) => step.step === name);
  const lanes = [
    ["select", [span("select")].filter(Boolean).map((each) => ({step: "select", from: new Date(each.began_at).getTime(), to: new Date(each.ended_at ?? end).getTime(), color: "--seg3"}))],
    ...batches.map((batch) => [`batch ${batch.number}${batch.held ? ", held" : ""}`, parts(batch).map((part) => ({...part, color: batch.failed ? "--bad" : COLORS[part.step]}))]),
    ["allocate, execute", ["allocate", "execute", "finish"].map(span).filter(Boolean).map((each) => ({step: each.step, from: new Date(each.began_at).getTime(), to: new Date(each.ended_at ?? end).getTime(), color: {allocate: "--seg2", execute: "--seg3", finish: "--seg1"}[each.step]}))],
  ];
  const height = lanes.length * ROW + 34;
  const base = height - 24;
  const ticks = width < 500 ? 3 : 6;
  const told = cycle.steps.map((step) => `${step.step} ${step.ended_at ? f.seconds(f.between(step.began_at, step.ended_at)) : "running"}`).join(", ");
  const mark = (time, text) => [s("line", {x1: x(time), x2: x(time), y1: 4, y2: base, stroke: "var(--muted)", "stroke-dasharray": "4 4"}), s("text", {x: x(time) - 4, y: 14, "font-size": 11, "text-anchor": "end"}, text)];
  return s("svg", {class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Steps: ${told}`},
    Array.from({length: ticks + 1}, (_, index) => { const time = begin + (length * index) / ticks / 1.04; return [s("line", {x1: x(time), x2: x(time), y1: 4, y2: base, stroke: "var(--line)"}), s("text", {x: x(time), y: height - 6, "font-size": 11.5, "text-anchor": index === ticks ? "end" : index === 0 ? "start" : "middle"}, f.seconds((time - begin) / 1000))]; }),
    lanes.map(([name, spans], lane) => [s("text", {x: 0, y: 22 + lane * ROW, "font-size": 12}, name), spans.map((each) => s("rect", {x: x(each.from), y: 10 + lane * ROW, width: Math.max(x(each.to) - x(each.from) - 1, 1.5), height: 14, rx: 2, fill: `var(${each.color})`}, s("title", {}, `${name}: ${each.step} ${f.seconds((each.to - each.from) / 1000)}`)))]),
    nears ? [mark(new Date(cycle.cutoff_at).getTime(), "cut-off"), mark(new Date(cycle.deadline_at).getTime(), "deadline")] : null);
};
