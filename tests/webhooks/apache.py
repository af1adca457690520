"""Webhooks and a check URL before a broker of Apache's.

apache.py GATEWAY PREFIX: HOST:PORT of a gateway; there are topics PREFIX (NORMAL), PREFIX-fifo (FIFO, with the orderly group PREFIX-fifo-group), and
PREFIX-deals (TRANSACTION), the group PREFIX-group with 3 deliveries a message and PREFIX-plain, which is not orderly. Leaves two webhooks behind.
Runs with the environment of sdk-examples/webhook-python.
"""

import json
import sys
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

from gateway import ask, create, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GROUPS = 5
MESSAGES_A_GROUP = 6
RETRY_AFTER = 2

lock = threading.Lock()
# (attempt, answer) of the calls of each body, in their order.
calls = defaultdict(list)
# Bodies of each path that were answered 2xx, in their order.
delivered = defaultdict(list)
checks = []
webhook = Webhook(SECRET)


def judge(path, body, headers):
    """Status and headers of the answer to a message."""
    with lock:
        earlier = len(calls[body])
        status, more = 204, {}
        if body == "poison" or (body.startswith("failing") and earlier == 0):
            status = 500
        elif body == "throttled" and earlier == 0:
            status, more = 429, {"Retry-After": str(RETRY_AFTER)}
        # Every fourth message of a group fails once.
        elif path == "/fifo" and body.split()[1] == "3" and earlier == 0:
            status = 500
        calls[body].append((int(headers["Attempt"]), status))
        if status == 204:
            delivered[path].append(body)
        return status, more


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        webhook.verify(body, dict(self.headers), json_parse=False)
        status, more, answer = 200, {}, b""
        if self.path == "/checks":
            checks.append(json.loads(body))
            # The first time it does not know.
            answer = json.dumps({"outcome": "unknown" if len(checks) == 1 else "commit"}).encode()
        else:
            status, more = judge(self.path, body.decode(), self.headers)
        self.send_response(status)
        for name, value in (more | {"Content-Length": str(len(answer))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def begin(gateway, topic, group):
    """A group that is new begins at the end: it is there once it has asked."""
    status, answer = ask(gateway, "POST", f"/v1/groups/{group}/receive", {"topic": topic, "wait": "0"})
    assert status == 204, answer


def send(gateway, topic, messages):
    status, answer = ask(gateway, "POST", f"/v1/topics/{topic}/messages", {"messages": messages})
    assert status == 201, answer


def retries(gateway, topic, group, reader, url):
    """What fails comes again, counted, and becomes a dead letter; what is throttled costs no attempt."""
    begin(gateway, topic, group)
    create(gateway, {
        "topic": topic, "group": group, "url": f"{url}/plain", "secrets": [SECRET], "order": "none", "retry": ["0", "0"],
    })
    send(gateway, topic, [{"body": body} for body in ("fine", "failing 1", "failing 2", "poison")])
    wait_for("delivered", lambda: {"fine", "failing 1", "failing 2"} <= set(delivered["/plain"]))
    wait_for("three attempts", lambda: len(calls["poison"]) == 3)
    assert [attempt for attempt, _ in calls["poison"]] == [1, 2, 3], calls["poison"]
    assert [attempt for attempt, _ in calls["failing 1"]] == [1, 2], calls["failing 1"]
    dead = []

    def is_dead():
        # Not by its own group: its attempts are used up for that.
        status, answer = ask(gateway, "POST", f"/v1/groups/{reader}/receive", {"topic": f"%DLQ%{group}", "wait": "5s"})
        dead.extend(answer["messages"] if status == 200 else ())
        return bool(dead)

    wait_for("a dead letter", is_dead)
    assert [message["body"] for message in dead] == ["poison"], dead
    send(gateway, topic, [{"body": "throttled"}])
    wait_for("it comes again", lambda: "throttled" in delivered["/plain"])
    assert [attempt for attempt, _ in calls["throttled"]] == [1, 1], calls["throttled"]


def order(gateway, topic, group, plain, url):
    """Message groups keep their order, for a group that consumes in order; for another they are refused."""
    wanted = {"topic": topic, "group": plain, "url": f"{url}/fifo", "secrets": [SECRET], "retry": ["0"]}
    status, problem = ask(gateway, "POST", "/v1/webhooks", wanted)
    assert (status, problem["type"]) == (409, "urn:gantry:problem:group-not-ordered"), (status, problem)
    status, idle = ask(gateway, "POST", "/v1/webhooks", wanted | {"enabled": False})
    assert status == 201, idle
    status, problem = ask(gateway, "PATCH", f"/v1/webhooks/{idle['id']}", {"enabled": True})
    assert (status, problem["type"]) == (409, "urn:gantry:problem:group-not-ordered"), (status, problem)
    assert ask(gateway, "DELETE", f"/v1/webhooks/{idle['id']}")[0] == 204
    begin(gateway, topic, group)
    create(gateway, wanted | {"group": group})
    messages = [(f"g{group} {n}", f"g{group}") for n in range(MESSAGES_A_GROUP) for group in range(GROUPS)]
    send(gateway, topic, [{"body": body, "messageGroup": group} for body, group in messages])
    wait_for("all of them", lambda: len(delivered["/fifo"]) >= len(messages))
    for group in range(GROUPS):
        came = [body for body in delivered["/fifo"] if body.startswith(f"g{group} ")]
        assert came == [f"g{group} {n}" for n in range(MESSAGES_A_GROUP)], came
        assert [attempt for attempt, _ in calls[f"g{group} 3"]] == [1, 2], calls[f"g{group} 3"]


def orphan(gateway, topic, group, url):
    """A half message is asked about at a URL until there is an outcome."""
    begin(gateway, topic, group)
    wanted = {"topic": topic, "url": f"{url}/checks", "secrets": [SECRET]}
    status, made = ask(gateway, "POST", "/v1/check-urls", wanted)
    assert status == 201, made
    status, sent = ask(gateway, "POST", f"/v1/topics/{topic}/transactions", {"amount": 10})
    assert status == 201, sent
    came = []

    def is_committed():
        status, answer = ask(gateway, "POST", f"/v1/groups/{group}/receive", {"topic": topic, "wait": "5s"})
        came.extend(answer["messages"] if status == 200 else ())
        return bool(came)

    wait_for("it is committed", is_committed)
    assert came[0]["messageId"] == sent["messageId"] == checks[0]["message"]["messageId"], (came, checks)
    assert len(checks) >= 2, checks
    status, log = ask(gateway, "GET", f"/v1/check-urls/{made['id']}/deliveries")
    assert status == 200 and all(call["outcome"] == "delivered" for call in log["deliveries"]), log


def main():
    gateway, prefix = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    began = time.monotonic()
    retries(gateway, prefix, f"{prefix}-group", f"{prefix}-plain", url)
    order(gateway, f"{prefix}-fifo", f"{prefix}-fifo-group", f"{prefix}-plain", url)
    orphan(gateway, f"{prefix}-deals", f"{prefix}-deals-group", url)
    print(f"passed: {sum(map(len, calls.values()))} calls, {len(checks)} checks in {time.monotonic() - began:.0f} s", flush=True)


main()
