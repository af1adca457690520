"""What the official Python SDK of RocketMQ can do, feature by feature, against any RocketMQ 5 endpoint.

Each feature sends, receives and checks for itself, then prints one line of JSON:
{"sdk":"python","feature":"fifo","ok":true,"detail":"..."}; `ok` is null where the SDK has no such feature.
The exit code is 1 if any feature failed. The other four SDKs have the same program in their own language.
"""

import argparse
import json
import os
import sys
import threading
import time
import uuid
from concurrent.futures import Future
from contextlib import contextmanager

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer, SimpleConsumer, TransactionChecker, TransactionResolution)
from rocketmq.grpc_protocol import FilterType

import stream

# Every wait ends. All in seconds.
POLL = 5  # one long poll; Apache refuses shorter ones
INVISIBLE = 10  # the shortest time to consume that Apache accepts
SHORTENED = 3  # what the time to consume is changed to
ARRIVES_WITHIN = 30  # for a message that must come
ABSENT_FOR = 8  # for a message that must not come
NOT_REDELIVERED_FOR = INVISIBLE + 5
DELAY = 4
CHECK_BACK_WITHIN = 90  # the server asks after 6 to 40 s, depending on its settings
REDELIVERED_WITHIN = 60
FEATURE_WITHIN = 240  # for all of a feature, whatever the SDK waits for
# The SDK's start gives up at the first request that takes longer than 3 s; Java's and Node's try three times.
START_ATTEMPTS = 3
# Clocks are read in milliseconds on both sides.
EARLY_TOLERANCE = 0.1

# Topics outlive a run, so each message says which run it belongs to; those of others are acknowledged and ignored.
RUN = uuid.uuid4().hex


class CheckFailed(Exception):
    """What was observed is not what a RocketMQ server must do."""


def check(condition, complaint):
    if not condition:
        raise CheckFailed(complaint)


class Example:
    """Where the features find their server, topics and groups."""

    def __init__(self, endpoint, prefix):
        self.configuration = ClientConfiguration(endpoint, Credentials())
        self.prefix = prefix

    def topic(self, feature):
        return f"{self.prefix}-python-{feature}"

    @contextmanager
    def producer(self, topic, checker=None):
        with started(lambda: Producer(self.configuration, (topic,), checker)) as producer:
            yield producer

    @contextmanager
    def consumer(self, topic, group=None, expression=None):
        subscription = {topic: expression or FilterExpression()}
        group = group or f"{topic}-group"
        with started(lambda: SimpleConsumer(self.configuration, group, subscription, POLL)) as consumer:
            yield consumer


@contextmanager
def started(build):
    """Builds and starts a client, anew for each attempt, and shuts it down at the end."""
    for attempt in range(1, START_ATTEMPTS + 1):
        client = build()
        try:
            client.startup()
            break
        except Exception:
            if attempt == START_ATTEMPTS:
                raise
    try:
        yield client
    finally:
        client.shutdown()


def new_message(topic, body, tag=None, keys=(), properties=None):
    message = Message()
    message.topic = topic
    message.body = body.encode()
    if tag:
        message.tag = tag
    for key in keys:
        message.keys = key  # the SDK's setter adds
    message.add_property("run", RUN)
    for name, value in (properties or {}).items():
        message.add_property(name, value)
    return message


def due_in(seconds):
    """A time to deliver at. The SDK sends whole seconds, though its documentation and its receiver say milliseconds."""
    return int(time.time()) + seconds + 1


def received(consumer, within):
    """Yields this run's messages as they come, until `within` seconds have passed."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        for message in consumer.receive(16, INVISIBLE):
            if message.properties.get("run") == RUN:
                yield message
            else:
                consumer.ack(message)


def receive_one(consumer, within=ARRIVES_WITHIN):
    message = next(received(consumer, within), None)
    check(message is not None, f"no message within {within} s")
    return message


def receive_bodies(consumer, count, within=ARRIVES_WITHIN):
    """Receives and acknowledges until there are `count` messages or the time is over."""
    bodies = []
    for message in received(consumer, within):
        consumer.ack(message)
        bodies.append(message.body.decode())
        if len(bodies) == count:
            break
    return bodies


def normal(example):
    topic = example.topic("normal")
    with example.producer(topic) as producer, example.consumer(topic) as consumer:
        producer.send(new_message(topic, "hello", tag="greeting", keys=("k1", "k2"), properties={"colour": "blue"}))

        first = receive_one(consumer)
        check(first.body == b"hello", f"body is {first.body}")
        check(first.tag == "greeting", f"tag is {first.tag}")
        check(set(first.keys) == {"k1", "k2"}, f"keys are {first.keys}")
        check(first.properties.get("colour") == "blue", f"properties are {first.properties}")
        check(first.delivery_attempt == 1, f"first delivery is attempt {first.delivery_attempt}")

        consumer.change_invisible_duration(first, SHORTENED)
        changed_at = time.monotonic()
        second = receive_one(consumer)
        waited = time.monotonic() - changed_at
        check(second.message_id == first.message_id, "another message came instead of the redelivery")
        check(second.delivery_attempt == 2, f"second delivery is attempt {second.delivery_attempt}")
        check(waited > SHORTENED - EARLY_TOLERANCE, f"delivered again after {waited:.1f} s, before its time")

        consumer.ack(second)
        again = receive_bodies(consumer, 1, NOT_REDELIVERED_FOR)
        check(not again, "delivered again after its acknowledgement")
    return ("body, tag, keys and properties arrived; invisible time shortened, delivered again as attempt 2; "
            "acknowledged, not delivered again")


def fifo(example):
    topic = example.topic("fifo")
    groups, per_group = ("red", "green", "blue"), 4
    with example.producer(topic) as producer, example.consumer(topic) as consumer:
        for number in range(per_group):
            for group in groups:
                message = new_message(topic, str(number))
                message.message_group = group
                producer.send(message)

        order = {group: [] for group in groups}
        for message in received(consumer, ARRIVES_WITHIN):
            order[message.message_group].append(int(message.body))
            consumer.ack(message)
            if sum(map(len, order.values())) == per_group * len(groups):
                break
        for group in groups:
            check(order[group] == list(range(per_group)), f"order in group {group} is {order[group]}")
    return "12 messages in 3 groups arrived in order within each group"


def delay(example):
    topic = example.topic("delay")
    with example.producer(topic) as producer, example.consumer(topic) as consumer:
        due = due_in(DELAY)
        message = new_message(topic, "later")
        message.delivery_timestamp = due
        producer.send(message)

        arrived = receive_one(consumer)
        early = due - time.time()
        consumer.ack(arrived)
        check(early < EARLY_TOLERANCE, f"delivered {early:.3f} s early")
    return "delivered, not before its time"


class RememberedOutcome(TransactionChecker):
    """Answers the server's question from what this run decided; a real one would look into its database."""

    def __init__(self):
        self.asked = threading.Event()

    def check(self, message):
        if message.properties.get("run") != RUN:
            return TransactionResolution.ROLLBACK
        self.asked.set()
        return TransactionResolution.COMMIT


def transaction(example):
    topic = example.topic("transaction")
    checker = RememberedOutcome()
    with example.producer(topic, checker) as producer, example.consumer(topic) as consumer:
        committed = producer.begin_transaction()
        producer.send(new_message(topic, "committed"), committed)
        committed.commit()

        rolled_back = producer.begin_transaction()
        producer.send(new_message(topic, "rolled back"), rolled_back)
        rolled_back.rollback()

        check(receive_bodies(consumer, 1) == ["committed"], "the committed message did not come first")

        producer.send(new_message(topic, "unresolved"), producer.begin_transaction())
        bodies = receive_bodies(consumer, 1, CHECK_BACK_WITHIN)
        check(bodies == ["unresolved"], f"after the check-back came {bodies}")
        check(checker.asked.is_set(), "delivered without asking the checker")

        late = receive_bodies(consumer, 1, ABSENT_FOR)
        check(not late, f"also delivered: {late}")
    return "committed one delivered, unresolved one delivered after check-back, rolled back one not delivered"


class FailsOnce(MessageListener):
    """Refuses the first delivery of the message "second chance" and remembers every attempt."""

    def __init__(self):
        self.attempts = []
        self.done = threading.Event()

    def consume(self, message):
        if message.properties.get("run") != RUN:
            return ConsumeResult.SUCCESS
        body = message.body.decode()
        is_first_failure = body == "second chance" and (body, 1) not in self.attempts
        self.attempts.append((body, message.delivery_attempt))
        if len(self.attempts) == 3:
            self.done.set()
        return ConsumeResult.FAILURE if is_first_failure else ConsumeResult.SUCCESS


def push(example):
    topic = example.topic("push")
    listener = FailsOnce()
    subscription = {topic: FilterExpression()}
    with (example.producer(topic) as producer,
          started(lambda: PushConsumer(example.configuration, f"{topic}-group", listener, subscription))):
        producer.send(new_message(topic, "straight"))
        producer.send(new_message(topic, "second chance"))
        listener.done.wait(REDELIVERED_WITHIN)
    attempts = sorted(listener.attempts)
    expected = [("second chance", 1), ("second chance", 2), ("straight", 1)]
    check(attempts == expected, f"attempts are {attempts}")
    return "one message consumed at once, one refused and consumed as attempt 2"


def recall(example):
    topic = example.topic("recall")
    with example.producer(topic) as producer, example.consumer(topic) as consumer:
        due = due_in(DELAY + 2)
        receipts = {}
        for body in ("recalled", "kept"):
            message = new_message(topic, body)
            message.delivery_timestamp = due
            receipts[body] = producer.send(message)
        producer.recall_message(topic, receipts["recalled"].recall_handle)

        bodies = receive_bodies(consumer, 1)
        check(bodies == ["kept"], f"delivered: {bodies}")
        late = receive_bodies(consumer, 1, ABSENT_FOR)
        check(not late, f"also delivered: {late}")
    return "recalled message not delivered, the other one delivered"


def filter_messages(example):
    topic = example.topic("filter")
    tags = FilterExpression("a || b")
    sql = FilterExpression("(amount > 10 AND region = 'eu') OR region = 'us'", FilterType.SQL)
    with (example.producer(topic) as producer,
          example.consumer(topic, expression=tags) as by_tag,
          example.consumer(topic, f"{topic}-sql-group", sql) as by_sql):
        for tag, amount, region in (("a", "20", "eu"), ("b", "5", "eu"), ("c", "30", "us")):
            producer.send(new_message(topic, tag, tag=tag, properties={"amount": amount, "region": region}))
        for name, consumer, expected in (("tag", by_tag, ["a", "b"]), ("sql", by_sql, ["a", "c"])):
            bodies = sorted(receive_bodies(consumer, 2) + receive_bodies(consumer, 1, ABSENT_FOR))
            check(bodies == expected, f"{name} filter let through {bodies}")
    return "tag a || b: 2 of 3 messages; SQL92: 2 of 3 messages"


FEATURES = {
    "normal": normal,
    "fifo": fifo,
    "delay": delay,
    "transaction": transaction,
    "push": push,
    "recall": recall,
    "filter": filter_messages,
}


def run_stream(example):
    """See stream.py."""
    topic = example.topic("stream")
    with example.producer(topic) as producer, example.consumer(topic) as consumer:
        stream.run(producer, consumer, lambda body: new_message(topic, body))


def in_time(show, example):
    """Returns what `show` returns and raises what it raises, or TimeoutError if it does neither in time."""
    outcome = Future()

    def run():
        try:
            outcome.set_result(show(example))
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(FEATURE_WITHIN)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("feature", nargs="?", default="all", choices=[*FEATURES, "all", "stream"])
    parser.add_argument("--endpoint", default=os.environ.get("GANTRY_ENDPOINT", "127.0.0.1:8081"))
    parser.add_argument("--prefix", default="example", help="of topics and groups: <prefix>-python-<feature>[-group]")
    parser.add_argument("--plaintext", action="store_true", help="without TLS, which is this SDK's default anyway")
    arguments = parser.parse_args()

    example = Example(arguments.endpoint, arguments.prefix)
    if arguments.feature == "stream":
        run_stream(example)
    has_failed = False
    for name in FEATURES if arguments.feature == "all" else [arguments.feature]:
        try:
            ok, detail = True, in_time(FEATURES[name], example)
        except Exception as error:  # a feature that fails must not keep the next from its turn
            ok, detail = False, f"{type(error).__name__}: {error}"
            has_failed = True
        result = {"sdk": "python", "feature": name, "ok": ok, "detail": detail}
        print(json.dumps(result, separators=(",", ":")), flush=True)
    return 1 if has_failed else 0


if __name__ == "__main__":
    exit_code = main()
    # Threads of a feature that did not finish must not keep the program alive.
    sys.stdout.flush()
    os._exit(exit_code)
