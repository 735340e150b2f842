// The API reference, made from /openapi.json: nothing is fetched from elsewhere.
import {get, onMissingKey} from "./api.js";
import {byId, h, render, table} from "./dom.js";
import {askKey} from "./dialogs.js";

const pretty = (value) => JSON.stringify(value, null, 2);

const typeOf = (schema, document) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map((each) => typeOf(each, document)).join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(", ");
  if (schema.type === "array") return `list of ${typeOf(schema.items, document)}`;
  const bounds = [["minimum", "at least"], ["maximum", "at most"], ["minLength", "length at least"], ["maxLength", "length at most"], ["pattern", "like"]].filter(([name]) => name in schema).map(([name, word]) => `${word} ${schema[name]}`);
  return [schema.format ?? schema.type ?? schema.description ?? "any", ...bounds].join(", ");
};

const properties = (schema, document) => {
  const shape = schema.$ref ? document.components.schemas[typeOf(schema)] : schema;
  if (!shape?.properties) return h("p", {class: "muted"}, typeOf(schema, document));
  const row = ([name, field]) => h("tr", {}, h("td", {class: "mono"}, name), h("td", {class: "wrap"}, typeOf(field, document)), h("td", {class: "muted"}, (shape.required ?? []).includes(name) ? "always" : `default ${JSON.stringify(field.default ?? null)}`));
  return h("div", {}, shape.description ? h("p", {class: "muted small"}, shape.description) : null, h("div", {class: "scroll"}, table(typeOf(schema), [["Field"], ["Type"], ["There"]], Object.entries(shape.properties).map(row), {kind: "plain"})));
};

const response = ([status, answer], document) => {
  const [kind, content] = Object.entries(answer.content ?? {})[0] ?? [];
  const example = content?.example;
  return h("details", {open: status === "200" || status === "202"}, h("summary", {}, `${status} ${answer.description}`, kind ? h("span", {class: "muted"}, ` ${kind}`) : null), content?.schema ? properties(content.schema, document) : null, example === undefined ? null : h("pre", {tabindex: 0, "aria-label": `Example of ${status}`}, pretty(example)));
};

const operation = (path, verb, each, document) => {
  const body = each.requestBody?.content["application/json"];
  const scope = each.security?.[0]?.bearer?.[0];
  const parameters = each.parameters.map((one) => h("tr", {}, h("td", {class: "mono"}, one.name), h("td", {}, one.in), h("td", {class: "wrap"}, typeOf(one.schema, document)), h("td", {class: "muted"}, one.required ? "needed" : `default ${JSON.stringify(one.schema.default ?? null)}`)));
  return h("details", {class: "card operation", id: each.operationId}, h("summary", {}, h("span", {class: `verb ${verb}`}, verb.toUpperCase()), h("b", {class: "mono"}, path), " ", h("span", {class: "muted"}, each.summary)),
    each.description ? h("p", {}, each.description) : null,
    scope ? h("p", {class: "small"}, `Needs a key with the scope ${scope}.`) : null,
    parameters.length ? [h("h3", {}, "Parameters"), h("div", {class: "scroll"}, table("Parameters", [["Name"], ["In"], ["Type"], ["Needed"]], parameters, {kind: "plain"}))] : null,
    body ? [h("h3", {}, "Body"), properties(body.schema, document), body.example === undefined ? null : h("pre", {tabindex: 0, "aria-label": "Example of the body"}, pretty(body.example))] : null,
    h("h3", {}, "Answers"), Object.entries(each.responses).map((answer) => response(answer, document)));
};

onMissingKey(askKey);
const openapi = await get("/openapi.json");
byId("title").textContent = `${openapi.info.title} ${openapi.info.version}`;
byId("about").textContent = openapi.info.description;
const all = Object.entries(openapi.paths).flatMap(([path, verbs]) => Object.entries(verbs).map(([verb, each]) => [path, verb, each]));
const changes = ([, verb]) => verb !== "get";
render(byId("view"),
  h("section", {class: "group"}, h("h2", {}, "What changes something"), all.filter(changes).map(([path, verb, each]) => operation(path, verb, each, openapi))),
  h("section", {class: "group"}, h("h2", {}, "What only reads"), all.filter((one) => !changes(one)).map(([path, verb, each]) => operation(path, verb, each, openapi))));
