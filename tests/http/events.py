"""CloudEvents that are sent in each mode come out of a webhook as they went in.

events.py HTTP: HOST:PORT of a server whose webhooks may call this machine. Exit code 0 if it held. Needs the standard library only.
"""

import base64
import http.server
import json
import queue
import sys
import threading
import time

from api import call, receive

# Longest wait for what was sent.
ARRIVES_WITHIN = 60
RUN = str(time.time_ns())
TOPIC, GROUP = f"events-{RUN}", f"events-group-{RUN}"
PATH = f"/topics/{TOPIC}/messages"


class Receiver(http.server.BaseHTTPRequestHandler):
    events = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.events.put((self.headers["Content-Type"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def event(number, **members):
    return {"specversion": "1.0", "id": f"e-{number}", "source": "/shop?a=b", "type": "org.example.paid", "time": "2026-11-25T08:00:00+01:00", **members}


def send(media_type, document):
    status, answer = call(ADDRESS, "POST", PATH, body=json.dumps(document).encode(), headers={"Content-Type": media_type})
    assert status == 201, (status, answer)


def send_binary(sent, media_type, body):
    # As the HTTP binding has it: what is not printable ASCII stands behind percent signs.
    def encoded(text):
        return "".join(chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'"%' else f"%{byte:02X}" for byte in text.encode())
    headers = {f"ce-{name}": encoded(value) for name, value in sent.items()}
    status, answer = call(ADDRESS, "POST", PATH, body=body, headers=headers | {"Content-Type": media_type})
    assert status == 201, (status, answer)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A group that is new begins at the end: it is there once it has asked.
    receive(ADDRESS, TOPIC, GROUP, wait="0")
    webhook = {"topic": TOPIC, "group": GROUP, "url": f"http://127.0.0.1:{server.server_port}/", "format": "cloudevents",
               "secrets": ["whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()]}
    status, made = call(ADDRESS, "POST", "/webhooks", webhook)
    assert status == 201, (status, made)

    plain = "text/plain; charset=utf-8"
    as_sent = [
        event(1, subject="Euro \u20ac \U0001f600", dataschema="https://example.org/schema", tag="paid", region="eu",
              datacontenttype="application/json", data={"order": 4711, "lines": [1, 2.5, None, "\u20ac"]}),
        event(2, datacontenttype=plain, data="not JSON: {"),
        event(3, datacontenttype="image/png", data_base64=base64.b64encode(bytes(range(256))).decode()),
        event(4, datacontenttype="application/vnd.shop+json", data="a text in JSON", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    # Only the type says what is JSON, however it is written and whatever parameters it has; numbers keep their digits.
    as_sent += [
        event(9, datacontenttype="TEXT/JSON", data={}),
        event(10, datacontenttype="application/x-ndjson", data="1"),
        event(11, datacontenttype="text/plain; x=json", data="{"),
        event(12, datacontenttype="application/json", data={"n": 12345678901234567890123}),
    ]
    expected = list(as_sent)
    for sent in as_sent[:2]:
        send("application/cloudevents+json; charset=UTF-8", sent)
    send("application/cloudevents-batch+json", as_sent[2:])
    # Without a type data is JSON, and it is said then; numbers and truth come back as their text.
    send("application/cloudevents+json", event(5, count=5, first=True, gone=None, data=[1]))
    expected.append(event(5, count="5", first="true", datacontenttype="application/json", data=[1]))
    send_binary(event(6, subject="50% \u20ac"), "application/json", b'{"a": 1}')
    expected.append(event(6, subject="50% \u20ac", datacontenttype="application/json", data={"a": 1}))
    send_binary(event(7, region="eu"), plain, "\u20ac".encode())
    expected.append(event(7, region="eu", datacontenttype=plain, data="\u20ac"))
    send_binary(event(8), "application/octet-stream", b"\xff\x00")
    expected.append(event(8, datacontenttype="application/octet-stream", data_base64="/wA="))

    found = {}
    deadline = time.monotonic() + ARRIVES_WITHIN
    while len(found) < len(expected):
        media_type, received = Receiver.events.get(timeout=max(deadline - time.monotonic(), 0.01))
        assert media_type == "application/cloudevents+json", media_type
        found[received["id"]] = received
    for sent in expected:
        assert found[sent["id"]] == sent, f"sent {sent}\nreceived {found[sent['id']]}"
    status, _ = call(ADDRESS, "DELETE", f"/webhooks/{made['id']}")
    assert status == 204, status
    print(f"{len(expected)} events came out as they went in")


ADDRESS = sys.argv[1]
main()
