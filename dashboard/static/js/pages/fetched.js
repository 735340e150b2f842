// A view over one document that is fetched once: skeleton, then content, or the problem.
import {get, Problem} from "../api.js";
import {h, render} from "../dom.js";

const PATIENCE_MS = 300;

export const fetched = (element, paths, show) => {
  const run = async () => {
    const waiting = setTimeout(() => render(element, h("div", {class: "card c12"}, h("div", {class: "skeleton"}, h("span", {class: "vh"}, "Loading")))), PATIENCE_MS);
    try {
      const answers = await Promise.all(paths.map(([path, optional]) => get(path).catch((error) => { if (optional && error instanceof Problem) return null; throw error; })));
      clearTimeout(waiting);
      show(...answers);
    } catch (error) {
      clearTimeout(waiting);
      if (!(error instanceof Problem)) throw error;
      render(element, h("section", {class: "card c12 problem"}, h("h1", {class: "h1"}, error.title), h("p", {}, error.detail), error.requestId ? h("p", {class: "small mono"}, `request ${error.requestId}`) : null, h("button", {type: "button", onclick: run}, "Try again")));
    }
  };
  run();
};

// Pages of a list: what was read, and a button for what is older.
export const pager = (next, more) => (next ? h("div", {class: "pager"}, h("button", {type: "button", "data-key": "older", onclick: more}, "Older")) : null);
