"""One call of the HTTP API, with the standard library. A connection each, so a balancer sends each call to another gateway."""

import http.client
import json


class Lost(Exception):
    """There is no answer: what was asked for may have been done."""


def call(address, method, path, document=None, body=None, headers=None, timeout=30):
    """Status and document of the answer; raises Lost when there is none."""
    headers = dict(headers or {})
    if document is not None:
        body, headers["Content-Type"] = json.dumps(document).encode(), "application/json"
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request(method, "/v1" + path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Lost(repr(error)) from error
    finally:
        connection.close()


def send_unheard(address, path, body, headers):
    """Sends a request and goes away without its answer."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", "/v1" + path, body, headers)
    except OSError:
        pass
    finally:
        connection.close()


def receive(address, topic, group, most=16, wait="2s", invisible="30s"):
    """Messages that are leased now."""
    asked = {"topic": topic, "max": most, "wait": wait, "invisible": invisible}
    status, answer = call(address, "POST", f"/groups/{group}/receive", asked)
    return answer["messages"] if status == 200 else []


def ack(address, topic, group, handle):
    """The status of an acknowledgement."""
    status, _ = call(address, "POST", f"/groups/{group}/ack", {"topic": topic, "handles": [handle]})
    return status
