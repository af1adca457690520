// The page at `/docs`: what `/openapi.json` says, for people. Texts are only ever set as text.
"use strict";

// Parts of a schema that bound a value.
const BOUNDS = ["format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default"];

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function table(titles, rows) {
  const head = element("thead", element("tr", ...titles.map((title) => element("th", title))));
  return element("table", head, element("tbody", ...rows.map((cells) => element("tr", ...cells.map((cell) => element("td", cell))))));
}

class Page {
  constructor(document) {
    this.document = document;
  }

  resolve(schema) {
    const name = schema?.$ref?.split("/").pop();
    return name ? { name, schema: this.document.components.schemas[name] } : { schema: schema ?? {} };
  }

  /** What kind of value a schema allows, in a line. */
  kind(given) {
    const { name, schema } = this.resolve(given);
    if (name) return schema.title ?? name;
    const choices = schema.oneOf ?? schema.anyOf;
    if (choices) return choices.map((choice) => this.kind(choice)).join(" or ");
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
    const types = [schema.type ?? "any"].flat().map((type) => (type === "array" ? `list of ${this.kind(schema.items)}` : type));
    const bounds = BOUNDS.filter((bound) => schema[bound] !== undefined && schema[bound] !== null).map((bound) => `${bound} ${schema[bound]}`);
    return [types.join(" or "), ...bounds].join(", ");
  }

  /** The members of a schema's objects, those of objects within them below; `open` names what is being shown already. */
  members(given, open = []) {
    const { name, schema } = this.resolve(given);
    if (!schema || open.includes(name)) return [];
    const within = name ? [...open, name] : open;
    const parts = [...(schema.oneOf ?? schema.anyOf ?? []), ...(schema.allOf ?? []), ...(schema.items ? [schema.items] : [])];
    if (typeof schema.additionalProperties === "object") parts.push(schema.additionalProperties);
    const rows = Object.entries(schema.properties ?? {}).map(([member, value]) => {
      const isNeeded = schema.required?.includes(member);
      const text = value.description ?? this.resolve(value).schema?.description ?? "";
      return element("li", element("code", member), isNeeded ? " (needed): " : ": ", this.kind(value), text ? ` – ${text}` : "", ...this.members(value, within));
    });
    const own = rows.length > 0 ? [element("ul", ...rows)] : [];
    return [...own, ...parts.flatMap((part) => this.members(part, within))];
  }

  content(content) {
    const types = Object.entries(content ?? {});
    return types.flatMap(([type, { schema }]) => [element("p", element("code", type), ": ", this.kind(schema)), ...this.members(schema)]);
  }

  operation(path, method, operation) {
    const parts = [];
    if (operation.description) parts.push(element("p", operation.description));
    const parameters = operation.parameters ?? [];
    if (parameters.length > 0) {
      const rows = parameters.map((given) => [element("code", given.name), given.in, given.required ? "yes" : "", this.kind(given.schema), given.description ?? ""]);
      parts.push(element("h4", "Parameters"), table(["Name", "In", "Needed", "Value", "Meaning"], rows));
    }
    if (operation.requestBody) parts.push(element("h4", "Body"), ...this.content(operation.requestBody.content));
    for (const [status, response] of Object.entries(operation.responses)) {
      parts.push(element("h4", `${status}: ${response.description}`), ...this.content(response.content));
    }
    const title = element("summary", element("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary ?? ""}`);
    const made = element("details", title, ...parts);
    made.id = operation.operationId;
    return made;
  }

  sections() {
    const calls = Object.entries(this.document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
    return this.document.tags.map(({ name, description }) => {
      const own = calls.filter(({ operation }) => operation.tags?.includes(name));
      return element("section", element("h2", name), element("p", description ?? ""), ...own.map((one) => this.operation(one.path, one.method, one.operation)));
    });
  }
}

async function show() {
  const main = document.getElementById("calls");
  try {
    const response = await fetch("/openapi.json");
    main.replaceChildren(...new Page(await response.json()).sections());
  } catch (error) {
    main.replaceChildren(element("p", `openapi.json cannot be shown: ${error.message}`));
  }
  const asked = location.hash && document.getElementById(location.hash.slice(1));
  if (asked) {
    asked.open = true;
    asked.scrollIntoView();
  }
}

show();
