"""An endpoint that fails one call in ten and hangs in one of a hundred gets every message, though the gateways are killed in turn: those of a
message group in their order, and none again after it was answered 2xx but for a kill.

storm.py FIRST SECOND TOPIC GROUP COUNT KILLS: two gateways' HOST:PORT, and the file to which the time of every kill is written before and
after it, in milliseconds. Prints "sent" when all messages are stored and "delivered N" as it goes on; exit code 0 if it held.
Runs with the environment of sdk-examples/webhook-python.
"""

import hashlib
import json
import sys
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

from gateway import ask, create

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
GROUPS = 50
SEND_AT_ONCE = 50
TIMEOUT = 3
HANG = TIMEOUT + 2
# Longest time without a new message before those that are missing count as lost.
ARRIVES_WITHIN = 60
# An answer that a gateway had this long before its death may not have been told the broker.
TOLD_WITHIN_MS = 2000
PRINT_EVERY = 100


class Calls:
    """What has come, under one lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.of_message = Counter()
        # When each message was answered 2xx first, in milliseconds.
        self.delivered = {}
        # (message, when it came again though it was delivered)
        self.again = []
        self.next_in_group = defaultdict(int)
        self.out_of_order = []
        self.verdicts = Counter()
        self.bad_signatures = 0
        self.newest = time.monotonic()

    def judge(self, message, group, n):
        """What a call is answered."""
        now = time.time() * 1000
        with self.lock:
            call = self.of_message[message]
            self.of_message[message] += 1
            if message in self.delivered:
                self.again.append((message, now))
            elif n != self.next_in_group[group]:
                self.out_of_order.append((group, n, self.next_in_group[group]))
            chance = int.from_bytes(hashlib.sha256(f"{message} {call}".encode()).digest()[:4], "big") % 100
            verdict = "failed" if chance < 10 else "hung" if chance == 10 else "delivered"
            self.verdicts[verdict] += 1
            if verdict == "delivered" and message not in self.delivered:
                self.delivered[message] = now
                self.next_in_group[group] = n + 1
                self.newest = time.monotonic()
                if len(self.delivered) % PRINT_EVERY == 0:
                    print(f"delivered {len(self.delivered)}", flush=True)
            return verdict


calls = Calls()
webhook = Webhook(SECRET)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            webhook.verify(body, dict(self.headers), json_parse=False)
        except Exception:
            calls.bad_signatures += 1
            raise
        content = json.loads(body)
        verdict = calls.judge(self.headers["webhook-id"], content["group"], content["n"])
        if verdict == "hung":
            time.sleep(HANG)
            self.close_connection = True
            return
        self.send_response(204 if verdict == "delivered" else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        """Gateways are killed in the middle of calls."""


def send(gateway, topic, count):
    for first in range(0, count, SEND_AT_ONCE):
        messages = [
            {"body": json.dumps({"group": f"g{n % GROUPS}", "n": n // GROUPS}), "messageGroup": f"g{n % GROUPS}"}
            for n in range(first, min(first + SEND_AT_ONCE, count))
        ]
        status, results = ask(gateway, "POST", f"/v1/topics/{topic}/messages", {"messages": messages})
        assert status == 201, results
    print("sent", flush=True)


def explained(kills, delivered_at, again_at):
    """Whether a gateway died after the message was delivered and before the broker could know."""
    return any(delivered_at < end and begin - delivered_at < TOLD_WITHIN_MS and begin < again_at for begin, end in kills)


def main():
    first, second, topic, group, count, kills = sys.argv[1:]
    count = int(count)
    server = Server(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    create(first, {
        "topic": topic, "group": group, "url": f"http://127.0.0.1:{server.server_port}/", "secrets": [SECRET],
        "concurrency": 32, "timeout": f"{TIMEOUT}s", "retry": ["50ms", "100ms", "200ms", "500ms"] + ["1s"] * 12,
    })
    send(second, topic, count)
    while len(calls.delivered) < count:
        quiet = time.monotonic() - calls.newest
        assert quiet < ARRIVES_WITHIN, f"{count - len(calls.delivered)} of {count} messages are missing"
        time.sleep(0.1)
    # What comes again would come by the end of the leases.
    time.sleep(1)
    times = [int(line) for line in open(kills).read().split()]
    kills = list(zip(times[::2], times[1::2]))
    odd = [(m, calls.delivered[m], at) for m, at in calls.again if not explained(kills, calls.delivered[m], at)]
    print(
        f"{count} messages in {GROUPS} groups, {sum(calls.verdicts.values())} calls: {dict(calls.verdicts)}; "
        f"{len(kills)} kills, {len(calls.again)} calls again after 2xx",
        flush=True,
    )
    assert not calls.bad_signatures, f"{calls.bad_signatures} calls were not signed as they should"
    assert not calls.out_of_order, f"out of order: {calls.out_of_order[:5]}"
    assert not odd, f"again without a reason: {odd[:5]}, kills: {kills}"
    print("passed", flush=True)


main()
