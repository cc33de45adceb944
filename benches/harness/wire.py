"""As much of a Redis client as the harness needs."""

import socket

from .processes import Failed

TIMEOUT_SECONDS = 30


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    parts = [b"*%d\r\n" % len(words)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class Client:
    """One connection. Replies come as bytes; an error reply raises `Failed`."""

    def __init__(self, port, login=None, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_SECONDS)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = bytearray()
        if login:
            self.call("AUTH", *login)

    def send(self, *words):
        self.socket.sendall(command(*words))

    def call(self, *words):
        self.send(*words)
        return self.reply()

    def reply(self):
        """The next reply, if it is a line or a bulk string."""
        line = self.line()
        if line[:1] == b"-":
            raise Failed(line[1:].decode(errors="replace"))
        if line[:1] != b"$":
            return line
        length = int(line[1:])
        return self.take(length + 2)[:-2] if length >= 0 else None

    def line(self):
        while b"\r\n" not in self.rest:
            self.fill()
        line, _, self.rest = self.rest.partition(b"\r\n")
        return bytes(line)

    def take(self, count):
        while len(self.rest) < count:
            self.fill()
        taken, self.rest = bytes(self.rest[:count]), self.rest[count:]
        return taken

    def fill(self):
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise Failed("the connection was closed")
        self.rest += piece

    def close(self):
        self.socket.close()
