"""A small MQTT 3.1.1 client for what a measurement needs beside the load: filling a broker, and counting what it kept.

Used by `measure`. Blocking, without TLS; it is never what is measured, only its peer is.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator

TIMEOUT_S = 40.0
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13


class Client:
    """A connection; a context that ends with it."""

    def __init__(self, port: int, client_id: str, clean: bool = True) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        try:
            self.send(packet(0x10, text("MQTT") + bytes([4, 2 if clean else 0, 0, 0]) + text(client_id)))
            answer = self._await(CONNACK)
            if answer[1]:
                raise ValueError(f"the broker refused a connection with code {answer[1]}")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def subscribe(self, filters: Iterable[str], qos: int) -> None:
        """Subscribes, and waits for the answer."""
        self._ask(filters, qos)
        if max(self._await(SUBACK)[2:]) > 2:
            raise ValueError("the broker refused a subscription")

    def send(self, data: bytes) -> None:
        """Sends packets that were made before."""
        self._socket.sendall(data)

    def take(self) -> int:
        """Reads what is there, without looking at it: how many bytes."""
        return len(self._socket.recv(1 << 16))

    def fileno(self) -> int:
        """What it can be waited for by."""
        return self._socket.fileno()

    def retain(self, topics: Iterable[str], payload: bytes) -> None:
        """Publishes a retained message on each topic, and waits until the broker has handled all."""
        self._socket.sendall(b"".join(packet(0x31, text(topic) + payload) for topic in topics))
        self._socket.sendall(packet(0xC0, b""))
        self._await(PINGRESP)

    def replay(self, topic_filter: str, size: int, quiet_s: float) -> tuple[int, float]:
        """Subscribes and takes so many bytes, or until nothing comes for a while: how many messages, in how long.

        They are taken apart afterwards, so that this side is no brake.
        """
        chunks, total = [], 0
        began = last = time.monotonic()
        self._socket.settimeout(quiet_s)
        self._ask([topic_filter], 0)
        try:
            while total < size:
                chunks.append(self._socket.recv(1 << 20))
                if not chunks[-1]:
                    break
                total, last = total + len(chunks[-1]), time.monotonic()
        except TimeoutError:
            pass
        _, packets = split(b"".join(chunks))
        return sum(first >> 4 == PUBLISH for first, _ in packets), last - began

    def receive(self, count: int, quiet_s: float) -> set[bytes]:
        """Takes different messages (topic and payload) until there are so many, or nothing comes for a while."""
        found: set[bytes] = set()
        self._socket.settimeout(quiet_s)
        try:
            while len(found) < count:
                acknowledgements = bytearray()
                for first, body in self._packets():
                    if first >> 4 != PUBLISH:
                        continue
                    end = 2 + int.from_bytes(body[:2])
                    if first >> 1 & 3:
                        acknowledgements += b"\x40\2" + body[end:end + 2]
                        found.add(body[:end] + body[end + 2:])
                    else:
                        found.add(body)
                self._socket.sendall(acknowledgements)
        except TimeoutError:
            pass
        return found

    def leave(self) -> None:
        """Says goodbye, so that the connection does not count as lost."""
        self._socket.sendall(packet(0xE0, b""))

    def _ask(self, filters: Iterable[str], qos: int) -> None:
        asked = b"".join(text(one) + bytes([qos]) for one in filters)
        self._socket.sendall(packet(0x82, b"\0\1" + asked))

    def _await(self, kind: int) -> bytes:
        while True:
            packets = list(self._packets())
            for at, (first, body) in enumerate(packets):
                if first >> 4 == kind:
                    self._held = b"".join(packet(*later) for later in packets[at + 1:]) + self._held
                    return body

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        """What has come whole; waits for it where nothing has."""
        self._held, packets = split(self._held)
        while not packets:
            came = self._socket.recv(1 << 20)
            if not came:
                raise ConnectionError("the broker closed a connection")
            self._held, packets = split(self._held + came)
        return iter(packets)


def split(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Cuts bytes into packets (first byte, body); what is left of the last one comes first."""
    packets, at, end = [], 0, len(data)
    while at + 1 < end:
        length, shift, body = 0, 0, at + 1
        while body < end:
            byte = data[body]
            length |= (byte & 0x7F) << shift
            shift, body = shift + 7, body + 1
            if byte < 0x80:
                break
        else:
            break
        if body + length > end:
            break
        packets.append((data[at], data[body:body + length]))
        at = body + length
    return data[at:], packets


def packet(first: int, body: bytes) -> bytes:
    """A packet with its length."""
    length, header = len(body), bytearray([first])
    while True:
        header.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes(header) + body


def text(value: str) -> bytes:
    """A string with its length."""
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
