"""Counts the events of a room that many users join. Each connection is another user, so each join changes the room."""

import collections
import json
import selectors
import time

from client import TIMEOUT, Client, frame


def count(url, users):
    """Joins all users at the same time, and returns the number of events of each type that the server sent for it.

    The count is complete when each member knows the final number of users."""
    selector, events, known = selectors.DefaultSelector(), collections.Counter(), {}
    clients = [Client(url, f"?name=user-{n}") for n in range(users)]
    for client in clients:
        client.receive(b'"welcome"')
        selector.register(client.socket, selectors.EVENT_READ, client)
    for client in clients:
        client.socket.sendall(frame(b'{"type":"join","room":"joins"}'))
    until = time.monotonic() + TIMEOUT
    while sum(number == users for number in known.values()) < users:
        if time.monotonic() > until:
            raise TimeoutError("not every member knows the final number of users")
        for key, _ in selector.select(TIMEOUT):
            for text in key.data.complete(key.data.read()):
                event = json.loads(text)
                events[event["type"]] += 1
                if event["type"] in ("joined", "occupancy"):
                    known[key.data] = event["members"]
                elif event["type"] == "presence":
                    known[key.data] = known.get(key.data, 0) + (1 if event["state"] == "joined" else -1)
    for client in clients:
        client.socket.close()
    return {"users": users, "events": dict(events), "failures": []}
