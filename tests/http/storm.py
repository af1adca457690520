"""A storm of retries: each of the keys is sent ten times through any of the gateways, half of the answers are lost, and each is stored once.

storm.py BALANCER TOPIC GROUP KEYS: HOST:PORT of a balancer before the gateways. Prints "sent N" as it goes on, "passed" at the end; exit code 0
if it held. Needs the standard library only.
"""

import itertools
import random
import sys
import threading
import time
from collections import Counter

from api import Lost, ack, call, receive, send_unheard

SENDERS = 16
TIMES = 10
# Longest time without a message before all count as received: longer than one that a killed gateway had leased stays away.
SILENCE = 15
INVISIBLE = "10s"


class Storm:
    def __init__(self, balancer, topic, keys):
        self.balancer, self.path, self.keys = balancer, f"/topics/{topic}/messages", keys
        sends = [key for key in range(keys) for _ in range(TIMES)]
        random.Random(1).shuffle(sends)
        self.sends = iter(enumerate(sends))
        self.lock = threading.Lock()
        self.ids, self.firsts, self.wrong = {}, Counter(), []

    def next(self):
        with self.lock:
            number, key = next(self.sends, (None, None))
        if number is not None and number % 100 == 0:
            print(f"sent {number}", flush=True)
        return number, key

    def work(self):
        for number, key in iter(self.next, (None, None)):
            if number % 2:
                send_unheard(self.balancer, self.path, f"message {key}".encode(), {"Idempotency-Key": f"key-{key}"})
            else:
                self.send(key)

    def send(self, key):
        """Until it is answered that the message is stored."""
        while True:
            try:
                headers = {"Idempotency-Key": f"key-{key}"}
                status, answer = call(self.balancer, "POST", self.path, body=f"message {key}".encode(), headers=headers)
            except Lost:
                continue
            if status == 201:
                break
            # 429: come again, as 5xx.
            if status < 500 and status != 429:
                with self.lock:
                    self.wrong.append(f"key {key}: {status} {answer}")
                return
            time.sleep(0.1)
        with self.lock:
            self.firsts[key] += not answer.get("repeated", False)
            if self.ids.setdefault(key, answer["messageId"]) != answer["messageId"]:
                self.wrong.append(f"key {key} has the ids {self.ids[key]} and {answer['messageId']}")


def stored(balancer, topic, group, keys):
    """How often each body is stored, by the ids of its messages."""
    found = {}
    silent_since = None
    while silent_since is None or time.monotonic() < silent_since + (SILENCE if len(found) < keys else 3):
        try:
            messages = receive(balancer, topic, group, most=32, wait="1s", invisible=INVISIBLE)
        except Lost:
            continue
        if messages:
            silent_since = None
        elif silent_since is None:
            silent_since = time.monotonic()
        for message in messages:
            found.setdefault(message["body"], set()).add((message["messageId"], message["queue"], message["offset"]))
            try:
                ack(balancer, topic, group, message["handle"])
            except Lost:
                pass
    return found


def main():
    balancer, topic, group, keys = sys.argv[1:]
    keys = int(keys)
    receive(balancer, topic, group, wait="0")
    storm = Storm(balancer, topic, keys)
    senders = [threading.Thread(target=storm.work) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for key in range(keys):
        storm.send(key)
    assert not storm.wrong, storm.wrong
    several = {key: count for key, count in storm.firsts.items() if count > 1}
    assert not several, f"stored more than once: {several}"
    found = stored(balancer, topic, group, keys)
    expected = {f"message {key}" for key in range(keys)}
    assert set(found) == expected, f"missing: {sorted(expected - set(found))}, unknown: {sorted(set(found) - expected)}"
    twice = {body: places for body, places in found.items() if len(places) > 1}
    assert not twice, f"stored more than once: {dict(itertools.islice(twice.items(), 5))}"
    print(f"passed: {keys * TIMES} sends, {len(found)} messages stored", flush=True)


main()
