// Questions before something changes. Lowering the state is two clicks, raising it needs a reason.
import {post, Problem} from "./api.js";
import {byId, h, render, toast} from "./dom.js";
import * as f from "./format.js";
import {load, store} from "./store.js";
import {adopt, close} from "./actions.js";

const REASONS = ["Prices look wrong", "Orders look wrong", "Maintenance"];
const dialog = () => byId("dialog");

const show = (title, ...content) => {
  const box = dialog();
  render(box, h("h2", {id: "dialog-title"}, title), ...content);
  if (!box.open) box.showModal();
};
export const shut = () => dialog().close();

const problemBox = (error) => h("div", {class: "problem", role: "alert"}, h("b", {}, error.title), h("p", {}, error.detail), error.requestId ? h("p", {class: "small muted mono wrap"}, `request ${error.requestId}`) : null);

export const showProblem = (error, again) => show("Refused", problemBox(error), h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Close"), h("button", {type: "button", class: "primary", onclick: () => { shut(); again(); }}, "Try again")));

const textField = (id, label, attributes = {}) => {
  const input = h("input", {type: "text", id, maxlength: 500, autocomplete: "off", ...attributes});
  return {input, field: h("label", {for: id}, label, input)};
};

const ask = (trouble, call, done, ...lists) => async () => {
  for (const button of dialog().querySelectorAll("button")) button.disabled = true;
  try {
    const answer = await call();
    shut();
    toast(done(answer));
    lists.forEach(load);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    render(trouble, problemBox(error));
    for (const button of dialog().querySelectorAll("button")) button.disabled = false;
  }
};

const haltTold = (answer) => {
  const late = ["ledger", "execution"].filter((part) => answer[part] !== "confirmed");
  return late.length ? `Halted; ${late.join(" and ")} not confirmed yet, it is repeated.` : `Halted: no order leaves. ${f.plural(answer.cancelled.length, "open order")} cancelled.`;
};

export const askHalt = () => {
  const status = store.status;
  const orders = store.orders?.items.filter((order) => ["ACCEPTED", "PARTIAL"].includes(order.status)).length ?? 0;
  const held = status?.portfolio?.positions;
  const positions = held === undefined ? "positions stay as they are" : `${f.plural(held, "position")}${held ? ` worth ${f.number(Number(status.portfolio.equity) - Number(status.portfolio.cash))} ${status.portfolio.currency}` : ""} ${held === 1 ? "stays as it is" : "stay as they are"}`;
  const trouble = h("div", {});
  const {input, field} = textField("halt-reason", "Reason, kept in the audit log", {placeholder: "choose one, or type one"});
  const reason = () => input.value.trim() || "halted from the page";
  const chips = h("div", {class: "chips"}, REASONS.map((text) => h("button", {type: "button", onclick: () => { input.value = text; }}, text)));
  show(`Halt trading on account ${status?.account ?? ""}?`,
    h("p", {}, `No order leaves after this. ${f.plural(orders, "open order is", "open orders are")} cancelled; ${positions}, without protective exits, until you resume. `, h("b", {}, "Reduce only"), " keeps the exits."),
    chips, field, trouble,
    h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Keep trading"),
      h("button", {type: "button", id: "reduce-now", onclick: ask(trouble, () => post("/reduce", {reason: reason()}), () => "Reducing: only orders that shrink a position leave.", "status", "states")}, "Reduce only"),
      h("button", {type: "button", class: "stop", id: "halt-now", autofocus: true, onclick: ask(trouble, () => post("/halt", {reason: reason()}), haltTold, "status", "states", "orders")}, "Halt now")));
  byId("halt-now").focus();
};

export const askReduce = () => {
  const trouble = h("div", {});
  const {input, field} = textField("reduce-reason", "Reason, kept in the audit log", {placeholder: "optional"});
  show("Let only exits leave?", h("p", {}, "Entries are refused from now on; stops, targets and sells still trade. Raising it again needs a reason."), field, trouble,
    h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Keep trading"),
      h("button", {type: "button", class: "primary", onclick: ask(trouble, () => post("/reduce", {reason: input.value.trim() || "reduced from the page"}), () => "Reducing: only orders that shrink a position leave.", "status", "states")}, "Reduce only")));
};

export const askResume = (state) => {
  const status = store.status;
  const live = status?.mode === "live";
  const trouble = h("div", {});
  const {input, field} = textField("resume-reason", "Reason, kept in the audit log", {required: true});
  const named = textField("resume-account", `This trades LIVE: type the account's name, ${status?.account}`);
  const go = h("button", {type: "button", class: "primary", id: "resume-now", disabled: true}, state === "ACTIVE" ? "Resume" : "Resume, exits only");
  const check = () => { go.disabled = !input.value.trim() || (live && named.input.value.trim() !== status.account); };
  input.oninput = check;
  named.input.oninput = check;
  go.onclick = ask(trouble, () => post("/resume", {state, reason: input.value.trim()}), (answer) => (answer.trading_state === state ? `Resumed: ${state}.` : `Resumed, and held at ${answer.trading_state}: ${answer.derived.map((each) => each.detail).join("; ")}.`), "status", "states", "alerts");
  const held = [...(status?.state.latched ?? []), ...(status?.state.derived ?? [])].map((each) => `${each.cause.replaceAll("_", " ")}: ${each.detail}`);
  show(state === "ACTIVE" ? "Resume trading?" : "Resume exits only?", h("p", {}, state === "ACTIVE" ? "Entries and exits leave again, once reconciliation is clean." : "Exits leave again, entries stay refused."), held.length ? h("p", {class: "small"}, `This releases what is latched. Now holding it down: ${held.join("; ")}.`) : null, field, live ? named.field : null, trouble,
    h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Stay as it is"), go));
  input.focus();
};

export const askClose = (held) => {
  const {input, field} = textField("close-reason", "Reason, kept in the audit log", {placeholder: "optional"});
  show(`Close ${held.symbol}?`, h("p", {}, `The next cycle sells ${f.exact(held.quantity)}, worth ${f.money(held.value)} now, also while REDUCING. It cannot be taken back.`), field,
    h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Keep it"), h("button", {type: "button", class: "primary", id: "close-now", onclick: () => { shut(); close(held, input.value.trim() || "closed by hand"); }}, "Close position")));
};

export const askAdopt = async (held) => {
  await load("strategies");
  const names = (store.strategies?.items ?? []).map((each) => each.strategy);
  const select = h("select", {id: "adopt-strategy"}, names.map((name) => h("option", {value: name}, name)));
  show(`Adopt ${held.symbol}?`, h("p", {}, `No strategy of the engine opened these ${f.exact(held.quantity)}. Once adopted, the strategy's sells and the protective exits apply to them.`), h("label", {for: "adopt-strategy"}, "Strategy", select),
    h("div", {class: "acts"}, h("button", {type: "button", onclick: shut}, "Leave it"), h("button", {type: "button", class: "primary", onclick: () => { const {value} = select; shut(); adopt(held, value); }}, "Adopt")));
};

export const askKey = (refused) => new Promise((resolve) => {
  const input = h("input", {type: "password", id: "key", autocomplete: "off", required: true});
  const form = h("form", {onsubmit: (event) => { event.preventDefault(); if (!input.value.trim()) return; shut(); resolve(input.value.trim()); }},
    h("label", {for: "key"}, "API key", input), h("div", {class: "acts"}, h("button", {type: "submit", class: "primary"}, "Open")));
  show("A key is needed", h("p", {}, refused ? "This key does not open the engine. " : "", "It is kept in this page's memory alone, until the page is closed."), form);
  dialog().oncancel = (event) => { if (dialog().contains(input)) event.preventDefault(); };
  input.focus();
});

const KEYS = [["?", "these keys"], ["g o", "orders"], ["g c", "cycles"], ["g a", "alerts"], ["g p", "positions"], ["g s", "services"], ["g h", "overview"], ["/", "filter"], ["j k Enter", "next, previous, open"], ["t", "theme"], ["z", "times in UTC or local"], ["Shift H", "open Halt; it never sends"], ["Esc", "close"]];
export const showKeys = () => show("Keys", h("dl", {class: "keys"}, KEYS.map(([key, what]) => [h("dt", {}, key.split(" ").map((one) => [h("kbd", {}, one), " "])), h("dd", {}, what)])), h("div", {class: "acts"}, h("button", {type: "button", autofocus: true, onclick: shut}, "Close")));
