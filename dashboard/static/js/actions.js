// What one click does: asks the engine, tells the result, reads afresh what changed.
import {post, Problem} from "./api.js";
import {showProblem} from "./dialogs.js";
import {toast} from "./dom.js";
import * as f from "./format.js";
import {load} from "./store.js";

export const attempt = async (call, told, ...lists) => {
  try {
    const answer = await call();
    toast(told(answer));
    lists.forEach(load);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(error, () => attempt(call, told, ...lists));
  }
};

export const startSchedule = () => attempt(() => post("/start", {}, {once: true}), (answer) => (answer.changed ? "The schedule runs; the first cycle begins at once." : "The schedule runs already."), "status", "states");
export const stopSchedule = () => attempt(() => post("/stop", {}, {once: true}), (answer) => (answer.cycle_in_progress ? "Stopped: the cycle in progress still finishes." : "Stopped: no further cycle starts."), "status", "states");
export const cycleNow = () => attempt(() => post("/cycle", {}, {once: true}), (answer) => `Cycle ${answer.cycle_id} begins.`, "status", "cycles");
export const acknowledge = (alert) => attempt(() => post(`/alerts/${alert.alert_id}/ack`), () => "Noted that you have seen it.", "alerts");
export const enable = (name) => attempt(() => post(`/strategies/${encodeURIComponent(name)}/enable`, {}, {once: true}), (answer) => `${name} may enter again${answer.symbols.length ? `: ${answer.symbols.join(", ")}` : ""}.`, "strategies", "alerts");
export const close = (held, reason) => attempt(() => post(`/positions/${encodeURIComponent(held.symbol)}/close`, {reason}, {once: true}), (answer) => (answer.trading_state === "HALTED" ? `${held.symbol} is left once trading is resumed: it is HALTED now.` : `The next cycle sells ${f.exact(answer.quantity)} ${held.symbol}.`), "positions");
export const adopt = (held, strategy) => attempt(() => post(`/positions/${encodeURIComponent(held.symbol)}/adopt`, {strategy}, {once: true}), () => `${held.symbol} belongs to ${strategy} from the next cycle on.`, "positions", "alerts");
