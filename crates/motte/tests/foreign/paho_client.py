"""Paho as a puppet of the end-to-end tests: commands come in as JSON lines, events go out as JSON lines.

The first line holds the settings of the connection. Every event names what a program built on Paho would see.
"""

import json
import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
RECONNECT_DELAY_S = 0.2


def say(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


def on_connect(client, _userdata, flags, reason, properties):
    assigned = getattr(properties, "AssignedClientIdentifier", None) if properties else None
    event = "refused" if reason.is_failure else "connected"
    say(event, reason=reason.value, session_present=flags.session_present, assigned=assigned)


def on_disconnect(_client, _userdata, flags, reason, _properties):
    say("disconnected", reason=reason.value, by_server=flags.is_disconnect_packet_from_server)


def on_message(_client, _userdata, message):
    correlation = getattr(message.properties, "CorrelationData", None)
    say(
        "message",
        topic=message.topic,
        payload=message.payload.decode(),
        qos=message.qos,
        retain=message.retain,
        dup=message.dup,
        expiry=getattr(message.properties, "MessageExpiryInterval", None),
        response=getattr(message.properties, "ResponseTopic", None),
        correlation=correlation.decode() if correlation else None,
    )


def make(settings):
    version = VERSIONS[settings["protocol"]]
    kwargs = {} if version == mqtt.MQTTv5 else {"clean_session": settings.get("clean", True)}
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=settings.get("id", ""),
        protocol=version,
        reconnect_on_failure=settings.get("reconnect", False),
        **kwargs,
    )
    client.reconnect_delay_set(RECONNECT_DELAY_S, RECONNECT_DELAY_S)
    client.on_connect = on_connect
    client.on_disconnect = on_disconnect
    client.on_message = on_message
    client.on_subscribe = lambda _c, _u, _m, reasons, _p: say("subscribed", reasons=[r.value for r in reasons])
    client.on_unsubscribe = lambda _c, _u, _m, reasons, _p: say("unsubscribed", reasons=[r.value for r in reasons])
    client.on_publish = lambda _c, _u, _m, reason, _p: say("published", reason=reason.value)
    if "user" in settings:
        client.username_pw_set(settings["user"], settings.get("password"))
    if "ca" in settings:
        client.tls_set(settings["ca"], settings.get("cert"), settings.get("key"))
    if "will" in settings:
        client.will_set(**settings["will"])
    return client


def connect(client, settings):
    extra = {}
    if settings["protocol"] == "5":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if settings.get("clean", True) else 3600
        extra = {"clean_start": settings.get("clean", True), "properties": properties}
    client.connect(settings["host"], settings["port"], keepalive=settings.get("keepalive", 60), **extra)


def publish(client, properties=None, **message):
    if properties is not None:
        given, properties = properties, Properties(PacketTypes.PUBLISH)
        if "expiry" in given:
            properties.MessageExpiryInterval = given["expiry"]
        if "response" in given:
            properties.ResponseTopic = given["response"]
        if "correlation" in given:
            properties.CorrelationData = given["correlation"].encode()
    client.publish(properties=properties, **message)


def main():
    settings = json.loads(sys.stdin.readline())
    client = make(settings)
    try:
        connect(client, settings)
    except OSError as error:
        say("error", what=f"{type(error).__name__}: {error}")
        return
    client.loop_start()
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        if do == "subscribe":
            client.subscribe(command["filter"], command["qos"])
        elif do == "unsubscribe":
            client.unsubscribe(command["filter"])
        elif do == "publish":
            publish(client, **command)
        elif do == "disconnect":
            client.disconnect()
        elif do == "die":
            os._exit(0)
    client.disconnect()
    client.loop_stop()


main()
