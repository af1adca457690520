"""Calls of the messaging service, one by one, with the SDK's own stubs: for what an SDK's client does not let one do."""

import uuid

from rocketmq.grpc_protocol import AckMessageRequest, ReceiveMessageRequest, SendMessageRequest

METADATA = (("x-mq-client-id", f"calls-{uuid.uuid4().hex}"), ("x-mq-language", "PYTHON"))


def send(stub, topic, body):
    """The answer's status."""
    request = SendMessageRequest()
    message = request.messages.add()
    message.topic.name = topic
    message.body = body
    message.system_properties.message_id = uuid.uuid4().hex
    return stub.SendMessage(request, timeout=10, metadata=METADATA).status


def receive(stub, topic, group, *, most, invisible, wait):
    """At most so many messages, leased for `invisible` seconds; waits so many seconds for the first."""
    request = ReceiveMessageRequest()
    request.group.name = group
    request.message_queue.topic.name = topic
    request.filter_expression.expression = "*"
    request.batch_size = most
    request.invisible_duration.seconds = invisible
    request.long_polling_timeout.seconds = wait
    frames = list(stub.ReceiveMessage(request, timeout=wait + 10, metadata=METADATA))
    return [frame.message for frame in frames if frame.WhichOneof("content") == "message"]


def ack(stub, topic, group, message):
    """The answer's status."""
    request = AckMessageRequest()
    request.topic.name = topic
    request.group.name = group
    entry = request.entries.add()
    entry.message_id = message.system_properties.message_id
    entry.receipt_handle = message.system_properties.receipt_handle
    return stub.AckMessage(request, timeout=10, metadata=METADATA).status
