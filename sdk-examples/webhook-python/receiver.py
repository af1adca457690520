"""Receives webhooks and verifies them with the public package `standardwebhooks`.

receiver.py PORT SECRET: the secret (whsec_...) is the one that the webhook was made with. Answers 204, or 401 to what is not signed; at /checks, where
it is asked about transactions, with an outcome.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

# A webhook delivers a message again until it is answered 2xx, under the same id: remember the last ones and do their work once.
# In production this is a table in the database in which the work is done too.
seen = set()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            webhook.verify(body, dict(self.headers), json_parse=False)
        except WebhookVerificationError as error:
            print(f"refused: {error}", flush=True)
            return self.answer(401)
        if self.path == "/checks":
            # In production: commit if the database says that its work is done, rollback if it cannot be any more, else unknown.
            return self.answer(200, json.dumps({"outcome": "commit"}).encode())
        message = self.headers["webhook-id"]
        if message not in seen:
            seen.add(message)
            print(f"{message}: {body.decode()}", flush=True)
        self.answer(204)

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


port, secret = sys.argv[1:]
webhook = Webhook(secret)
ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver).serve_forever()
