"""Measures how fast a server writes to a big room whose readers sleep, and then checks every delivery.

The generator of a normal load needs about as much CPU time as the server. So on two cores it cannot load a server with
two cores. Here the kernel keeps what the server writes, and only one connection is read meanwhile. There is one writer,
which has some messages in flight: for each message that the reader receives, it sends the next one. The time is that
from the first send to the arrival of the last byte at any member, which the kernel records. Prints "ready", and waits
for a line.
"""

import argparse
import json
import pathlib
import re
import sys
import time

sys.dont_write_bytecode = True
from client import Client, frame

# Bytes that a member can receive without reading.
RECEIVE_BUFFER = 4 << 20
SIZE = 128
# Messages before the measurement.
WARM_UP = 64


class Protocol:
    """The texts of a protocol."""

    def __init__(self, name, room):
        self.name, self.room = name, room
        before, after = (b'"text":"', b'"') if name == "chat-bare" else (b"^", b"$")
        self.pattern = re.compile(before + rb"(\d+) (x*)" + after)

    def connect(self, url, **options):
        if self.name == "plain":
            client = Client(url, f"/{self.room}", **options)
            client.receive(b"joined")
            return client
        client = Client(url, f"?name={self.room}", **options)
        client.receive(b'"welcome"')
        client.socket.sendall(frame(f'{{"type":"join","room":"{self.room}"}}'.encode()))
        client.receive(b'"joined"')
        return client

    def message(self, number):
        text = f"{number} ".ljust(SIZE, "x")
        if self.name == "plain":
            return frame(text.encode())
        return frame(f'{{"type":"send","room":"{self.room}","body":{{"text":"{text}"}}}}'.encode())

    def number(self, text):
        """Returns the number of a message, or `None` if the text is no message, such as a reply."""
        match = self.pattern.search(text)
        if not match or len(match[0]) - len(b'"text":""') * (self.name != "plain") != SIZE:
            return None
        return int(match[1])


def cpu_seconds(pid):
    """Returns the CPU time of the threads of a process."""
    seconds = 0.0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def wait_until_idle(pid):
    """Waits until a process uses less than 2 % of a core, at most 10 s."""
    last = cpu_seconds(pid)
    for _ in range(500):
        time.sleep(0.02)
        now = cpu_seconds(pid)
        if now - last < 0.0004:
            return
        last = now


def write(writer, reader, protocol, count, in_flight):
    """Sends the messages, and returns the numbers of those that the reader received."""
    numbers, sent = [], min(in_flight, count)
    writer.socket.sendall(b"".join(map(protocol.message, range(sent))))
    while len(numbers) < count:
        came = [number for text in reader.complete(reader.read()) if (number := protocol.number(text)) is not None]
        numbers += came
        after = min(sent + len(came), count)
        if after > sent:
            writer.socket.sendall(b"".join(map(protocol.message, range(sent, after))))
        sent = after
    return numbers


def read(client, protocol, count):
    """Returns the numbers of the messages, and the time in nanoseconds at which the last one had arrived."""
    numbers, last = [], 0
    while len(numbers) < count:
        data, at = client.read_with_time()
        found = (protocol.number(text) for text in client.complete(data))
        numbers += [number for number in found if number is not None]
        last = max(last, at)
    return numbers, last


def measure(protocol, clients, pid, count, in_flight):
    # A server that writes to its members in their order reaches this one while it still has others to write to. So the
    # next messages are there when it has finished. The writer would not do: a server may answer it before the others.
    reader = clients[len(clients) // 2]
    cpu, own, start = cpu_seconds(pid), time.process_time(), time.time_ns()
    came = write(clients[0], reader, protocol, count, in_flight)
    own, back = time.process_time() - own, time.time_ns()
    wait_until_idle(pid)
    cpu = cpu_seconds(pid) - cpu
    expected, wrong, last = list(range(count)), int(came != list(range(count))), back
    for client in (client for client in clients if client is not reader):
        numbers, at = read(client, protocol, count)
        wrong += numbers != expected
        last = max(last, at)
    return {
        "seconds": (last - start) / 1e9,
        "deliveries": count * len(clients),
        "server_cpu_seconds": cpu,
        "own_cpu_seconds": own,
        "failures": [f"{wrong} members received other messages"] if wrong else [],
    }


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", required=True)
    options.add_argument("--pid", type=int, required=True)
    options.add_argument("--protocol", choices=["plain", "chat-bare"], required=True)
    options.add_argument("--members", type=int, default=1000)
    options.add_argument("--messages", type=int, required=True)
    options.add_argument("--in-flight", type=int, required=True)
    options = options.parse_args()
    protocol = Protocol(options.protocol, "big-room")
    clients = [protocol.connect(options.url, receive_buffer=RECEIVE_BUFFER) for _ in range(options.members)]
    measure(protocol, clients, options.pid, min(WARM_UP, options.messages), options.in_flight)
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(measure(protocol, clients, options.pid, options.messages, options.in_flight)))


if __name__ == "__main__":
    main()
