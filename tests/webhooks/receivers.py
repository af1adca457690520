"""The receivers of sdk-examples verify what a gateway signs, also while secrets are rotated, and refuse what others sign.

receivers.py GATEWAY TOPIC PYTHON_PORT NODE_PORT NODE_PUBLIC_PORT: where the receivers listen, of which the last knows the public key of
PRIVATE and the others SECRET. Groups TOPIC-0 to TOPIC-2 are there.
"""

import base64
import sys

from gateway import ask, create, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
# The key of RFC 8032, section 7.1, test 1.
PRIVATE = "whsk_" + base64.b64encode(
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
).decode()


def show(gateway, topic, number, port, secret):
    webhook = {"topic": topic, "group": f"{topic}-{number}", "url": f"http://127.0.0.1:{port}/", "secrets": [secret]}
    path = f"/v1/webhooks/{create(gateway, webhook)['id']}"

    def test(secrets):
        status, shown = ask(gateway, "PATCH", path, {"secrets": secrets})
        assert status == 200, shown
        status, result = ask(gateway, "POST", f"{path}/test")
        assert status == 200, result
        return result["status"]

    wait_for("a test call is verified", lambda: test([secret]) == 204)
    assert test([OTHER, secret]) == 204, "both sign while they are rotated"
    assert test([OTHER]) == 401, "another secret"
    assert test([secret]) == 204

    # A new group may begin behind what was sent before it was known.
    def arrived():
        status, sent = ask(gateway, "POST", f"/v1/topics/{topic}/messages", {"messages": [{"body": "hello"}]})
        assert status == 201, sent
        calls = ask(gateway, "GET", f"{path}/deliveries")[1]["deliveries"]
        assert all(call["status"] == 204 for call in calls), calls
        return bool(calls)

    wait_for("a message is delivered", arrived)
    assert ask(gateway, "DELETE", path)[0] == 204


gateway, topic, python, node, node_public = sys.argv[1:]
show(gateway, topic, 0, python, SECRET)
show(gateway, topic, 1, node, SECRET)
show(gateway, topic, 2, node_public, PRIVATE)
print("passed")
