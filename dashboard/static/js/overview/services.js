// Services with breaker, latency and age; workers with what they do; queues.
import {card, cell, h, render, table} from "../dom.js";
import * as f from "../format.js";
import {store} from "../store.js";
import * as words from "../words.js";

const CHECK_S = 10;
const TONES = {ok: "ok", degraded: "warn", down: "bad"};
const WORDS = {ok: "ok", degraded: "degraded", down: "no answer"};

const serviceRow = (name, service, check) => {
  const status = check?.status ?? "degraded";
  const at = service ? service.last_ok_at : check?.checked_at;
  const age = at ? f.since(at) : null;
  const latency = service ? service.latency_ms : check?.latency_ms;
  const errors = service?.error_rate ? h("span", {class: "sub"}, `${f.percent(service.error_rate, 1)} errors`) : null;
  return h("tr", {}, cell(null, words.service(name), status === "ok" || !check?.detail ? null : h("span", {class: "sub"}, check.detail)),
    cell("l", h("span", {class: `st ${TONES[status]}`}, WORDS[status])),
    cell("l m-hide", service ? service.breaker : "–"),
    cell("num m-hide", latency === null || latency === undefined ? "–" : `${f.number(latency, latency < 10 ? 1 : 0)} ms`, errors),
    cell("num m-hide", age === null ? "–" : h("span", {class: age > 2 * CHECK_S ? "late" : null}, `${f.span(age)} ago`)));
};

export const createServices = () => {
  const {element, body, end} = card("services", "Services", "c7");
  const draw = () => {
    const {status, health} = store;
    if (!status || !health) { render(body, h("div", {class: "skeleton"})); return; }
    const rows = Object.entries(status.services).map(([name, service]) => serviceRow(name, service, health.checks[name]));
    for (const name of ["redis", "ledger", "beat"]) if (health.checks[name]) rows.push(serviceRow(name, null, health.checks[name]));
    end.textContent = `checked every ${CHECK_S} s`;
    render(body, table("Services", [["Service"], ["State"], ["Breaker"], ["Latency", "num"], ["Answered", "num"]], rows));
  };
  return {element, names: ["status", "health"], draw, ticks: true};
};

const workerRow = (worker) =>
  h("tr", {}, cell("mono wrap", worker.name),
    cell("l", worker.active ? `${worker.active} of ${worker.processes} busy` : "idle", h("span", {class: "sub"}, worker.queues.join(", "))),
    cell("num m-hide", `${f.number(worker.cpu_percent)} % · ${f.number(worker.memory_mb)} MiB`));

export const createWorkers = () => {
  const {element, body, end} = card("workers", "Workers and queues", "c5");
  const draw = () => {
    const status = store.status;
    if (!status) { render(body, h("div", {class: "skeleton"})); return; }
    const {beat, workers, queues} = status;
    render(end, `${workers.length} live · beat ${beat.last_tick_at ? `${f.span(f.since(beat.last_tick_at))} ago` : "silent"}`);
    end.classList.toggle("late", !beat.alive);
    render(body, workers.length ? table("Workers", [["Worker"], ["Now"], ["CPU · memory", "num"]], workers.map(workerRow)) : h("p", {class: "late"}, "No worker has sent a heartbeat: no cycle runs."),
      h("div", {class: "counts"}, Object.entries(queues).map(([name, depth]) => h("span", {}, `queue ${name} `, h("b", {}, f.number(depth))))));
  };
  return {element, names: ["status"], draw};
};
