"""What the examples of the SDKs do not show, because their clients do not let one do it: a batch of messages in one send, and where a
message goes whose attempts are used up.

scenarios.py NAME --endpoint HOST:PORT: prints a line of JSON as the examples do; exit code 1 if it did not hold. Topics are
example-python-NAME, groups <topic>-group; that of dead-letter has two attempts, and its dead-letter topic is there with a group of its own.
Runs with the Python example's environment (sdk-examples/python/.venv): it speaks the protocol with the SDK's own stubs.
"""

import argparse
import json
import os
import time
import uuid

import grpc
from rocketmq.grpc_protocol import Code, MessagingServiceStub

import calls

INVISIBLE = 10  # the shortest that Apache accepts
AGAIN_AFTER = 1  # a refused message
POLL = 5
ARRIVES_WITHIN = 40


class Consumer:
    """One of a group, for a topic."""

    def __init__(self, endpoint, topic, group):
        self.stub = MessagingServiceStub(grpc.insecure_channel(endpoint))
        self.place = (self.stub, topic, group)
        self.client = calls.subscribe(endpoint, *self.place)
        # A group that is new begins at the end: it is there once it has asked. Apache refuses shorter waits.
        self.receive()

    def receive(self):
        return calls.receive(*self.place, most=16, invisible=INVISIBLE, wait=POLL, client=self.client)

    def receive_those(self, bodies):
        """The messages with these bodies; others are of earlier runs, and acknowledged."""
        found = []
        deadline = time.monotonic() + ARRIVES_WITHIN
        while len(found) < len(bodies) and time.monotonic() < deadline:
            for message in self.receive():
                if message.body in bodies:
                    found.append(message)
                else:
                    self.ack(message)
        return found

    def ack(self, message):
        status = calls.ack(*self.place, message, client=self.client)
        assert status.code == Code.OK, status

    def refuse(self, message):
        status = calls.change_invisible(*self.place, message, AGAIN_AFTER, client=self.client)
        assert status.code == Code.OK, status


def batch(endpoint, topic):
    consumer = Consumer(endpoint, topic, f"{topic}-group")
    bodies = [uuid.uuid4().hex.encode() for _ in range(3)]
    answer = calls.send_all(consumer.stub, topic, bodies)
    assert answer.status.code == Code.OK, answer
    # Apache's proxy has one entry with all ids.
    ids = [one for entry in answer.entries for one in entry.message_id.split(",")]
    assert len(set(ids)) == len(bodies) and all(entry.status.code == Code.OK for entry in answer.entries), answer
    messages = consumer.receive_those(bodies)
    assert sorted(message.body for message in messages) == sorted(bodies), messages
    for message in messages:
        consumer.ack(message)
    return "3 messages of one send stored and delivered"


def dead_letter(endpoint, topic):
    group = f"{topic}-group"
    consumer, undertaker = Consumer(endpoint, topic, group), Consumer(endpoint, f"%DLQ%{group}", f"{topic}-dead-group")
    body = uuid.uuid4().hex.encode()
    status = calls.send(consumer.stub, topic, body)
    assert status.code == Code.OK, status
    for attempt in (1, 2):
        messages = consumer.receive_those([body])
        attempts = [message.system_properties.delivery_attempt for message in messages]
        assert attempts == [attempt], f"attempts {attempts}, expected {attempt}"
        consumer.refuse(messages[0])
    # Apache's proxy moves it away when somebody asks for messages.
    deadline = time.monotonic() + ARRIVES_WITHIN
    letters = []
    while not letters and time.monotonic() < deadline:
        assert not any(message.body == body for message in consumer.receive()), "delivered a third time"
        letters = [letter for letter in undertaker.receive() if letter.body == body]
    assert len(letters) == 1, f"{len(letters)} dead letters"
    return "refused in both of 2 attempts: among the dead letters, not delivered again"


NAMES = {"batch": batch, "dead-letter": dead_letter}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--endpoint", required=True)
    arguments = parser.parse_args()
    try:
        ok, detail = True, NAMES[arguments.name](arguments.endpoint, f"example-python-{arguments.name}")
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    result = {"sdk": "python", "feature": arguments.name, "ok": ok, "detail": detail}
    print(json.dumps(result, separators=(",", ":")), flush=True)
    # Streams that stay open keep threads alive.
    os._exit(0 if ok else 1)


main()
