"""Official clients go on while brokers come and go and proxies are restarted: what was acknowledged to the producer reaches the consumer.

life.py PRODUCERS CONSUMERS TOPIC END: two proxies' HOST:PORT, a topic whose group is <topic>-group, and a file. Sends until the file is
there, then waits for what is missing. Prints "acked N" as it goes on; exit code 0 if nothing was lost and no send failed for long.
Runs with the Python example's environment (sdk-examples/python/.venv).
"""

import os
import sys
import threading
import time
import uuid

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer)

from clients import started

ARRIVES_WITHIN = 90
# A proxy that is restarted is away for some seconds; its client then looks for it.
NO_SEND_FOR = 30


class Remembers(MessageListener):
    """Every body that came."""

    def __init__(self):
        self.bodies = set()

    def consume(self, message):
        self.bodies.add(message.body.decode())
        return ConsumeResult.SUCCESS


def send(producer, topic, body):
    """Whether it was stored; if not, it may have been."""
    message = Message()
    message.topic = topic
    message.body = body.encode()
    try:
        producer.send(message)
        return True
    except Exception as error:
        print(f"not sent: {error}", flush=True)
        return False


def main():
    producers, consumers, topic, end = sys.argv[1:]
    remembers = Remembers()
    started(lambda: PushConsumer(ClientConfiguration(consumers, Credentials()), f"{topic}-group", remembers,
                                 {topic: FilterExpression()}))
    producer = started(lambda: Producer(ClientConfiguration(producers, Credentials()), (topic,)))
    # A group that is new begins at the end, when it first asks; what came before is not for it.
    deadline = time.monotonic() + ARRIVES_WITHIN
    while not remembers.bodies:
        assert time.monotonic() < deadline, "nothing arrives"
        send(producer, topic, uuid.uuid4().hex)
        time.sleep(1)
    sent, last = set(), time.monotonic()
    while not os.path.exists(end):
        body = uuid.uuid4().hex
        if send(producer, topic, body):
            sent.add(body)
            last = time.monotonic()
            print(f"acked {len(sent)}", flush=True)
        assert time.monotonic() < last + NO_SEND_FOR, f"no send succeeded for {NO_SEND_FOR} s"
        time.sleep(0.05)
    deadline = time.monotonic() + ARRIVES_WITHIN
    while not remembers.bodies.issuperset(sent):
        assert time.monotonic() < deadline, f"lost: {sorted(sent - remembers.bodies)} of {len(sent)}"
        time.sleep(0.2)
    print(f"passed: {len(sent)} sent and received", flush=True)
    # The SDK's threads go on.
    os._exit(0)


try:
    main()
except BaseException as error:
    print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(1)
