"""Sends and receives until it is stopped, and says when it could: kill servers under it and see.

Sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle is good. Each success is a
line with the time, in milliseconds since 1970, and the messages' bodies, no two of which are the same: "sent AT BODY", "received AT BODY…",
"acked RECEIVED_AT AT BODY". Failures are on stderr.
"""

import itertools
import queue
import sys
import threading
import time

SEND_EVERY = 0.05
# What is received is held so long before it is acknowledged.
HELD_FOR = 1
# How long a message may be consumed: no acknowledgement is tried later.
INVISIBLE = 30
# After a failure.
PAUSE = 0.05


def now():
    return time.time_ns() // 1_000_000


def say(*words):
    # As one text, so that threads do not write into each other's lines.
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def text(message):
    return message.body.decode()


def complain(error):
    print(now(), type(error).__name__, error, file=sys.stderr, flush=True)
    time.sleep(PAUSE)


def send(producer, message):
    began = now()
    for number in itertools.count():
        due = time.monotonic() + SEND_EVERY
        body = f"{began}-{number}"
        try:
            producer.send(message(body))
            say("sent", now(), body)
        except Exception as error:
            complain(error)
        time.sleep(max(0, due - time.monotonic()))


def receive(consumer, held):
    while True:
        try:
            messages = consumer.receive(16, INVISIBLE)
        except Exception as error:
            complain(error)
            continue
        received_at = now()
        if messages:
            say("received", received_at, *map(text, messages))
        for message in messages:
            held.put((received_at, message))


def acknowledge(consumer, held):
    while True:
        received_at, message = held.get()
        time.sleep(max(0, HELD_FOR - (now() - received_at) / 1000))
        try:
            consumer.ack(message)
            say("acked", received_at, now(), text(message))
        except Exception as error:
            complain(error)
            if now() - received_at < INVISIBLE * 1000:
                held.put((received_at, message))


def run(producer, consumer, message):
    """`message` makes what is sent of its body."""
    held = queue.Queue()
    threading.Thread(target=receive, args=(consumer, held), daemon=True).start()
    threading.Thread(target=acknowledge, args=(consumer, held), daemon=True).start()
    send(producer, message)
