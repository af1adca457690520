// The main scenario through a client that is generated from the OpenAPI document: what is not as the document says does not compile.
//
// node build/main.js HTTP, a server's HOST:PORT; exit code 0 if all held.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: `http://${process.argv[2]}` });
const run = Date.now().toString(36);
const [topic, group] = [`generated-${run}`, `generated-group-${run}`];
const octets = { "Content-Type": "application/octet-stream" };
const asIs = (body: unknown) => body as BodyInit;

/** Sends one message whose metadata stands in headers. */
async function send(body: string, header: Record<string, string> = {}) {
  const { data, error } = await client.POST("/v1/topics/{topic}/messages", {
    params: { path: { topic }, header }, body, bodySerializer: asIs, headers: octets,
  });
  assert(data && "messageId" in data, JSON.stringify(error));
  return data;
}

async function receive(max = 16) {
  const { data, response } = await client.POST("/v1/groups/{group}/receive", {
    params: { path: { group } }, body: { topic, max, wait: "5s", invisible: "30s" },
  });
  if (response.status === 204) return [];
  assert(data && typeof data === "object", String(response.status));
  return data.messages;
}

async function end(how: "ack" | "dead-letter", handle: string) {
  const body = { topic, handles: [handle] };
  const { data } = await client.POST(`/v1/groups/{group}/${how}`, { params: { path: { group } }, body });
  assert.deepEqual(data?.results.map((result) => result.status), [200]);
}

const made = await client.POST("/v1/admin/topics/{name}", { params: { path: { name: topic } }, body: { messageType: "MIXED", readQueues: 1, writeQueues: 1 } });
assert.equal(made.data?.messageType, "MIXED", JSON.stringify(made.error));
assert.deepEqual(await client.POST("/v1/groups/{group}/receive", { params: { path: { group } }, body: { topic, wait: "0" } }).then(({ response }) => response.status), 204);

// One message and all that is said of it.
const sent = await send("order 1", { Tag: "paid", Key: "k1", "Idempotency-Key": `once-${run}` });
const repeated = await send("order 1", { Tag: "paid", Key: "k1", "Idempotency-Key": `once-${run}` });
assert.equal(repeated.repeated, true);
assert.equal(repeated.messageId, sent.messageId);
const [first] = await receive();
assert(first);
assert.deepEqual([first.messageId, first.body, first.tag, first.keys, first.attempt], [sent.messageId, "order 1", "paid", ["k1"], 1]);

// Kept longer, given back, received again, acknowledged.
const kept = await client.POST("/v1/groups/{group}/extend", { params: { path: { group } }, body: { topic, handles: [first.handle], invisible: "1m" } });
const handle = kept.data?.results[0]?.handle;
assert(handle);
const back = await client.POST("/v1/groups/{group}/nack", { params: { path: { group } }, body: { topic, handles: [handle] } });
assert.equal(back.data?.results[0]?.status, 200);
const [again] = await receive();
assert.equal(again?.attempt, 2);
await end("ack", again.handle);

// Several with a result each, one of which is refused.
const many = await client.POST("/v1/topics/{topic}/messages", {
  params: { path: { topic } }, body: { messages: [{ body: "one" }, { bodyBase64: "AAEC" }, { body: "" }] },
});
assert.equal(many.response.status, 207);
assert(many.data && "results" in many.data);
assert.deepEqual(many.data.results.map((result) => result.status), [201, 201, 400]);
const refused = many.data.results[2];
assert(refused && "problem" in refused);
assert.equal(refused.problem.codeName, "MESSAGE_BODY_EMPTY");
for (let left = 2; left > 0; ) {
  for (const message of await receive()) {
    await end("ack", message.handle);
    left -= 1;
  }
}

// Given up: a dead letter.
await send("bad");
const [bad] = await receive();
assert(bad);
await end("dead-letter", bad.handle);

// Delayed and taken back.
const delayed = await send("later", { Delay: "1h" });
assert(delayed.recallHandle);
const recalled = await client.DELETE("/v1/topics/{topic}/delayed/{handle}", { params: { path: { topic, handle: delayed.recallHandle } } });
assert.equal(recalled.data?.messageId, delayed.messageId);

// In a transaction.
const begun = await client.POST("/v1/topics/{topic}/transactions", {
  params: { path: { topic }, header: { "Check-After": "30s" } }, body: "half", bodySerializer: asIs, headers: octets,
});
const id = begun.data?.transactionId;
assert(id, JSON.stringify(begun.error));
assert.equal((await client.POST("/v1/transactions/{id}/commit", { params: { path: { id } } })).response.status, 204);
const [committed] = await receive();
assert.equal(committed?.body, "half");
await end("ack", committed.handle);

// What the operator sees, and a problem.
const described = await client.GET("/v1/admin/groups/{name}", { params: { path: { name: group } } });
assert.equal(described.data?.progress.find((progress) => progress.topic === topic && !progress.retry)?.lag, 0);
const missing = await client.GET("/v1/admin/topics/{name}", { params: { path: { name: `no-${topic}` } } });
assert.equal(missing.error?.type, "urn:gantry:problem:topic-not-found");
const gone = await client.DELETE("/v1/admin/topics/{name}", { params: { path: { name: topic } } });
assert.equal(gone.response.status, 204);
console.log("the generated client runs the main scenario");
