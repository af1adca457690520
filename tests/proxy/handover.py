"""One proxy is killed and another goes on: what was popped through the first is acknowledged through the second, and a transaction
that was begun through the first is ended by a producer that is asked through the second.

handover.py FIRST SECOND PID TOPIC DEALS: two proxies' HOST:PORT, the first one's process id, a topic and one for transactions; the
groups are <topic>-group. Exit code 0 if it held.
Runs with the Python example's environment (sdk-examples/python/.venv): it consumes with the SDK's own stubs; producers are the SDK's.
"""

import os
import signal
import sys
import time
import uuid

import grpc
from rocketmq import (ClientConfiguration, Credentials, Message, Producer, TransactionChecker, TransactionResolution)
from rocketmq.grpc_protocol import Code, MessagingServiceStub

import calls
from clients import started

INVISIBLE = 20
ARRIVES_WITHIN = 60


def send(stub, topic, body):
    status = calls.send(stub, topic, body)
    assert status.code == Code.OK, status


def receive(stub, topic, group, within):
    """The messages of the first receive that has one, or of none."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        messages = calls.receive(stub, topic, group, most=16, invisible=INVISIBLE, wait=5)
        if messages:
            return messages
    return []


class Outcome(TransactionChecker):
    """Gives every transaction that it is asked about the same outcome."""

    def __init__(self, resolution):
        self.resolution = resolution
        self.asked = []

    def check(self, message):
        self.asked.append(message.body)
        return self.resolution


def producer(address, topic, checker):
    return started(lambda: Producer(ClientConfiguration(address, Credentials()), (topic,), checker))


def begin(address, topic, body):
    """Sends a half message and leaves it so; its producer does not know the outcome."""
    undecided = producer(address, topic, Outcome(TransactionResolution.TRANSACTION_RESOLUTION_UNSPECIFIED))
    message = Message()
    message.topic = topic
    message.body = body
    undecided.send(message, undecided.begin_transaction())


def main():
    first_address, second_address, pid, topic, deals = sys.argv[1:]
    group, deals_group = f"{topic}-group", f"{deals}-group"
    first = MessagingServiceStub(grpc.insecure_channel(first_address))
    second = MessagingServiceStub(grpc.insecure_channel(second_address))
    # A group that is new begins at the end: it is there once it has asked.
    receive(first, topic, group, 1)
    receive(second, deals, deals_group, 1)
    body = uuid.uuid4().hex.encode()
    send(first, topic, body)
    popped = receive(first, topic, group, ARRIVES_WITHIN)
    assert [message.body for message in popped] == [body], popped
    begin(first_address, deals, body)
    checker = Outcome(TransactionResolution.COMMIT)
    producer(second_address, deals, checker)
    os.kill(int(pid), signal.SIGKILL)

    status = calls.ack(second, topic, group, popped[0])
    assert status.code == Code.OK, status
    committed = receive(second, deals, deals_group, ARRIVES_WITHIN)
    assert [message.body for message in committed] == [body], f"committed are {committed}"
    assert body in checker.asked, f"asked was about {checker.asked}"
    again = receive(second, topic, group, INVISIBLE + 5)
    assert not again, f"delivered again after its acknowledgement: {again}"
    send(second, topic, body)
    assert receive(second, topic, group, ARRIVES_WITHIN), "the second proxy delivers nothing"
    print("acknowledged through the second proxy, not delivered again; committed by a producer that was asked through the second")
    # The SDK's threads look for the first proxy for ever.
    sys.stdout.flush()
    os._exit(0)


main()
