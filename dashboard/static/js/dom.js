// Elements from plain calls: h("p", {class: "muted"}, "text", child). Text is never markup.
const SVG = "http://www.w3.org/2000/svg";

const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const byId = (id) => document.getElementById(id);

const isAlike = (old, fresh) =>
  old.nodeName === fresh.nodeName && old.nodeType === Node.ELEMENT_NODE && old.attributes.length === fresh.attributes.length &&
  [...old.attributes].every(({name, value}) => fresh.getAttribute(name) === value);

// What is equal stays, so that a selection, a focus and a reader's place survive an update.
const adapt = (parent, nodes) => {
  const olds = [...parent.childNodes];
  nodes.forEach((fresh, index) => {
    const old = olds[index];
    if (!old) parent.append(fresh);
    else if (old.isEqualNode(fresh)) return;
    else if (isAlike(old, fresh)) adapt(old, [...fresh.childNodes]);
    else old.replaceWith(fresh);
  });
  olds.slice(nodes.length).forEach((old) => old.remove());
};

// Brings the content up to date; the focus goes back to what has the same data-key.
export const render = (parent, ...children) => {
  const active = document.activeElement;
  const key = parent.contains(active) ? active.dataset?.key : undefined;
  const nodes = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  adapt(parent, nodes.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  if (key !== undefined && !parent.contains(document.activeElement)) parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({preventScroll: true});
};

// Puts new content in the place of the old one: for content that is drawn into later.
export const mount = (parent, ...children) => parent.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));

export const say = (text) => { byId("said").textContent = text; };

export const toast = (text) => {
  say(text);
  document.querySelector(".toast")?.remove();
  const shown = h("div", {class: "toast"}, text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), 6000);
};

const ICONS = {
  warn: () => s("svg", {width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true"}, s("path", {d: "M8 1.2 15.4 14.4H.6z", fill: "currentColor"}), s("path", {d: "M8 6v4M8 12v.6", stroke: "var(--warn-bg)", "stroke-width": 1.6})),
  bad: () => s("svg", {width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true"}, s("rect", {x: 1, y: 1, width: 14, height: 14, rx: 3, fill: "currentColor"}), s("path", {d: "M8 4v5M8 11v.8", stroke: "var(--bad-bg)", "stroke-width": 1.8})),
  quiet: () => s("svg", {width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true"}, s("path", {d: "M3 8.5 6.6 12 13 4.5", fill: "none", stroke: "currentColor", "stroke-width": 1.8})),
};

export const note = (tone, title, ...lines) =>
  h("div", {class: `note ${tone}`}, ICONS[tone](), h("b", {}, title), ...lines.map((line) => h("p", {}, line)));

export const card = (id, title, size, {end, between} = {}) => {
  const body = h("div", {});
  const head = h("header", {}, h("h2", {id: `${id}-title`}, title), between, h("span", {class: "end small muted", id: `${id}-end`}, end));
  const element = h("section", {class: `card ${size}`, id, "aria-labelledby": `${id}-title`}, head, body);
  return {element, body, head, title: head.firstChild, end: head.lastChild};
};

export const tabs = (label, options, chosen, choose) => {
  const group = h("span", {class: "tabs", role: "group", "aria-label": label});
  for (const [value, text] of options) {
    group.append(h("button", {type: "button", "aria-pressed": String(value === chosen), "data-key": `${label}-${value}`, onclick: () => choose(value)}, text));
  }
  return group;
};

export const table = (label, heads, rows, {kind = "cards", id} = {}) =>
  h("table", {class: kind, id}, h("caption", {class: "vh"}, label),
    h("thead", {}, h("tr", {}, heads.map(([text, style]) => h("th", {scope: "col", class: style}, text)))), h("tbody", {}, rows));

export const cell = (style, ...children) => h("td", {class: style}, ...children);
export const pairs = (style, ...entries) =>
  h("dl", {class: style}, entries.filter(Boolean).map(([name, ...value]) => [h("dt", {}, name), h("dd", {}, ...value)]));
