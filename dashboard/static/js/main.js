// The page: which view is shown, the bar on top, and what the stream says.
import {onMissingKey} from "./api.js";
import {byId, mount, say} from "./dom.js";
import {askHalt, askKey} from "./dialogs.js";
import * as f from "./format.js";
import {listenToKeys, switchTheme} from "./keyboard.js";
import {headline} from "./overview/state.js";
import * as pages from "./pages/index.js";
import {changed, load, on, store, want} from "./store.js";
import {connection, listen} from "./stream.js";

let view = null;
let leave = [];

const MODES = {simulated: "Prices are replayed or made up", paper: "Prices are real, money is not", live: "Orders reach a real venue"};

const bar = () => {
  const status = store.status;
  const now = new Date();
  document.body.classList.toggle("stale", connection.isLost);
  const conn = byId("conn");
  conn.className = `conn ${connection.isLost ? "lost" : connection.heardAt && status ? "live" : ""}`;
  byId("conn-text").textContent = connection.isLost
    ? `no connection since ${f.clock(connection.lostAt)}, retry in ${f.number(Math.max((connection.retryAt - Date.now()) / 1000, 0))} s`
    : status ? `live, ${f.number(Math.max((Date.now() - connection.heardAt) / 1000, 0))} s ago` : "connecting";
  if (!status) { byId("clock").textContent = `${f.clock(now)} ${f.zoneName()}`; return; }
  const mode = status.mode === "live" ? "live" : status.simulated ? "simulated" : "paper";
  const market = status.market.clock === "replay" ? `market ${f.day(status.market.time)} ${f.minutes(status.market.time)}${status.schedule === "running" && status.market.speed ? `, ${f.number(status.market.speed)}×` : ""} · ` : "";
  byId("clock").textContent = `${market}${f.clock(now)} ${f.zoneName()}`;
  if (document.body.dataset.mode !== mode) {
    document.body.dataset.mode = mode;
    byId("icon").href = `/assets/icons/${mode}.svg`;
    byId("mode").title = MODES[mode];
  }
  byId("mode").textContent = mode.toUpperCase();
  document.title = `${connection.isLost ? "Not known" : headline(status).split(/[:,]/)[0]} · ${mode.toUpperCase()} · Trading engine`;
  byId("about").textContent = `Trading engine ${status.version} · account ${status.account} · ${location.host}`;
  const flower = byId("flower");
  flower.hidden = !status.flower_url;
  if (status.flower_url) flower.href = status.flower_url;
};

let spoken = "";
const speak = () => {
  const line = store.status ? headline(store.status) : "";
  if (line && line !== spoken) { if (spoken) say(line); spoken = line; }
};

// Sections that only ask for what is there already are drawn once a frame, however much came.
const drawer = (section) => {
  let asked = 0;
  return () => { asked ||= requestAnimationFrame(() => { asked = 0; section.draw(); }); };
};

const route = () => {
  const [name, ...rest] = location.hash.slice(1).split("/");
  const place = {"": "home", positions: "home", services: "home", halt: "home"}[name] ?? name;
  if (view?.place === "home" && place === "home") { focusOn(name); return; }
  leave.forEach((undo) => undo());
  view?.sections.forEach((section) => section.close?.());
  view = {place, ...(pages.of(place) ?? pages.of("home"))(decodeURIComponent(rest.join("/")))};
  mount(byId("view"), view.element);
  leave = view.sections.map((section) => { const draw = drawer(section); return on([...section.names, "theme"], draw); });
  view.sections.forEach((section) => section.draw());
  want([...new Set(["status", ...view.sections.flatMap((section) => section.names)])]);
  mark(place);
  scrollTo(0, 0);
  focusOn(name);
};

const focusOn = (name) => {
  if (name === "halt") askHalt();
  else if (["positions", "services"].includes(name)) byId(name)?.scrollIntoView();
  mark(name || "home");
};

const mark = (name) => {
  const shown = {order: "orders", decision: "orders", cycle: "cycles"}[name] ?? name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
};

onMissingKey(askKey);
on(["status"], () => { bar(); speak(); });
byId("halt").onclick = askHalt;
byId("theme").onclick = switchTheme;
addEventListener("hashchange", route);
listenToKeys();
route();
listen(changed, () => {
  const wasLost = document.body.classList.contains("stale");
  bar();
  if (wasLost !== connection.isLost) { speak(); load("status"); }
  for (const section of view?.sections ?? []) if (section.ticks) section.draw();
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  for (const section of view?.sections ?? []) if (section.sized) section.draw();
});
