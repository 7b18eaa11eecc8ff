"""SCRAM-SHA-256 over MQTT 5.0 out of Python's standard library, with Paho's codec for the properties.

One JSON line on standard input holds the settings; one JSON line for each exchange says how it ended. Nothing in here
knows how the broker does it.
"""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import sys

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

METHOD = "SCRAM-SHA-256"


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Scram:
    def __init__(self, user, password, nonce=None):
        self.password = password
        self.nonce = nonce or secrets.token_urlsafe(18)
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={self.nonce}"

    def first(self):
        return "n,," + self.bare

    def last(self, server_first):
        fields = dict(field.split("=", 1) for field in server_first.split(","))
        assert fields["r"].startswith(self.nonce) and len(fields["r"]) > len(self.nonce), server_first
        assert int(fields["i"]) >= 4096, server_first
        salt = base64.b64decode(fields["s"], validate=True)
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, int(fields["i"]))
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self.bare},{server_first},{without_proof}"
        key = sign(salted, "Client Key")
        signature = sign(hashlib.sha256(key).digest(), message)
        proof = bytes(a ^ b for a, b in zip(key, signature))
        server = sign(sign(salted, "Server Key"), message)
        self.server_final = "v=" + base64.b64encode(server).decode()
        return f"{without_proof},p={base64.b64encode(proof).decode()}"


def check_vector():
    """RFC 7677, section 3."""
    scram = Scram("user", "pencil", "rOprNGfwEbeRWgbNEkqO")
    nonces = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    last = scram.last(f"r={nonces},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert last == f"c=biws,r={nonces},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", last
    assert scram.server_final == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", scram.server_final


def properties(packet_type, data):
    packed = Properties(packet_type)
    packed.AuthenticationMethod = METHOD
    packed.AuthenticationData = data.encode()
    return packed.pack()


def packet(first, body):
    length, rest = b"", len(body)
    while True:
        rest, digit = rest >> 7, rest & 0x7F
        length += bytes([digit | (0x80 if rest else 0)])
        if not rest:
            return bytes([first]) + length + body


def connect(data):
    head = b"\x00\x04MQTT\x05\x02\x00\x3c" + properties(PacketTypes.CONNECT, data)
    return packet(0x10, head + b"\x00\x06python")


def auth(reason, data):
    return packet(0xF0, bytes([reason]) + properties(PacketTypes.AUTH, data))


def receive(stream):
    first, length, shift = stream.read(1)[0], 0, 0
    while True:
        byte = stream.read(1)[0]
        length, shift = length | (byte & 0x7F) << shift, shift + 7
        if not byte & 0x80:
            return first, stream.read(length)


def told(body, packet_type):
    """Method and data of an AUTH or a CONNACK, whose reason code and properties begin at `body`."""
    found = Properties(packet_type)
    found.unpack(body[1:])
    data = getattr(found, "AuthenticationData", b"")
    return body[0], getattr(found, "AuthenticationMethod", None), bytes(data).decode()


def exchange(stream, begin, scram):
    """Runs one exchange and gives what ends it: packet, reason, and whether the broker proved itself."""
    stream.write(begin)
    stream.flush()
    first, body = receive(stream)
    assert first == 0xF0, (first, body)
    reason, method, server_first = told(body, PacketTypes.AUTH)
    assert (reason, method) == (0x18, METHOD), (reason, method)
    stream.write(auth(0x18, scram.last(server_first)))
    stream.flush()
    first, body = receive(stream)
    if first == 0xE0:
        return {"packet": "disconnect", "reason": body[0] if body else 0, "proved": False}
    name, body, kind = {
        0x20: ("connack", body[1:], PacketTypes.CONNACK),
        0xF0: ("auth", body, PacketTypes.AUTH),
    }[first]
    reason, method, data = told(body, kind)
    return {"packet": name, "reason": reason, "proved": method == METHOD and data == scram.server_final}


def main():
    check_vector()
    settings = json.loads(sys.stdin.readline())
    tls = ssl.create_default_context(cafile=settings["ca"])
    tls.set_alpn_protocols(["mqtt"])
    raw = socket.create_connection((settings["host"], settings["port"]), timeout=20)
    with tls.wrap_socket(raw, server_hostname="localhost") as connection:
        stream = connection.makefile("rwb")
        user = settings["user"]
        for turn, password in enumerate(settings["passwords"]):
            scram = Scram(user, password)
            begin = connect(scram.first()) if turn == 0 else auth(0x19, scram.first())
            print(json.dumps(exchange(stream, begin, scram)), flush=True)


main()
