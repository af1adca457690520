/**
 * Sends and receives until it is stopped, and says when it could: kill servers under it and see.
 *
 * It sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle is
 * good. Each success is a line with the time, in milliseconds since 1970, and the messages' bodies, no two of which are the same: "sent AT
 * BODY", "received AT BODY…", "acked RECEIVED_AT AT BODY". Failures are on stderr.
 */

import { setTimeout as sleep } from 'node:timers/promises';

// All in milliseconds.
const SEND_EVERY = 50;
const HELD_FOR = 1_000; // what is received is held so long before it is acknowledged
const INVISIBLE = 30_000; // how long a message may be consumed: no acknowledgement is tried later
const PAUSE = 50; // after a failure

async function complain(error) {
  console.error(Date.now(), String(error));
  await sleep(PAUSE);
}

async function send(producer, newMessage) {
  const began = Date.now();
  for (let number = 0; ; number++) {
    const due = Date.now() + SEND_EVERY;
    const body = `${began}-${number}`;
    try {
      await producer.send(newMessage(body));
      console.log(`sent ${Date.now()} ${body}`);
    } catch (error) {
      await complain(error);
    }
    await sleep(Math.max(0, due - Date.now()));
  }
}

async function receive(consumer, held) {
  for (;;) {
    try {
      const messages = await consumer.receive(16, INVISIBLE);
      const receivedAt = Date.now();
      if (messages.length) console.log(`received ${receivedAt} ${messages.map(({ body }) => body.toString()).join(' ')}`);
      for (const message of messages) held.push({ message, receivedAt });
    } catch (error) {
      await complain(error);
    }
  }
}

async function acknowledge(consumer, held) {
  for (;;) {
    const one = held.shift();
    await sleep(one ? Math.max(0, one.receivedAt + HELD_FOR - Date.now()) : PAUSE);
    if (!one) continue;
    try {
      await consumer.ack(one.message);
      console.log(`acked ${one.receivedAt} ${Date.now()} ${one.message.body.toString()}`);
    } catch (error) {
      await complain(error);
      if (Date.now() - one.receivedAt < INVISIBLE) held.push(one);
    }
  }
}

/** `newMessage` makes what is sent of its body. */
export function run(producer, consumer, newMessage) {
  const held = [];
  return Promise.all([ send(producer, newMessage), receive(consumer, held), acknowledge(consumer, held) ]);
}
