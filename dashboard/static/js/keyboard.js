// Keys for the whole page; inputs keep theirs.
import {byId} from "./dom.js";
import {askHalt, showKeys} from "./dialogs.js";
import * as f from "./format.js";
import {store, tell} from "./store.js";

const GO = {o: "orders", c: "cycles", a: "alerts", p: "positions", s: "services", h: "home"};

const rows = () => [...document.querySelectorAll("#view tbody tr")].filter((row) => row.querySelector("a.row"));

const move = (step) => {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  next.querySelector("a.row").focus();
  next.scrollIntoView({block: "nearest"});
};

export const redraw = () => ["status", "orders", "denied", "positions", "cycles", "performance", "alerts", "states", "theme"].forEach(tell);

export const switchTheme = () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* storage may be off */ }
  redraw();
};

const switchZone = () => {
  f.settings.zone = f.settings.zone === "UTC" ? "local" : "UTC";
  redraw();
};

const ACTS = {"?": showKeys, j: () => move(1), k: () => move(-1), t: switchTheme, z: switchZone, H: askHalt, "/": (event) => { event.preventDefault(); const field = byId("filter"); if (field) field.focus(); else location.hash = "#orders"; }};

export const listenToKeys = () => {
  let going = 0;
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open) return;
    if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    if (Date.now() - going < 1500 && GO[event.key]) { going = 0; location.hash = `#${GO[event.key]}`; return; }
    if (event.key === "g") { going = Date.now(); return; }
    ACTS[event.key]?.(event);
  });
};
