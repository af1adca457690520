/**
 * What the official Node.js SDK of RocketMQ can do, feature by feature, against any RocketMQ 5 endpoint.
 *
 * Each feature sends, receives and checks for itself, then prints one line of JSON:
 * {"sdk":"node","feature":"fifo","ok":true,"detail":"..."}; `ok` is null where the SDK has no such feature.
 * The exit code is 1 if any feature failed. The other four SDKs have the same program in their own language.
 */

import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

import { ConsumeResult, FilterExpression, Producer, PushConsumer, SimpleConsumer } from 'rocketmq-client-nodejs';
// The package does not export these two enums at its top.
import definitions from 'rocketmq-client-nodejs/proto/apache/rocketmq/v2/definition_pb.js';

import { run } from './stream.js';

const { FilterType, TransactionResolution } = definitions;

// Every wait ends. All in milliseconds.
const POLL = 5_000; // one long poll; Apache refuses shorter ones
const INVISIBLE = 10_000; // the shortest time to consume that Apache accepts
const SHORTENED = 3_000; // what the time to consume is changed to
const ARRIVES_WITHIN = 30_000; // for a message that must come
const ABSENT_FOR = 8_000; // for a message that must not come
const NOT_REDELIVERED_FOR = INVISIBLE + 5_000;
const DELAY = 4_000;
const CHECK_BACK_WITHIN = 90_000; // the server asks after 6 to 40 s, depending on its settings
const REDELIVERED_WITHIN = 60_000;
const FEATURE_WITHIN = 240_000; // for all of a feature: startup() waits for ever if the server sends no settings
// Clocks are read in milliseconds on both sides.
const EARLY_TOLERANCE = 100;

// Topics outlive a run, so each message says which run it belongs to; those of others are acknowledged and ignored.
const RUN = randomUUID();

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    endpoint: { type: 'string', default: process.env.GANTRY_ENDPOINT ?? '127.0.0.1:8081' },
    prefix: { type: 'string', default: 'example' },
    plaintext: { type: 'boolean', default: false }, // this SDK's default anyway
  },
});

// The SDK logs every empty poll as an error.
const silent = { debug() {}, info() {}, warn() {}, error() {}, close() {} };
const connection = { endpoints: options.endpoint, namespace: '', logger: silent };

const topicOf = feature => `${options.prefix}-node-${feature}`;

function check(condition, complaint) {
  if (!condition) throw new Error(complaint);
}

const newProducer = (topic, checker) => new Producer({ ...connection, topic, checker });

const newConsumer = (topic, group = `${topic}-group`, expression = FilterExpression.SUB_ALL) => new SimpleConsumer({
  ...connection, consumerGroup: group, subscriptions: new Map([[ topic, expression ]]), awaitDuration: POLL,
});

/** Starts the clients, runs `body` with them and shuts them down, whatever happens. */
async function using(clients, body) {
  const started = [];
  try {
    for (const client of clients) {
      await client.startup();
      started.push(client);
    }
    return await body(...clients);
  } finally {
    await Promise.allSettled(started.map(client => client.shutdown()));
  }
}

const newMessage = (topic, body, { properties = {}, ...others } = {}) => ({
  topic, body: Buffer.from(body), properties: new Map(Object.entries({ run: RUN, ...properties })), ...others,
});

/** Yields this run's messages as they come, until `within` milliseconds have passed. */
async function* received(consumer, within) {
  const deadline = Date.now() + within;
  while (Date.now() < deadline) {
    for (const message of await consumer.receive(16, INVISIBLE)) {
      if (message.properties.get('run') === RUN) yield message;
      else await consumer.ack(message);
    }
  }
}

async function receiveOne(consumer, within = ARRIVES_WITHIN) {
  const { value: message } = await received(consumer, within).next();
  check(message, `no message within ${within} ms`);
  return message;
}

/** Receives and acknowledges until there are `count` messages or the time is over. */
async function receiveBodies(consumer, count, within = ARRIVES_WITHIN) {
  const bodies = [];
  for await (const message of received(consumer, within)) {
    await consumer.ack(message);
    bodies.push(message.body.toString());
    if (bodies.length === count) break;
  }
  return bodies;
}

const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function normal() {
  const topic = topicOf('normal');
  return using([ newProducer(topic), newConsumer(topic) ], async (producer, consumer) => {
    await producer.send(newMessage(topic, 'hello', {
      tag: 'greeting', keys: [ 'k1', 'k2' ], properties: { colour: 'blue' },
    }));

    const first = await receiveOne(consumer);
    check(first.body.toString() === 'hello', `body is ${first.body}`);
    check(first.tag === 'greeting', `tag is ${first.tag}`);
    check(equal([ ...first.keys ].sort(), [ 'k1', 'k2' ]), `keys are ${first.keys}`);
    check(first.properties.get('colour') === 'blue', `properties are ${[ ...first.properties ]}`);
    check(first.deliveryAttempt === 1, `first delivery is attempt ${first.deliveryAttempt}`);

    await consumer.changeInvisibleDuration(first, SHORTENED);
    const changedAt = Date.now();
    const second = await receiveOne(consumer);
    const waited = Date.now() - changedAt;
    check(second.messageId === first.messageId, 'another message came instead of the redelivery');
    check(second.deliveryAttempt === 2, `second delivery is attempt ${second.deliveryAttempt}`);
    check(waited > SHORTENED - EARLY_TOLERANCE, `delivered again after ${waited} ms, before its time`);

    await consumer.ack(second);
    const again = await receiveBodies(consumer, 1, NOT_REDELIVERED_FOR);
    check(again.length === 0, 'delivered again after its acknowledgement');
    return 'body, tag, keys and properties arrived; invisible time shortened, delivered again as attempt 2; '
      + 'acknowledged, not delivered again';
  });
}

function fifo() {
  const topic = topicOf('fifo');
  const groups = [ 'red', 'green', 'blue' ];
  const perGroup = 4;
  return using([ newProducer(topic), newConsumer(topic) ], async (producer, consumer) => {
    for (let number = 0; number < perGroup; number++) {
      for (const messageGroup of groups) await producer.send(newMessage(topic, String(number), { messageGroup }));
    }

    const order = Object.fromEntries(groups.map(group => [ group, [] ]));
    let count = 0;
    for await (const message of received(consumer, ARRIVES_WITHIN)) {
      order[message.messageGroup].push(Number(message.body.toString()));
      await consumer.ack(message);
      if (++count === perGroup * groups.length) break;
    }
    for (const group of groups) {
      check(equal(order[group], [ 0, 1, 2, 3 ]), `order in group ${group} is ${order[group]}`);
    }
    return '12 messages in 3 groups arrived in order within each group';
  });
}

function delay() {
  const topic = topicOf('delay');
  return using([ newProducer(topic), newConsumer(topic) ], async (producer, consumer) => {
    const due = Date.now() + DELAY;
    await producer.send(newMessage(topic, 'later', { deliveryTimestamp: new Date(due) }));

    const arrived = await receiveOne(consumer);
    const early = due - Date.now();
    await consumer.ack(arrived);
    check(early < EARLY_TOLERANCE, `delivered ${early} ms early`);
    return 'delivered, not before its time';
  });
}

function transaction() {
  const topic = topicOf('transaction');
  let wasAsked = false;
  // Answers the server's question from what this run decided; a real one would look into its database.
  const checker = {
    async check(message) {
      if (message.properties.get('run') !== RUN) return TransactionResolution.ROLLBACK;
      wasAsked = true;
      return TransactionResolution.COMMIT;
    },
  };
  return using([ newProducer(topic, checker), newConsumer(topic) ], async (producer, consumer) => {
    const committed = producer.beginTransaction();
    await producer.send(newMessage(topic, 'committed'), committed);
    await committed.commit();

    const rolledBack = producer.beginTransaction();
    await producer.send(newMessage(topic, 'rolled back'), rolledBack);
    await rolledBack.rollback();

    check(equal(await receiveBodies(consumer, 1), [ 'committed' ]), 'the committed message did not come first');

    await producer.send(newMessage(topic, 'unresolved'), producer.beginTransaction());
    const bodies = await receiveBodies(consumer, 1, CHECK_BACK_WITHIN);
    check(equal(bodies, [ 'unresolved' ]), `after the check-back came [${bodies}]`);
    check(wasAsked, 'delivered without asking the checker');

    const late = await receiveBodies(consumer, 1, ABSENT_FOR);
    check(late.length === 0, `also delivered: ${late}`);
    return 'committed one delivered, unresolved one delivered after check-back, rolled back one not delivered';
  });
}

function push() {
  const topic = topicOf('push');
  const attempts = [];
  let isDone;
  const done = new Promise(resolve => { isDone = resolve; });
  // Refuses the first delivery of the message "second chance".
  const messageListener = {
    async consume(message) {
      if (message.properties.get('run') !== RUN) return ConsumeResult.SUCCESS;
      const attempt = `${message.body} ${message.deliveryAttempt}`;
      const isFirstFailure = attempt === 'second chance 1' && !attempts.includes(attempt);
      attempts.push(attempt);
      if (attempts.length === 3) isDone();
      return isFirstFailure ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
    },
  };
  const consumer = new PushConsumer({
    ...connection, consumerGroup: `${topic}-group`, subscriptions: new Map([[ topic, '*' ]]), messageListener,
  });
  return using([ newProducer(topic), consumer ], async producer => {
    await producer.send(newMessage(topic, 'straight'));
    await producer.send(newMessage(topic, 'second chance'));
    const timer = setTimeout(isDone, REDELIVERED_WITHIN);
    await done;
    clearTimeout(timer);
    check(equal(attempts.sort(), [ 'second chance 1', 'second chance 2', 'straight 1' ]), `attempts are ${attempts}`);
    return 'one message consumed at once, one refused and consumed as attempt 2';
  });
}

function recall() {
  const topic = topicOf('recall');
  return using([ newProducer(topic), newConsumer(topic) ], async (producer, consumer) => {
    const deliveryTimestamp = new Date(Date.now() + DELAY + 2_000);
    const recalled = await producer.send(newMessage(topic, 'recalled', { deliveryTimestamp }));
    await producer.send(newMessage(topic, 'kept', { deliveryTimestamp }));
    await producer.recallMessage(topic, recalled.recallHandle);

    const bodies = await receiveBodies(consumer, 1);
    check(equal(bodies, [ 'kept' ]), `delivered: [${bodies}]`);
    const late = await receiveBodies(consumer, 1, ABSENT_FOR);
    check(late.length === 0, `also delivered: ${late}`);
    return 'recalled message not delivered, the other one delivered';
  });
}

function filter() {
  const topic = topicOf('filter');
  const tags = new FilterExpression('a || b');
  const sql = new FilterExpression("(amount > 10 AND region = 'eu') OR region = 'us'", FilterType.SQL);
  const clients = [
    newProducer(topic), newConsumer(topic, undefined, tags), newConsumer(topic, `${topic}-sql-group`, sql),
  ];
  return using(clients, async (producer, byTag, bySql) => {
    for (const [ tag, amount, region ] of [[ 'a', '20', 'eu' ], [ 'b', '5', 'eu' ], [ 'c', '30', 'us' ]]) {
      await producer.send(newMessage(topic, tag, { tag, properties: { amount, region } }));
    }
    for (const [ name, consumer, expected ] of [[ 'tag', byTag, [ 'a', 'b' ]], [ 'sql', bySql, [ 'a', 'c' ]]]) {
      const bodies = await receiveBodies(consumer, 2);
      bodies.push(...await receiveBodies(consumer, 1, ABSENT_FOR));
      check(equal(bodies.sort(), expected), `${name} filter let through [${bodies}]`);
    }
    return 'tag a || b: 2 of 3 messages; SQL92: 2 of 3 messages';
  });
}

/** See stream.js. */
function stream() {
  const topic = topicOf('stream');
  return using([ newProducer(topic), newConsumer(topic) ], (producer, consumer) =>
    run(producer, consumer, body => newMessage(topic, body)));
}

const features = { normal, fifo, delay, transaction, push, recall, filter };
const [ chosen = 'all' ] = positionals;
if (chosen === 'stream') await stream();
if (chosen !== 'all' && !(chosen in features)) {
  console.error(`unknown feature ${chosen}; one of: ${Object.keys(features).join(', ')}, all, stream`);
  process.exit(2);
}

/** Rejects if `promise` is not settled in time. */
async function inTime(promise, within) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not finished within ${within} ms`)), within);
  });
  return Promise.race([ promise, late ]).finally(() => clearTimeout(timer));
}

let hasFailed = false;
for (const feature of chosen === 'all' ? Object.keys(features) : [ chosen ]) {
  const result = { sdk: 'node', feature, ok: true, detail: '' };
  try {
    result.detail = await inTime(features[feature](), FEATURE_WITHIN);
  } catch (error) { // a feature that fails must not keep the next from its turn
    hasFailed = true;
    result.ok = false;
    result.detail = String(error);
  }
  console.log(JSON.stringify(result));
}
process.exit(hasFailed ? 1 : 0);
