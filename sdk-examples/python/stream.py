"""Sends and receives until it is stopped, and says when it could: kill servers under it and see.

Sends one message after the other, every 50 ms if it can. What is received is acknowledged a second later, for as long as its handle is good. Each success is a
line with the time, in milliseconds since 1970: "sent AT", "received AT", "acked RECEIVED_AT AT". Failures are on stderr.
"""

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
    print(*words, flush=True)


def complain(error):
    print(now(), type(error).__name__, error, file=sys.stderr, flush=True)
    time.sleep(PAUSE)


def send(producer, message):
    while True:
        due = time.monotonic() + SEND_EVERY
        try:
            producer.send(message())
            say("sent", now())
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
            say("received", received_at)
        for message in messages:
            held.put((received_at, message))


def acknowledge(consumer, held):
    while True:
        received_at, message = held.get()
        time.sleep(max(0, HELD_FOR - (now() - received_at) / 1000))
        try:
            consumer.ack(message)
            say("acked", received_at, now())
        except Exception as error:
            complain(error)
            if now() - received_at < INVISIBLE * 1000:
                held.put((received_at, message))


def run(producer, consumer, message):
    """`message` makes what is sent."""
    held = queue.Queue()
    threading.Thread(target=receive, args=(consumer, held), daemon=True).start()
    threading.Thread(target=acknowledge, args=(consumer, held), daemon=True).start()
    send(producer, message)
