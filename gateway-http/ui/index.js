// The page at `/`: topics, groups and lag, and messages by hand, over the public API. Texts of others are only ever set as text.
"use strict";

// Topics and groups that are shown at a time: each of them is asked for by a call of its own.
const SHOWN_MAX = 100;

const find = (id) => document.getElementById(id);

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function button(text, act) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** The document of an answer, `null` of one without; a problem is thrown. */
async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const text = await response.text();
  const answer = text ? JSON.parse(text) : null;
  if (!response.ok && !answer?.results) throw Object.assign(new Error(`${response.status}: ${answer?.detail ?? text}`), answer);
  return answer;
}

/** Does something for a form, whose button waits for it and whose output says what came of it. */
function onSubmit(id, act) {
  const form = find(id);
  const output = find(`${id}-status`);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const submit = form.querySelector("button");
    submit.disabled = true;
    output.value = "…";
    try {
      output.value = await act(Object.fromEntries(new FormData(form)));
    } catch (error) {
      output.value = error.message;
    }
    submit.disabled = false;
  });
}

const encoded = encodeURIComponent;
const sum = (list, member) => list.reduce((total, entry) => total + entry[member], 0);

async function refresh({ part }) {
  const chosen = (list) => list.map(({ name }) => name).filter((name) => name.includes(part));
  const listed = await call("GET", "/v1/admin/topics").catch((problem) => {
    throw problem.type === "urn:gantry:problem:no-such-path" ? new Error("this proxy runs without --http-admin: name topics below") : problem;
  });
  const topics = chosen(listed.topics);
  const groups = chosen((await call("GET", "/v1/admin/groups")).groups);
  await fill("topics", topics, topicRows);
  await fill("groups", groups, groupRows);
  const isCut = Math.max(topics.length, groups.length) > SHOWN_MAX;
  return `${topics.length} topics, ${groups.length} groups${isCut ? `; the first ${SHOWN_MAX} of each are shown` : ""}`;
}

async function fill(id, names, rowsOf) {
  const rows = [];
  for (const name of names.slice(0, SHOWN_MAX)) {
    rows.push(...(await rowsOf(name)));
  }
  find(id).tBodies[0].replaceChildren(...rows);
}

async function topicRows(name) {
  const topic = await call("GET", `/v1/admin/topics/${encoded(name)}`);
  const messages = sum(topic.queues, "endOffset") - sum(topic.queues, "firstOffset");
  return [row(name, topic.messageType, topic.queues.length, messages)];
}

/** A row for each topic that the group consumes. */
async function groupRows(name) {
  const { progress } = await call("GET", `/v1/admin/groups/${encoded(name)}`);
  if (progress.length === 0) return [row(name, "–", 0, 0, "")];
  const topics = [...new Set(progress.map(({ topic }) => topic))];
  return topics.map((topic) => {
    const queues = progress.filter((queue) => queue.topic === topic);
    const lines = queues.map((queue) => `${queue.retry ? "retries, " : ""}queue ${queue.queue}: ${queue.lag}, from ${queue.committedOffset} to ${queue.endOffset}`);
    const details = element("details", element("summary", queues.length), ...lines.map((line) => element("div", line)));
    return row(name, topic, sum(queues, "lag"), sum(queues, "inFlight"), details);
  });
}

function row(...cells) {
  return element("tr", ...cells.map((cell) => element("td", cell)));
}

async function send({ topic, tag, key, messageGroup, body }) {
  const message = { body, keys: key ? [key] : [] };
  if (tag) message.tag = tag;
  if (messageGroup) message.messageGroup = messageGroup;
  const { results: [result] } = await call("POST", `/v1/topics/${encoded(topic)}/messages`, { messages: [message] });
  if (result.problem) throw new Error(`${result.status}: ${result.problem.detail}`);
  return `stored (${result.durability}) as ${result.messageId}, queue ${result.queue}, offset ${result.offset}`;
}

async function receive({ topic, group, max, wait, invisible }) {
  const asked = { topic, max: Number(max), wait, invisible };
  const messages = (await call("POST", `/v1/groups/${encoded(group)}/receive`, asked))?.messages ?? [];
  find("messages").tBodies[0].append(...messages.map((message) => messageRow(group, message)));
  return messages.length === 0 ? "no message came" : `${messages.length} received`;
}

function messageRow(group, message) {
  const marks = [message.tag, ...(message.keys ?? []), message.messageGroup].filter(Boolean);
  const properties = Object.entries(message.properties ?? {}).map(([name, value]) => element("div", `${name}: ${value}`));
  const body = element("pre", message.body ?? `Base64: ${message.bodyBase64}`);
  const output = element("output");
  const end = (how) => async () => {
    try {
      const { results: [result] } = await call("POST", `/v1/groups/${encoded(group)}/${how}`, { topic: message.topic, handles: [message.handle] });
      if (result.problem) throw new Error(`${result.status}: ${result.problem.detail}`);
      made.remove();
      find("receive-status").value = `${message.messageId}: ${how === "ack" ? "acknowledged" : "given back"}`;
    } catch (error) {
      output.value = error.message;
    }
  };
  const acts = element("div", button("Acknowledge", end("ack")), button("Give back", end("nack")), output);
  const made = row(message.messageId, message.attempt, marks.join(", "), element("div", ...properties), body, acts);
  return made;
}

onSubmit("overview", refresh);
onSubmit("send", send);
onSubmit("receive", receive);
call("GET", "/version").then(({ version }) => { find("version").textContent = version; }, () => {});
find("overview").requestSubmit();
