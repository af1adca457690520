"""A message popped through one proxy is acknowledged through another after the first was killed.

handover.py FIRST SECOND PID TOPIC GROUP: two proxies' HOST:PORT and the first one's process id. Exit code 0 if it held.
Runs with the Python example's environment (sdk-examples/python/.venv): it speaks the protocol with the SDK's own stubs.
"""

import os
import signal
import sys
import time
import uuid

import grpc
from rocketmq.grpc_protocol import (AckMessageRequest, Code, MessagingServiceStub, ReceiveMessageRequest,
                                    SendMessageRequest)

INVISIBLE = 20
ARRIVES_WITHIN = 60
METADATA = (("x-mq-client-id", f"handover-{uuid.uuid4().hex}"), ("x-mq-language", "PYTHON"))


def send(stub, topic, body):
    request = SendMessageRequest()
    message = request.messages.add()
    message.topic.name = topic
    message.body = body
    message.system_properties.message_id = uuid.uuid4().hex
    response = stub.SendMessage(request, timeout=10, metadata=METADATA)
    assert response.status.code == Code.OK, response.status


def receive(stub, topic, group, within):
    """The messages of the first receive that has one, or of none."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        request = ReceiveMessageRequest()
        request.group.name = group
        request.message_queue.topic.name = topic
        request.filter_expression.expression = "*"
        request.batch_size = 16
        request.invisible_duration.seconds = INVISIBLE
        request.long_polling_timeout.seconds = 5
        frames = list(stub.ReceiveMessage(request, timeout=15, metadata=METADATA))
        messages = [frame.message for frame in frames if frame.WhichOneof("content") == "message"]
        if messages:
            return messages
    return []


def ack(stub, topic, group, message):
    request = AckMessageRequest()
    request.topic.name = topic
    request.group.name = group
    entry = request.entries.add()
    entry.message_id = message.system_properties.message_id
    entry.receipt_handle = message.system_properties.receipt_handle
    return stub.AckMessage(request, timeout=10, metadata=METADATA).status


def main():
    first_address, second_address, pid, topic, group = sys.argv[1:]
    first = MessagingServiceStub(grpc.insecure_channel(first_address))
    second = MessagingServiceStub(grpc.insecure_channel(second_address))
    # A group that is new begins at the end: it is there once it has asked.
    receive(first, topic, group, 1)
    body = uuid.uuid4().hex.encode()
    send(first, topic, body)
    popped = receive(first, topic, group, ARRIVES_WITHIN)
    assert [message.body for message in popped] == [body], popped
    os.kill(int(pid), signal.SIGKILL)
    status = ack(second, topic, group, popped[0])
    assert status.code == Code.OK, status
    again = receive(second, topic, group, INVISIBLE + 5)
    assert not again, f"delivered again after its acknowledgement: {again}"
    send(second, topic, body)
    assert receive(second, topic, group, ARRIVES_WITHIN), "the second proxy delivers nothing"
    print("acknowledged through the second proxy, not delivered again")


main()
