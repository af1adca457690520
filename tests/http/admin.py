"""`/v1/admin` before `gantry local`, or before `gantry proxy` with two brokers (second argument `proxy`): topics and groups, progress, looking at
messages, offsets and dead letters are the same; what no command of brokers does is answered 501 by the proxy."""

import sys
import time
import urllib.parse

from api import ack, call, receive

ADDRESS, IS_PROXY = sys.argv[1], sys.argv[2:] == ["proxy"]
BROKERS = 2 if IS_PROXY else 1
TOPIC, GROUP = "admin-topic", "admin-group"
# What brokers tell name servers, and those gateways, takes a moment; longest wait for it in seconds.
WITHIN = 40


def admin(method, path, document=None):
    """Status and document of an answer."""
    return call(ADDRESS, method, "/admin" + path, document)


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what} is {found!r}, expected {expected!r}")


def until(what, look, wanted):
    """Waits until a look sees what is wanted."""
    end = time.monotonic() + WITHIN
    while True:
        found = look()
        if wanted(found):
            return found
        if time.monotonic() > end:
            sys.exit(f"{what} is still {found!r}")
        time.sleep(0.2)


def topics():
    status, made = admin("POST", f"/topics/{TOPIC}", {"readQueues": 4, "writeQueues": 4})
    expect("a topic is made", (status, made["readQueues"]), (201, 4))
    expect("again", admin("POST", f"/topics/{TOPIC}", {})[0], 409)
    until("a new topic", lambda: admin("GET", f"/topics/{TOPIC}"), lambda found: found[0] == 200 and len(found[1]["queues"]) == 4)
    names = [topic["name"] for topic in admin("GET", "/topics")[1]["topics"]]
    expect("the topic is listed", TOPIC in names, True)
    expect("the system's are not", [name for name in names if name.startswith(("rmq_sys", "RMQ_SYS", "TBW102", "broker-"))], [])
    status, changed = admin("PATCH", f"/topics/{TOPIC}", {"readQueues": 8, "writeQueues": 8})
    expect("queues grow", (status, changed["writeQueues"]), (200, 8))
    until("a grown topic", lambda: len(admin("GET", f"/topics/{TOPIC}")[1]["queues"]), lambda found: found == 8)
    expect("queues do not shrink", admin("PATCH", f"/topics/{TOPIC}", {"readQueues": 2})[0], 409)
    expect("a queue that is not there", admin("GET", f"/topics/{TOPIC}/messages?queue={2**32 - 1}")[0], 404)
    closed = "/topics/admin-closed"
    expect("another is made", admin("POST", closed, {"readQueues": 4, "writeQueues": 4})[0], 201)
    expect("it is closed", admin("PATCH", closed, {"readable": False, "writable": False})[0], 200)
    status, opened = admin("PATCH", closed, {"readable": True, "writable": True})
    expect("it is opened", (status, opened.get("readQueues"), opened.get("writeQueues")), (200, 4, 4))
    expect("it is deleted", admin("DELETE", closed)[0], 204)
    if IS_PROXY:
        expect("queues that cannot be split", admin("POST", "/topics/admin-uneven", {"readQueues": 3})[0], 400)
    expect("a topic that is not there", admin("PATCH", "/topics/admin-none", {"readQueues": 2})[0], 404)


def groups():
    expect("a group is made", admin("POST", f"/groups/{GROUP}", {"maxAttempts": 3})[0], 201)
    expect("again", admin("POST", f"/groups/{GROUP}", {})[0], 409)
    status, changed = admin("PATCH", f"/groups/{GROUP}", {"maxAttempts": 5})
    expect("a group is changed", (status, changed["maxAttempts"]), (200, 5))
    expect("it is listed", GROUP in [group["name"] for group in admin("GET", "/groups")[1]["groups"]], True)
    expect("a group that is not there", admin("GET", "/groups/admin-none")[0], 404)


def messages():
    for number in range(8):
        status, _ = call(ADDRESS, "POST", f"/topics/{TOPIC}/messages", body=str(number).encode(), headers={"Key": f"key-{number}"})
        expect("a message is sent", status, 201)
    found = until("a message by its key", lambda: admin("GET", f"/topics/{TOPIC}/messages?key=key-3")[1]["messages"], len)
    expect("its body", [message["body"] for message in found], ["3"])
    status, found = admin("GET", f"/topics/{TOPIC}/messages?max=256")
    expect("messages by time", sorted(message["body"] for message in found["messages"]), [str(n) for n in range(8)])
    expect("all", (status, found["complete"]), (200, True))
    expect("not all", admin("GET", f"/topics/{TOPIC}/messages?max=2")[1]["complete"], False)


def progress():
    """What the group has leased, and what it has behind it."""
    leased = []
    end = time.monotonic() + WITHIN
    while len(leased) < 8 and time.monotonic() < end:
        leased += receive(ADDRESS, TOPIC, GROUP)
    expect("messages are received", len(leased), 8)
    given_up = leased.pop()
    for message in leased:
        expect("an acknowledgement", ack(ADDRESS, TOPIC, GROUP, message["handle"]), 200)
    dead = {"topic": TOPIC, "handles": [given_up["handle"]]}
    expect("one is given up", call(ADDRESS, "POST", f"/groups/{GROUP}/dead-letter", dead)[0], 200)
    look = lambda: [at for at in admin("GET", f"/groups/{GROUP}")[1]["progress"] if at["topic"] == TOPIC and not at["retry"]]
    done = lambda found: len(found) == 8 and sum(at["endOffset"] - at["committedOffset"] for at in found) == 0
    until("progress", look, done)
    return given_up


def dead_letters(given_up):
    queues = range(BROKERS)
    look = lambda: [
        letter
        for queue in queues
        for letter in (admin("GET", f"/groups/{GROUP}/dead-letters?queue={queue}")[1] or {}).get("deadLetters", [])
    ]
    found = until("a dead letter", look, len)
    expect("its origin", [(letter["originTopic"], letter["body"]) for letter in found], [(TOPIC, given_up["body"])])


def offsets():
    status, answer = admin("POST", f"/groups/{GROUP}/offsets", {"topic": TOPIC, "to": "first"})
    expect("a reset", (status, [at["offset"] for at in answer["queues"]]), (200, [0] * 8))
    again = until("messages from the first on", lambda: receive(ADDRESS, TOPIC, GROUP, wait="1s"), len)
    expect("one of the first", again[0]["attempt"], 1)
    outside = admin("POST", f"/groups/{GROUP}/offsets", {"topic": TOPIC, "offset": 10**6, "queue": 0})
    expect("an offset outside", outside[0], 400)


def not_here():
    for method, path, document in [
        ("GET", f"/groups/{GROUP}/blocked", None),
        ("GET", "/transactions/parked", None),
        ("GET", "/messages/" + "0" * 32, None),
    ]:
        expect(f"{method} {path}", admin(method, path, document)[0] == 501, IS_PROXY)
    if IS_PROXY:
        status, lines = call(ADDRESS, "POST", f"/admin/groups/{GROUP}/dead-letters/redrive", {"offsets": [0]})
        expect("a redrive", (status, lines["type"]), (501, "urn:gantry:problem:unsupported"))


def deletions():
    expect("a topic is deleted", admin("DELETE", f"/topics/{TOPIC}")[0], 204)
    until("a deleted topic", lambda: admin("GET", f"/topics/{TOPIC}")[0], lambda status: status == 404)
    expect("a group is deleted", admin("DELETE", f"/groups/{GROUP}")[0], 204)
    expect("a deleted group", admin("GET", f"/groups/{GROUP}")[0], 404)
    expect("again", admin("DELETE", f"/topics/{TOPIC}")[0], 404)


topics()
groups()
messages()
dead_letters(progress())
offsets()
not_here()
deletions()
print("passed")
