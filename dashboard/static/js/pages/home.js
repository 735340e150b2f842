import {h} from "../dom.js";
import * as attention from "../overview/attention.js";
import * as cycles from "../overview/cycles.js";
import * as equity from "../overview/equity.js";
import * as limits from "../overview/limits.js";
import * as orders from "../overview/orders.js";
import * as positions from "../overview/positions.js";
import {createServices, createWorkers} from "../overview/services.js";
import * as state from "../overview/state.js";
import * as track from "../overview/track.js";

export const home = () => {
  const sections = [state.create(), attention.create(), track.create(), equity.create(), limits.create(), orders.create(), positions.create(), cycles.create(), createServices(), createWorkers()];
  return {element: h("div", {class: "grid"}, sections.map((section) => section.element)), sections};
};
