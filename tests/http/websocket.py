"""A WebSocket to a gateway, with the standard library: JSON in text frames both ways. Source: RFC 6455."""

import base64
import hashlib
import json
import os
import socket
import struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Closed(Exception):
    """The socket is closed or lost; `code` is that of the server's close frame, None without one."""

    def __init__(self, code=None):
        super().__init__(f"closed: {code}")
        self.code = code


class WebSocket:
    def __init__(self, address, path, timeout=30):
        """Raises Closed when the gateway does not answer, and AssertionError when it does not open a socket."""
        host, port = address.rsplit(":", 1)
        key = base64.b64encode(os.urandom(16)).decode()
        try:
            self.connection = socket.create_connection((host, int(port)), timeout)
            self.stream = self.connection.makefile("rb")
            self.connection.sendall((
                f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            ).encode())
            head = []
            while not head or head[-1].strip():
                head.append(self.stream.readline())
                if not head[-1]:
                    raise Closed()
        except OSError as error:
            raise Closed() from error
        assert head[0].startswith(b"HTTP/1.1 101"), head[0]
        accepted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest())
        assert any(line.lower().startswith(b"sec-websocket-accept:") and accepted in line for line in head), head

    def say(self, **frame):
        self._write(TEXT, json.dumps(frame).encode())

    def hear(self):
        """The next frame; pings are answered."""
        while True:
            opcode, payload = self._read()
            if opcode == TEXT:
                return json.loads(payload)
            if opcode == PING:
                self._write(PONG, payload)
            elif opcode == CLOSE:
                raise Closed(struct.unpack("!H", payload[:2])[0] if payload else None)

    def close(self):
        """Says so and waits for the other side to do it, too."""
        try:
            self._write(CLOSE, struct.pack("!H", 1000))
            while True:
                self.hear()
        except Closed:
            pass
        self.cut()

    def cut(self):
        """Ends it without a word; who is hearing hears that."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.connection.close()

    def _write(self, opcode, payload):
        size = len(payload)
        length = bytes([128 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        key = os.urandom(4)
        masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        try:
            self.connection.sendall(bytes([128 | opcode]) + length + key + masked)
        except OSError as error:
            raise Closed() from error

    def _read(self):
        opcode, size = self._exactly(2)
        if size == 126:
            [size] = struct.unpack("!H", self._exactly(2))
        elif size == 127:
            [size] = struct.unpack("!Q", self._exactly(8))
        return opcode & 15, self._exactly(size)

    def _exactly(self, size):
        try:
            read = self.stream.read(size)
        except OSError as error:
            raise Closed() from error
        if len(read) < size:
            raise Closed()
        return read
