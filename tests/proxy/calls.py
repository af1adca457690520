"""Calls of the messaging service, one by one, with the SDK's own stubs: for what an SDK's client does not let one do."""

import queue
import uuid

from rocketmq.grpc_protocol import (AckMessageRequest, AddressScheme, ChangeInvisibleDurationRequest, ClientType,
                                    ReceiveMessageRequest, SendMessageRequest, TelemetryCommand)



def new_client():
    """The metadata of a client that is known by no other."""
    return (("x-mq-client-id", f"calls-{uuid.uuid4().hex}"), ("x-mq-language", "PYTHON"))


METADATA = new_client()


def subscribe(endpoint, stub, topic, group):
    """Metadata of a consumer whose settings the server knows, which Apache's proxy asks for; it forgets them when the stream ends."""
    client = new_client()
    command = TelemetryCommand()
    command.settings.client_type = ClientType.SIMPLE_CONSUMER
    host, port = endpoint.rsplit(":", 1)
    command.settings.access_point.scheme = AddressScheme.IPv4
    address = command.settings.access_point.addresses.add()
    address.host, address.port = host, int(port)
    command.settings.subscription.group.name = group
    subscribed = command.settings.subscription.subscriptions.add()
    subscribed.topic.name = topic
    subscribed.expression.expression = "*"
    commands = queue.SimpleQueue()
    commands.put(command)
    answers = stub.Telemetry(iter(commands.get, None), metadata=client)
    next(answers)
    return client


def send(stub, topic, body):
    """The answer's status."""
    return send_all(stub, topic, [body]).status


def send_all(stub, topic, bodies):
    """The answer to one send of all."""
    request = SendMessageRequest()
    for body in bodies:
        message = request.messages.add()
        message.topic.name = topic
        message.body = body
        message.system_properties.message_id = uuid.uuid4().hex
    return stub.SendMessage(request, timeout=10, metadata=METADATA)


def receive(stub, topic, group, *, most, invisible, wait, client=METADATA):
    """At most so many messages, leased for `invisible` seconds; waits so many seconds for the first."""
    request = ReceiveMessageRequest()
    request.group.name = group
    request.message_queue.topic.name = topic
    request.filter_expression.expression = "*"
    request.batch_size = most
    request.invisible_duration.seconds = invisible
    request.long_polling_timeout.seconds = wait
    frames = list(stub.ReceiveMessage(request, timeout=wait + 10, metadata=client))
    return [frame.message for frame in frames if frame.WhichOneof("content") == "message"]


def ack(stub, topic, group, message, client=METADATA):
    """The answer's status."""
    request = AckMessageRequest()
    request.topic.name = topic
    request.group.name = group
    entry = request.entries.add()
    entry.message_id = message.system_properties.message_id
    entry.receipt_handle = message.system_properties.receipt_handle
    return stub.AckMessage(request, timeout=10, metadata=client).status


def change_invisible(stub, topic, group, message, seconds, client=METADATA):
    """The answer's status."""
    request = ChangeInvisibleDurationRequest()
    request.topic.name = topic
    request.group.name = group
    request.message_id = message.system_properties.message_id
    request.receipt_handle = message.system_properties.receipt_handle
    request.invisible_duration.seconds = seconds
    return stub.ChangeInvisibleDuration(request, timeout=10, metadata=client).status
