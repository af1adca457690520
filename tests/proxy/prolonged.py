"""A message whose consumer needs longer than the time that it was leased for is prolonged, and acknowledged with the handle that it came with.

prolonged.py PROXY TOPIC: a proxy's HOST:PORT; the group is <topic>-group. Exit code 0 if it held. Takes two minutes.
Runs with the Python example's environment (sdk-examples/python/.venv): the consumer is the SDK's, which asks to be prolonged.
"""

import os
import sys
import threading
import time
import uuid

from rocketmq import (ClientConfiguration, ConsumeResult, Credentials, FilterExpression, Message, MessageListener,
                      Producer, PushConsumer)

from clients import started

LEASED_FOR = 60  # at first, and each time that it is prolonged
NEEDED = LEASED_FOR + 15
# After its end: it was prolonged for the last time when it had 15 to 20 s left, for LEASED_FOR then, and brokers look each few seconds.
NOT_AGAIN_FOR = 2 * LEASED_FOR - 15 - NEEDED + 15
ARRIVES_WITHIN = 60


class Slow(MessageListener):
    """Takes its time and remembers every delivery."""

    def __init__(self, body):
        self.body = body
        self.attempts = []
        self.arrived = threading.Event()
        self.done = threading.Event()

    def consume(self, message):
        if message.body == self.body:
            self.attempts.append(message.delivery_attempt)
            self.arrived.set()
            time.sleep(NEEDED)
            self.done.set()
        return ConsumeResult.SUCCESS


def main():
    address, topic = sys.argv[1:]
    configuration = ClientConfiguration(address, Credentials())
    slow = Slow(uuid.uuid4().hex.encode())
    started(lambda: PushConsumer(configuration, f"{topic}-group", slow, {topic: FilterExpression()}))
    producer = started(lambda: Producer(configuration, (topic,)))
    # A group that is new begins at the end, when it first asks; what came before is not for it.
    deadline = time.monotonic() + ARRIVES_WITHIN
    while not slow.arrived.wait(2):
        assert time.monotonic() < deadline, "nothing arrives"
        message = Message()
        message.topic = topic
        message.body = slow.body
        producer.send(message)
    delivered = len(slow.attempts)
    assert slow.done.wait(NEEDED + ARRIVES_WITHIN), "the listener does not come back"
    time.sleep(NOT_AGAIN_FOR)
    # Those that were sent while the group began may come besides, each once.
    assert set(slow.attempts) == {1}, f"delivered again: attempts are {slow.attempts}, {delivered} at first"
    print(f"consumed for {NEEDED} s by a lease of {LEASED_FOR} s, acknowledged, not delivered again")
    sys.stdout.flush()
    os._exit(0)


main()
