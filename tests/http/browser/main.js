// The pages in Chromium: topics, groups and lag are seen, messages are sent, received and acknowledged by hand, all calls are shown; what others
// wrote is text. A page of another site may call if the server names its origin, and not otherwise.
//
// node main.js CHROMIUM HTTP GRPC PORT: the browser's program, the server's HOST:PORT of both, and the port of http://localhost:PORT, whose pages it
// lets in.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [executablePath, address, grpc, port] = process.argv.slice(2);
const server = `http://${address}`;
const run = Date.now().toString(36);
const [topic, group] = [`page-${run}`, `page-group-${run}`];
// What a message must not be able to do.
const ATTACK = `<img src=x onerror="document.title='taken over'"><script>document.title='taken over'</script>`;
// Longest wait for a page to show something, in milliseconds.
const WITHIN = 30_000;

async function call(method, path, body) {
  const answer = await fetch(server + path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
  const text = await answer.text();
  assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A page, and what it did that it must not: errors, and requests to others. */
async function open(browser, path) {
  const page = await browser.newPage();
  page.setDefaultTimeout(WITHIN);
  const wrong = [];
  // That a call is refused is no fault of the page.
  page.on("console", (message) => message.type() === "error" && !message.text().includes("responded with a status of 409") && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => request.url().startsWith(`${server}/`) || request.url() === "data:," || wrong.push(request.url()));
  await page.goto(server + path);
  return { page, wrong };
}

/** Waits until an output of the page says something like that. */
async function says(page, id, expected) {
  await page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).value), [id, expected.source]);
}

async function cells(page, table, name) {
  return page.locator(`#${table} tbody tr`, { hasText: name }).locator("td").allInnerTexts();
}

async function messagesByHand(browser) {
  await call("POST", `/v1/admin/topics/${topic}`, { readQueues: 1, writeQueues: 1 });
  // A group that is new begins at the end: it is there once it has asked.
  await call("POST", `/v1/groups/${group}/receive`, { topic, wait: "0" });
  await call("POST", `/v1/topics/${topic}/messages`, { messages: [{ body: "one", properties: { note: ATTACK } }, { bodyBase64: "/wA=" }] });
  const { page, wrong } = await open(browser, "/");
  await says(page, "overview-status", /topics, .* groups/);
  // There may be more of others than are shown.
  await page.locator("#overview [name=part]").fill(run);
  await page.locator("#overview button").click();
  await says(page, "overview-status", /^1 topics, 1 groups$/);
  assert.deepEqual(await cells(page, "topics", topic), [topic, "NORMAL", "1", "2"]);
  assert.deepEqual((await cells(page, "groups", group)).slice(0, 4), [group, topic, "2", "0"]);

  const sending = page.locator("#send");
  await sending.locator("[name=topic]").fill(topic);
  await sending.locator("[name=tag]").fill("paid");
  await sending.locator("[name=body]").fill(ATTACK);
  await sending.locator("button").click();
  await says(page, "send-status", /^stored \(written\) as [0-9A-F]+, queue 0, offset 2$/);
  await sending.locator("[name=messageGroup]").fill("g");
  await sending.locator("button").click();
  // The topic takes no ordered messages.
  await says(page, "send-status", /^409: /);

  const receiving = page.locator("#receive");
  await receiving.locator("[name=topic]").fill(topic);
  await receiving.locator("[name=group]").fill(group);
  await receiving.locator("button").click();
  await says(page, "receive-status", /^3 received$/);
  const rows = page.locator("#messages tbody tr");
  const bodies = await rows.locator("pre").allInnerTexts();
  assert.deepEqual(bodies.toSorted(), ["Base64: /wA=", ATTACK, "one"].toSorted());
  assert((await page.locator("#messages").innerText()).includes(`note: ${ATTACK}`));
  assert.equal(await page.title(), "Gantry");

  await page.locator("#overview button").click();
  await page.waitForFunction((name) => [...document.querySelectorAll("#groups tbody tr")].some((row) => row.cells[0].innerText === name && row.cells[3].innerText === "3"), group);
  await rows.filter({ hasText: "Base64" }).getByText("Give back").click();
  await says(page, "receive-status", /given back$/);
  for (const left of [1, 0]) {
    await rows.first().getByText("Acknowledge").click();
    await page.waitForFunction((left) => document.querySelectorAll("#messages tbody tr").length === left, left);
  }
  // The one that was given back, once more.
  await receiving.locator("button").click();
  await says(page, "receive-status", /^1 received$/);
  assert.equal(await rows.locator("td").nth(1).innerText(), "2");
  await rows.first().getByText("Acknowledge").click();
  await says(page, "receive-status", /acknowledged$/);
  const { progress } = await call("GET", `/v1/admin/groups/${group}`);
  assert.deepEqual(progress.map(({ lag, inFlight }) => lag + inFlight), progress.map(() => 0));
  assert.deepEqual(wrong, []);

  // Not even a script that gets into the page runs.
  const hasRun = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.hasRun = true";
    document.body.append(script);
    return window.hasRun === true;
  });
  assert.equal(hasRun, false);
  await page.close();
}

async function allCalls(browser) {
  const document = await call("GET", "/openapi.json");
  const expected = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
  const { page, wrong } = await open(browser, "/docs#receiveMessages");
  await page.locator("#receiveMessages[open]").waitFor();
  const shown = await page.locator("section > details > summary > code").allInnerTexts();
  assert.deepEqual(shown.toSorted(), expected.toSorted());
  const text = await page.locator("#receiveMessages").innerText();
  for (const part of ["group", "attemptId", "application/octet-stream", "204", "messageId", "application/problem+json"]) {
    assert(text.includes(part), `${part} is missing in ${text}`);
  }
  assert.deepEqual(wrong, []);
  await page.close();
}

async function otherSites(browser) {
  const site = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<title>Another site</title>"));
  await new Promise((resolve) => site.listen(Number(port), resolve));
  const send = async ([url, header]) => {
    try {
      const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "text/plain", ...header }, body: "from another site" });
      return [answer.status, answer.headers.get("idempotency-replayed"), (await answer.json()).messageId?.length];
    } catch (error) {
      return [error.name];
    }
  };
  const url = `${server}/v1/topics/${topic}/messages`;
  const named = await browser.newPage();
  await named.goto(`http://localhost:${port}/`);
  const keyed = { "Property-Region": "eu", "Idempotency-Key": `other-site-${run}` };
  assert.deepEqual(await named.evaluate(send, [url, keyed]), [201, null, 34]);
  assert.deepEqual(await named.evaluate(send, [url, keyed]), [201, "true", 34]);
  const unnamed = await browser.newPage();
  await unnamed.goto(`http://127.0.0.1:${port}/`);
  assert.deepEqual(await unnamed.evaluate(send, [url, keyed]), ["TypeError"]);
  // Without a header of its own a browser does not ask first: the server refuses.
  assert.deepEqual(await unnamed.evaluate(send, [url, {}]), ["TypeError"]);
  const { queues } = await call("GET", `/v1/admin/topics/${topic}`);
  assert.equal(queues[0].endOffset, 4, "one message of the named site came, none of the other");

  // gRPC-web: is the server well?
  const ask = async (url) => {
    try {
      const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1" }, body: new Uint8Array(5) });
      return String.fromCharCode(...new Uint8Array(await answer.arrayBuffer()));
    } catch (error) {
      return error.name;
    }
  };
  const health = `http://${grpc}/grpc.health.v1.Health/Check`;
  assert.match(await named.evaluate(ask, health), /^\0\0\0\0\x02\x08\x01\x80[^]*grpc-status:0/);
  assert.equal(await unnamed.evaluate(ask, health), "TypeError");
  site.close();
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-quic", "--disable-background-networking"] });
try {
  await messagesByHand(browser);
  await allCalls(browser);
  await otherSites(browser);
} finally {
  await browser.close();
}
console.log("the pages do what they say in Chromium");
process.exit(0);
