"""Messages that were acknowledged to their sender are delivered, though brokers are killed while they are sent and consumed.

survive.py FIRST SECOND TOPIC GROUP COUNT: two proxies' HOST:PORT. Prints "acked N" as it goes on; exit code 0 if it held.
Runs with the Python example's environment (sdk-examples/python/.venv): it speaks the protocol with the SDK's own stubs.
"""

import itertools
import sys
import threading
import time
import uuid

import grpc
from rocketmq.grpc_protocol import Code, MessagingServiceStub

import calls

INVISIBLE = 10
# Longest time without a new message before those that are missing count as lost.
ARRIVES_WITHIN = 60


def send(stub, topic, body):
    """Whether the message was stored; if not, it may have been."""
    try:
        return calls.send(stub, topic, body.encode()).code == Code.OK
    except grpc.RpcError:
        return False


def receive(stub, topic, group):
    try:
        return calls.receive(stub, topic, group, most=32, invisible=INVISIBLE, wait=2)
    except grpc.RpcError:
        return []


def ack(stub, topic, group, message):
    """Whether it was taken for finished."""
    try:
        return calls.ack(stub, topic, group, message).code == Code.OK
    except grpc.RpcError:
        return False


def produce(stubs, topic, count, sent):
    for stub in itertools.cycle(stubs):
        body = uuid.uuid4().hex
        if send(stub, topic, body):
            sent.append(body)
            print(f"acked {len(sent)}", flush=True)
        else:
            time.sleep(0.1)
        if len(sent) == count:
            return


def consume(stubs, topic, group, producers, acknowledged):
    """Receives and acknowledges until the producers have ended and all of `acknowledged()` has come; what came, and what is finished."""
    finished, delivered = set(), set()
    newest = time.monotonic()
    for popper, acker in itertools.cycle([stubs, stubs[::-1]]):
        for message in receive(popper, topic, group):
            body = message.body.decode()
            # What was finished stays so, whoever is killed.
            assert body not in finished, f"{body} was delivered again after its acknowledgement"
            if body not in delivered:
                delivered.add(body)
                newest = time.monotonic()
            # Through the other proxy than it came.
            if ack(acker, topic, group, message):
                finished.add(body)
        # In this order: what is acknowledged until the last producer ends is looked for.
        is_over = not any(producer.is_alive() for producer in producers)
        sent = acknowledged()
        lost = sent - delivered
        if is_over and not lost:
            return delivered, finished
        assert time.monotonic() < newest + ARRIVES_WITHIN, f"lost: {sorted(lost)} of {len(sent)}"


def main():
    first, second, topic, group, count = sys.argv[1:]
    stubs = [MessagingServiceStub(grpc.insecure_channel(address)) for address in (first, second)]
    # A group that is new begins at the end: it is there once it has asked.
    receive(stubs[0], topic, group)
    sent = []
    producer = threading.Thread(target=produce, args=(stubs, topic, int(count), sent), daemon=True)
    producer.start()
    delivered, finished = consume(stubs, topic, group, [producer], lambda: set(sent))
    print(f"passed: {len(sent)} sent, {len(delivered)} delivered, {len(finished)} finished", flush=True)


if __name__ == "__main__":
    main()
