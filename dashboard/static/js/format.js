// Numbers with their unit, times in one zone, ages in words. A true minus, never a hyphen.
export const settings = {zone: "UTC"};

const grouped = (whole) => whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
const minus = (text) => text.replace("-", "−");

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : minus(Number(value).toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits}));
export const money = (value) => number(value, 2);
export const percent = (value, digits = 2) => (value === null || value === undefined ? "–" : `${number(Number(value) * 100, digits)} %`);

// Decimal text as it is, with thousands; `like` gives the digits (a price in the same market).
export const exact = (text, like) => {
  if (text === null || text === undefined) return "–";
  let shown = String(text);
  if (like !== undefined && like !== null) shown = Number(shown).toFixed(Math.min((String(like).split(".")[1] ?? "").length, 8));
  const [whole, fraction] = shown.split(".");
  return minus(grouped(whole) + (fraction === undefined ? "" : `.${fraction}`));
};

export const signed = (value, digits = 2) => {
  const amount = Number(value);
  return `${amount < 0 ? "▼ −" : "▲ +"}${number(Math.abs(amount), digits)}`;
};
export const signedPercent = (value, digits = 2) => `${Number(value) < 0 ? "−" : "+"}${number(Math.abs(Number(value) * 100), digits)} %`;
export const tone = (value) => (Number(value) < 0 ? "down" : "up");

const zone = () => (settings.zone === "UTC" ? {timeZone: "UTC"} : {});
const formatted = (at, options) => new Date(at).toLocaleString("en-GB", {...zone(), ...options});
export const clock = (at) => (at === null || at === undefined ? "–" : formatted(at, {hour: "2-digit", minute: "2-digit", second: "2-digit"}));
export const minutes = (at) => formatted(at, {hour: "2-digit", minute: "2-digit"});
export const day = (at) => formatted(at, {day: "numeric", month: "short"});
export const instant = (at) => (at === null || at === undefined ? "–" : `${day(at)} ${clock(at)}`);
export const moment = (at) => (new Date(at).toDateString() === new Date().toDateString() ? clock(at) : instant(at));
export const millis = (at) => `${clock(at)}.${String(new Date(at).getUTCMilliseconds()).padStart(3, "0")}`;
export const zoneName = () => (settings.zone === "UTC" ? "UTC" : "local");

export const seconds = (value) => {
  if (value === null || value === undefined) return "–";
  if (value < 1) return `${number(value * 1000)} ms`;
  if (value < 100) return `${number(value, value < 10 ? 2 : 1)} s`;
  return span(value);
};
export const span = (value) => {
  const whole = Math.max(Math.round(value), 0);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h${Math.floor((whole % 3600) / 60) ? ` ${Math.floor((whole % 3600) / 60)} min` : ""}`;
  return `${Math.floor(whole / 86400)} d${Math.floor((whole % 86400) / 3600) ? ` ${Math.floor((whole % 86400) / 3600)} h` : ""}`;
};
export const countdown = (value) => {
  const whole = Math.max(Math.round(value), 0);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};
export const since = (at) => (Date.now() - new Date(at).getTime()) / 1000;
export const between = (from, to) => (new Date(to).getTime() - new Date(from).getTime()) / 1000;
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
