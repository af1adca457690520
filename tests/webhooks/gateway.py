"""Calls of a gateway's HTTP API that the programs beside this one make."""

import json
import time
import urllib.error
import urllib.request

WITHIN = 30


def ask(gateway, method, path, document=None):
    """Status and document of an answer; (0, None) when there is none."""
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"http://{gateway}{path}", body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, None


def create(gateway, webhook):
    """The webhook that was made, once the gateway can make it."""
    until = time.monotonic() + WITHIN
    while True:
        status, shown = ask(gateway, "POST", "/v1/webhooks", webhook)
        if status == 201:
            return shown
        assert time.monotonic() < until and status in (0, 503), f"{status}: {shown}"
        time.sleep(0.2)


def wait_for(what, is_so):
    until = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < until, f"in vain: {what}"
        time.sleep(0.1)
