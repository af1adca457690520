"""Messages that were acknowledged to their sender are delivered, though gateways and brokers are killed while 16 consumers work, some of
them over WebSockets.

survive.py BALANCER FIRST SECOND TOPIC GROUP COUNT [CONSUMER...]: HOST:PORT of a balancer before two gateways, and of these; the command of one more
consumer, such as that of sdk-examples/php. Prints "acked N" as it goes on; exit code 0 if it held. Needs the standard library only.
"""

import subprocess
import sys
import threading
import time
import uuid

from api import Lost, ack, call, receive
from websocket import Closed, WebSocket

CONSUMERS = 12
SOCKETS = 4
INVISIBLE = 12
# Longest time without a new message before those that are missing count as lost.
ARRIVES_WITHIN = 90


class Run:
    def __init__(self, balancer, topic, group, count):
        self.balancer, self.topic, self.group, self.count = balancer, topic, group, count
        self.lock = threading.Lock()
        self.sent, self.delivered, self.finished, self.wrong = set(), set(), set(), []
        self.newest = time.monotonic()
        self.is_over = False
        self.sockets = []
        self.finished_elsewhere = 0

    def produce(self):
        while True:
            body = uuid.uuid4().hex
            try:
                status, _ = call(self.balancer, "POST", f"/topics/{self.topic}/messages", body=body.encode())
            except Lost:
                continue
            with self.lock:
                if status == 201:
                    self.sent.add(body)
                    print(f"acked {len(self.sent)}", flush=True)
                if len(self.sent) >= self.count:
                    return
            if status != 201:
                time.sleep(0.1)

    def consume(self):
        while not self.is_over:
            try:
                messages = receive(self.balancer, self.topic, self.group, most=4, invisible=f"{INVISIBLE}s")
            except Lost:
                time.sleep(0.1)
                continue
            leased_at = time.monotonic()
            for message in messages:
                self.note(message)
                self.finish(message, leased_at)

    def consume_by_socket(self):
        path = f"/v1/groups/{self.group}/stream?topic={self.topic}&invisible={INVISIBLE}s"
        while not self.is_over:
            try:
                stream = WebSocket(self.balancer, path)
                with self.lock:
                    self.sockets.append(stream)
                while not self.is_over:
                    self.serve(stream)
            except Closed:
                time.sleep(0.1)

    def serve(self, stream):
        """Asks for a message and finishes it; when the socket ends in between, by a call of its own."""
        stream.say(type="credit", credits=1)
        frame = stream.hear()
        while frame["type"] != "message":
            frame = stream.hear()
        message, leased_at = frame["message"], time.monotonic()
        self.note(message)
        try:
            stream.say(type="ack", handles=[message["handle"]])
            answer = stream.hear()
        except Closed:
            self.finish(message, leased_at, was_unheard=True)
            raise
        if not self.is_settled(message, leased_at, answer["status"], was_unheard=False):
            self.finish(message, leased_at, was_unheard=True)

    def note(self, message):
        body = message["body"]
        with self.lock:
            if body in self.finished:
                self.wrong.append(f"{body} came again after its acknowledgement, attempt {message['attempt']}")
            if body not in self.delivered:
                self.delivered.add(body)
                self.newest = time.monotonic()

    def finish(self, message, leased_at, was_unheard=False):
        while True:
            try:
                status = ack(self.balancer, self.topic, self.group, message["handle"])
            except Lost:
                was_unheard = True
                continue
            if self.is_settled(message, leased_at, status, was_unheard):
                return
            # What was asked for may have been done.
            was_unheard = True
            time.sleep(0.1)

    def is_settled(self, message, leased_at, status, was_unheard):
        """Whether an acknowledgement that is answered so need not be repeated."""
        body = message["body"]
        with self.lock:
            if status == 200:
                self.finished.add(body)
            # An acknowledgement whose answer was lost may have ended the lease; else only its time does.
            elif status == 410 and not was_unheard and time.monotonic() < leased_at + INVISIBLE:
                self.wrong.append(f"{body}: its handle is refused {time.monotonic() - leased_at:.1f} s after it was given")
        return status in (200, 410)

    def listen(self, consumer):
        """Takes into account what another program says that it got and finished."""
        for line in consumer.stdout:
            what, body = line.split()
            with self.lock:
                if body not in self.delivered:
                    self.delivered.add(body)
                    self.newest = time.monotonic()
                if what == "done":
                    self.finished_elsewhere += 1

    def is_done(self, producers):
        with self.lock:
            assert not self.wrong, self.wrong
            lost = self.sent - self.delivered
            assert time.monotonic() < self.newest + ARRIVES_WITHIN, f"lost: {sorted(lost)} of {len(self.sent)}"
            return not lost and not any(producer.is_alive() for producer in producers)


def any_gateway_takes_any_handle(gateways, topic, group):
    """What one gateway hands out the other one acknowledges."""
    for giving, taking in (gateways, gateways[::-1]):
        status, _ = call(giving, "POST", f"/topics/{topic}/messages", body=b"handed over")
        assert status == 201, status
        messages = []
        deadline = time.monotonic() + ARRIVES_WITHIN
        while not messages and time.monotonic() < deadline:
            messages = receive(giving, topic, group)
        [message] = messages
        assert ack(taking, topic, group, message["handle"]) == 200


def main():
    balancer, first, second, topic, group, count, *command = sys.argv[1:]
    # A group that is new begins at the end: it is there once it has asked.
    receive(first, topic, group, wait="0")
    any_gateway_takes_any_handle([first, second], topic, group)
    run = Run(balancer, topic, group, int(count))
    producers = [threading.Thread(target=run.produce, daemon=True) for _ in range(2)]
    work = [run.consume] * CONSUMERS + [run.consume_by_socket] * SOCKETS
    consumers = [threading.Thread(target=consume, daemon=True) for consume in work]
    for thread in producers + consumers:
        thread.start()
    if command:
        consumer = subprocess.Popen(command + [balancer, topic, group], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=run.listen, args=(consumer,), daemon=True).start()
    while not run.is_done(producers):
        time.sleep(0.1)
    run.is_over = True
    for stream in run.sockets:
        stream.cut()
    for thread in consumers:
        thread.join()
    if command:
        consumer.kill()
        consumer.wait()
        assert run.finished_elsewhere > 0, f"{command} has finished nothing"
    assert not run.wrong, run.wrong
    print(f"passed: {run.finished_elsewhere} finished elsewhere, {len(run.sent)} sent, {len(run.delivered)} delivered, {len(run.finished)} finished", flush=True)


main()
