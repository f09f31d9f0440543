"""A WebSocket client of a few lines, for measurements in which the client must hardly use CPU time."""

import re
import socket
import struct
import sys

# The socket option SO_TIMESTAMPNS of Linux.
TIMESTAMPS = 35
TEXT, PING = 0x81, 0x89
# Seconds.
TIMEOUT = 30


def texts(data):
    """Returns the complete texts at the beginning of bytes, and the remaining bytes. Pings are left out."""
    found, at = [], 0
    while len(data) >= at + 2:
        length, start = data[at + 1], at + 2
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : start], "big")
        if len(data) < start + length:
            break
        if data[at] == TEXT:
            found.append(data[start : start + length])
        elif data[at] != PING:
            raise ValueError(f"a frame that is not a text: {data[at]:#x}")
        at = start + length
    return found, data[at:]


def frame(text):
    """Returns the frame of a text of a client. Its mask is zero, which leaves the text as it is."""
    length = len(text)
    header = bytes([TEXT, 0x80 | length]) if length < 126 else bytes([TEXT, 0x80 | 126]) + length.to_bytes(2, "big")
    return header + b"\0\0\0\0" + text


class Client:
    """A connection to a server."""

    def __init__(self, url, target, receive_buffer=None):
        host, port = re.match(r"ws://([^:/]+):(\d+)", url).groups()
        self.socket = socket.socket()
        if receive_buffer:
            # Before the connection is made, because it decides how the window is scaled.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            # The kernel reports twice the size, and silently sets at most `net.core.rmem_max`.
            got = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
            if got < receive_buffer:
                sys.exit(f"a receive buffer of {receive_buffer} bytes is needed, and net.core.rmem_max allows {got}")
            self.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        path = "/" + url.split("/", 3)[3]
        self.socket.sendall(
            f"GET {path}{target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.read()
        head, self.rest = head.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise ConnectionError(head.decode())

    def read(self):
        """Returns the next bytes."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the connection ended")
        return data

    def read_with_time(self):
        """Returns the next bytes, and the time in nanoseconds at which the kernel received the last of them.

        The kernel begins to record times a moment after the first connection asks for it. Before that the time is 0."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, 64)
        if not data:
            raise ConnectionError("the connection ended")
        times = [value for level, kind, value in ancillary if (level, kind) == (socket.SOL_SOCKET, TIMESTAMPS)]
        seconds, nanoseconds = struct.unpack_from("qq", times[0]) if times else (0, 0)
        return data, seconds * 10**9 + nanoseconds

    def complete(self, data=b""):
        """Returns the texts that are complete after further bytes."""
        found, self.rest = texts(self.rest + data)
        return found

    def receive(self, find):
        """Returns the first text in which `find` is. Texts that came with it are dropped."""
        found = self.complete()
        while not (found := [text for text in found if find in text]):
            found = self.complete(self.read())
        return found[0]
