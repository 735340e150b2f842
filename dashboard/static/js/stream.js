// GET /events read with fetch, so that the key travels in its header. Own retry with jitter.
// Of the tabs that are open one reads the stream and passes it on: a browser has six connections
// to one server, and pages need theirs.
import {headers, unlock} from "./api.js";

const LEAST_S = 1;
const MOST_S = 10;
export const LOST_S = 10;

export const connection = {heardAt: 0, lostAt: 0, retryAt: 0, isLost: false};

const pause = (milliseconds, signal) => new Promise((resolve) => {
  const waiting = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", () => { clearTimeout(waiting); resolve(); }, {once: true});
});

export const listen = (onEvent, onChange) => {
  let last = "";
  let wait = LEAST_S;
  let stopping = new AbortController();
  let timer = 0;

  const heard = () => {
    connection.heardAt = Date.now();
    if (connection.isLost) { connection.isLost = false; onChange(); onEvent("resync"); }
    wait = LEAST_S;
  };

  const channel = "BroadcastChannel" in window ? new BroadcastChannel("trading-engine-events") : null;
  if (channel) {
    channel.onmessage = ({data}) => {
      if (data.retryAt) { connection.retryAt = data.retryAt; return; }
      last = data.id;
      heard();
      if (!document.hidden) onEvent(data.kind);
    };
  }

  const take = (block) => {
    const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
    if (!fields.event) return;
    last = fields.id ?? last;
    heard();
    onEvent(fields.event);
    channel?.postMessage({kind: fields.event, id: last});
  };

  const open = async (signal) => {
    const answer = await fetch("/events", {cache: "no-store", credentials: "omit", signal, headers: headers(last ? {"Last-Event-ID": last} : {})});
    if (answer.status === 401) await unlock(true);
    if (!answer.ok) throw new Error(String(answer.status));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) return;
      pending += value;
      const blocks = pending.split("\n\n");
      pending = blocks.pop();
      blocks.forEach(take);
    }
  };

  const read = async (mine) => {
    while (!mine.signal.aborted) {
      try { await open(mine.signal); } catch { /* told below, and tried again */ }
      if (mine.signal.aborted) return;
      const seconds = Math.min(wait * (0.5 + Math.random()), MOST_S);
      connection.retryAt = Date.now() + seconds * 1000;
      channel?.postMessage({retryAt: connection.retryAt});
      wait = Math.min(wait * 2, MOST_S);
      await pause(seconds * 1000, mine.signal);
    }
  };

  // Locks exist on this machine and over HTTPS; elsewhere each tab reads a stream of its own.
  const run = () => {
    const mine = stopping;
    if (!navigator.locks || !channel) { read(mine); return; }
    navigator.locks.request("trading-engine-events", {signal: mine.signal}, () => read(mine)).catch(() => {});
  };

  const watch = () => {
    const silent = (Date.now() - connection.heardAt) / 1000;
    if (connection.heardAt && silent > LOST_S && !connection.isLost) {
      connection.isLost = true;
      connection.lostAt = connection.heardAt;
      // A connection that is open and silent is no connection.
      stopping.abort();
      stopping = new AbortController();
      run();
    }
    onChange();
  };

  const start = () => {
    stopping = new AbortController();
    connection.heardAt = connection.isLost ? connection.heardAt : Date.now();
    run();
    timer = setInterval(watch, 1000);
  };

  // A hidden tab closes its stream: a browser has six connections to one server.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stopping.abort(); clearInterval(timer); timer = 0; }
    else if (!timer) { last = ""; start(); onEvent("resync"); }
  });
  if (!document.hidden) start();
};
