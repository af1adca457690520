"""A gateway knows how many webhooks there are, or that it cannot know it.

known.py GATEWAY COUNT|unknown: "unknown" while the broker that keeps them is away.
"""

import sys

from gateway import ask, wait_for

gateway, expected = sys.argv[1:]
last = None


def answers():
    global last
    status, last = ask(gateway, "GET", "/v1/webhooks")
    if expected != "unknown":
        return status == 200 and len(last["webhooks"]) == int(expected)
    # Before it has asked for the first time it says that it asks.
    has_asked = status == 503 and not last["detail"].endswith("the brokers are being asked")
    return status == 200 or has_asked


wait_for(f"{expected} webhooks", answers)
assert expected != "unknown" or last.get("type") == "urn:gantry:problem:webhooks-unknown", last
print("passed")
