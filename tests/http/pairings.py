"""Messages sent and received by gRPC and by HTTP in all four pairings, and received over a WebSocket: a consumer sees the same, whichever it uses
and whichever sent.

pairings.py GRPC HTTP: a server's two HOST:PORT. Prints a line a scenario and pairing; exit code 0 if all held.
Runs with the Python example's environment (sdk-examples/python/.venv): the official client on one side, the standard library on the other.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

from websocket import Closed, WebSocket

from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

POLL = 5
INVISIBLE = 10
ARRIVES_WITHIN = 30
RUN = uuid.uuid4().hex[:8]


class Grpc:
    name = "grpc"

    def __init__(self, endpoint, http_endpoint, topic):
        self.configuration = ClientConfiguration(endpoint, Credentials())
        self.topic = topic
        self.producer = None
        self.consumer = None

    def send(self, message):
        if self.producer is None:
            self.producer = Producer(self.configuration, (self.topic,))
            self.producer.startup()
        sent = Message()
        sent.topic, sent.body = self.topic, message["body"]
        if "tag" in message:
            sent.tag = message["tag"]
        for key in message.get("keys", ()):
            sent.keys = key  # the SDK's setter adds
        if "group" in message:
            sent.message_group = message["group"]
        if "due" in message:
            sent.delivery_timestamp = message["due"]
        for name, value in message.get("properties", {}).items():
            sent.add_property(name, value)
        return self.producer.send(sent).message_id

    def receive(self, group):
        if self.consumer is None:
            subscription = {self.topic: FilterExpression()}
            self.consumer = SimpleConsumer(self.configuration, group, subscription, POLL)
            self.consumer.startup()
        return self.consumer.receive(16, INVISIBLE)

    @staticmethod
    def seen(message):
        return {
            "id": message.message_id, "body": message.body, "tag": message.tag, "keys": sorted(message.keys or ()),
            "group": message.message_group, "properties": dict(message.properties), "attempt": message.delivery_attempt,
        }

    def ack(self, group, message):
        self.consumer.ack(message)

    def nack(self, group, message):
        self.consumer.change_invisible_duration(message, 1)

    def close(self):
        for client in (self.producer, self.consumer):
            if client is not None:
                client.shutdown()


class Http:
    name = "http"

    def __init__(self, endpoint, http_endpoint, topic):
        self.api = f"http://{http_endpoint}/v1"
        self.topic = topic

    def call(self, path, document):
        request = urllib.request.Request(self.api + path, json.dumps(document).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read()
            return json.loads(text) if text else None

    def send(self, message):
        sent = {"bodyBase64": base64.b64encode(message["body"]).decode()}
        names = {"tag": "tag", "keys": "keys", "group": "messageGroup", "properties": "properties"}
        sent.update({names[name]: value for name, value in message.items() if name in names})
        if "due" in message:
            sent["deliverAt"] = str(message["due"] * 1000)
        [result] = self.call(f"/topics/{self.topic}/messages", {"messages": [sent]})["results"]
        assert result["status"] == 201, result
        return result["messageId"]

    def receive(self, group):
        asked = {"topic": self.topic, "max": 16, "wait": f"{POLL}s", "invisible": f"{INVISIBLE}s"}
        answer = self.call(f"/groups/{group}/receive", asked)
        return answer["messages"] if answer else []

    @staticmethod
    def seen(message):
        body = message["body"].encode() if "body" in message else base64.b64decode(message["bodyBase64"])
        return {
            "id": message["messageId"], "body": body, "tag": message.get("tag"), "keys": sorted(message.get("keys", ())),
            "group": message.get("messageGroup"), "properties": message.get("properties", {}), "attempt": message["attempt"],
        }

    def ack(self, group, message):
        self.call(f"/groups/{group}/ack", {"topic": self.topic, "handles": [message["handle"]]})

    def nack(self, group, message):
        self.call(f"/groups/{group}/nack", {"topic": self.topic, "handles": [message["handle"]], "delay": "1s"})

    def close(self):
        pass


class Socket(Http):
    """Receives, acknowledges and gives back over a WebSocket."""

    name = "socket"

    def __init__(self, endpoint, http_endpoint, topic):
        super().__init__(endpoint, http_endpoint, topic)
        self.address = http_endpoint
        self.socket = None
        self.credits = 0

    def receive(self, group):
        if self.socket is None:
            self.socket = WebSocket(self.address, f"/v1/groups/{group}/stream?topic={self.topic}&invisible={INVISIBLE}s")
        if self.credits == 0:
            self.credits = self.ask(type="credit", credits=1)["credits"]
        frame = self.socket.hear()
        assert frame["type"] == "message", frame
        self.credits = frame["credits"]
        return [frame["message"]]

    def ask(self, **frame):
        self.socket.say(**frame)
        answer = self.socket.hear()
        assert answer["type"] == "answer" and answer["status"] == 200, answer
        return answer

    def ack(self, group, message):
        self.ask(type="ack", handles=[message["handle"]])

    def nack(self, group, message):
        self.ask(type="nack", handles=[message["handle"]], delay="1s")

    def close(self):
        if self.socket is not None:
            self.socket.close()


def received(receiver, group, count):
    """Messages as they come, at most `count`."""
    deadline = time.monotonic() + ARRIVES_WITHIN
    while count and time.monotonic() < deadline:
        for message in receiver.receive(group):
            yield message
            count -= 1


def equal(what, seen, expected):
    assert seen == expected, f"{what}: {seen}, expected {expected}"


def everything(sender, receiver, group):
    """All that can be said of a message arrives, and a binary body."""
    sent = {"body": bytes(range(256)), "tag": "t", "keys": ["k1", "k2"], "properties": {"Colour": "röd", "n": "1"}}
    message_id = sender.send(sent)
    [message] = received(receiver, group, 1)
    receiver.ack(group, message)
    equal("message", receiver.seen(message), {
        "id": message_id, "body": sent["body"], "tag": "t", "keys": ["k1", "k2"], "group": None,
        "properties": sent["properties"], "attempt": 1,
    })


def attempts(sender, receiver, group):
    """A message that is given back comes again, as the next attempt and under its id."""
    message_id = sender.send({"body": b"again"})
    for attempt in (1, 2, 3):
        [message] = received(receiver, group, 1)
        seen = receiver.seen(message)
        equal("id and attempt", (seen["id"], seen["attempt"]), (message_id, attempt))
        (receiver.nack if attempt < 3 else receiver.ack)(group, message)


def order(sender, receiver, group):
    """Messages of a group come in order, and one is not handed out before its forerunner is acknowledged."""
    for number in range(4):
        for name in ("red", "green"):
            sender.send({"body": str(number).encode(), "group": name})
    came = {"red": [], "green": []}
    for message in received(receiver, group, 8):
        seen = receiver.seen(message)
        came[seen["group"]].append(int(seen["body"]))
        receiver.ack(group, message)
    equal("order", came, {"red": [0, 1, 2, 3], "green": [0, 1, 2, 3]})


def delay(sender, receiver, group):
    """A delayed message comes, not before its time."""
    due = int(time.time()) + 3
    message_id = sender.send({"body": b"later", "due": due})
    [message] = received(receiver, group, 1)
    early = due - time.time()
    receiver.ack(group, message)
    equal("id", receiver.seen(message)["id"], message_id)
    assert early < 0.1, f"{early:.3f} s early"


def main():
    grpc_endpoint, http_endpoint = sys.argv[1:]
    has_failed = False
    for scenario in (everything, attempts, order, delay):
        for sending in (Grpc, Http):
            for receiving in (Grpc, Http, Socket):
                topic = f"pairing-{scenario.__name__}-{sending.name}-{receiving.name}-{RUN}"
                sender, receiver = (side(grpc_endpoint, http_endpoint, topic) for side in (sending, receiving))
                try:
                    scenario(sender, receiver, f"{topic}-group")
                    verdict = "holds"
                except (AssertionError, ValueError, urllib.error.URLError, Closed) as error:
                    verdict, has_failed = f"FAILED {type(error).__name__}: {error}", True
                print(f"{scenario.__name__:<10} {sending.name} -> {receiving.name}: {verdict}", flush=True)
                for side in (sender, receiver):
                    side.close()
    return 1 if has_failed else 0


if __name__ == "__main__":
    sys.exit(main())
