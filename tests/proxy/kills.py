"""Messages that were acknowledged to their sender are delivered, and sends go on, though any process of a cluster is killed.

kills.py FIRST SECOND TOPIC GROUP ACKS END: two proxies' HOST:PORT and two files. Sends at a fixed rate until END is there, then waits for
what is missing. Each acknowledged send is a line of ACKS: the millisecond since 1970. Prints "begun" when all senders send; exit code 0 if
nothing was lost and nothing that was finished came again.
Runs with the Python example's environment (sdk-examples/python/.venv): it speaks the protocol with the SDK's own stubs.
"""

import itertools
import os
import sys
import threading
import time
import uuid

import grpc
from rocketmq.grpc_protocol import MessagingServiceStub

import calls
from survive import consume, send

SENDERS = 8
# Of each sender: 160 a second together.
SEND_EVERY = 0.05
# A proxy that was killed is looked for again this often.
CHANNEL = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100),
           ("grpc.max_reconnect_backoff_ms", 500))


class Acks:
    """What was acknowledged, and when."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "w")
        self.bodies = set()

    def add(self, body):
        with self.lock:
            self.bodies.add(body)
            self.file.write(f"{time.time_ns() // 1_000_000}\n")
            self.file.flush()

    def all(self):
        with self.lock:
            return set(self.bodies)


def produce(stubs, topic, acks, end):
    """Sends through one proxy until it does not take a message, then through the other."""
    due = time.monotonic()
    while not os.path.exists(end):
        body = uuid.uuid4().hex
        if send(stubs[0], topic, body):
            acks.add(body)
        else:
            stubs = stubs[::-1]
        due = max(due + SEND_EVERY, time.monotonic() - SEND_EVERY)
        time.sleep(max(0, due - time.monotonic()))


def main():
    first, second, topic, group, acks, end = sys.argv[1:]
    stubs = [MessagingServiceStub(grpc.insecure_channel(address, CHANNEL)) for address in (first, second)]
    # A group that is new begins at the end: it is there once it has asked.
    calls.receive(stubs[0], topic, group, most=1, invisible=10, wait=1)
    acks = Acks(acks)
    orders = itertools.islice(itertools.cycle([stubs, stubs[::-1]]), SENDERS)
    producers = [threading.Thread(target=produce, args=(order, topic, acks, end), daemon=True) for order in orders]
    for producer in producers:
        producer.start()
    print("begun", flush=True)
    delivered, finished = consume(stubs, topic, group, producers, acks.all)
    print(f"passed: {len(acks.all())} sent, {len(delivered)} delivered, {len(finished)} finished", flush=True)


main()
