// MQTT.js as a puppet of the end-to-end tests: commands come in as JSON lines, events go out as JSON lines.
// The first line holds the settings of the connection. `MOTTE_FOREIGN_NODE` names the folder MQTT.js is installed in.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const mqtt = createRequire(`${process.env.MOTTE_FOREIGN_NODE}/`)('mqtt');
const say = (event, facts = {}) => process.stdout.write(`${JSON.stringify({ event, ...facts })}\n`);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value);

const VERSIONS = {
  3.1: { protocolVersion: 3, protocolId: 'MQIsdp' },
  '3.1.1': { protocolVersion: 4 },
  5: { protocolVersion: 5 },
};

const options = { ...VERSIONS[settings.protocol], reconnectPeriod: settings.reconnect ? 200 : 0, clean: settings.clean ?? true };
if (!options.clean && settings.protocol === '5') options.properties = { sessionExpiryInterval: 3600 };
if (settings.id) options.clientId = settings.id;
if (settings.user) Object.assign(options, { username: settings.user, password: settings.password });
if (settings.ca) options.ca = readFileSync(settings.ca);
if (settings.cert) Object.assign(options, { cert: readFileSync(settings.cert), key: readFileSync(settings.key) });
if (settings.will) options.will = settings.will;

const client = mqtt.connect(settings.url, options);
client.on('connect', (packet) => say('connected', { session_present: packet.sessionPresent }));
client.on('error', (error) => {
  if (typeof error.code === 'number') say('refused', { reason: error.code });
  else say('error', { what: `${error.code ?? ''} ${error.message}` });
});
client.on('disconnect', (packet) => say('disconnected', { reason: packet.reasonCode, by_server: true }));
client.on('close', () => say('closed'));
client.on('message', (topic, payload, packet) => {
  const { qos, retain, dup, properties = {} } = packet;
  say('message', {
    ...{ topic, payload: payload.toString(), qos, retain, dup },
    expiry: properties.messageExpiryInterval,
    response: properties.responseTopic,
    correlation: properties.correlationData?.toString(),
  });
});

const asProperties = (given) => given && {
  ...(given.expiry !== undefined && { messageExpiryInterval: given.expiry }),
  ...(given.response !== undefined && { responseTopic: given.response }),
  ...(given.correlation !== undefined && { correlationData: Buffer.from(given.correlation) }),
};

const actions = {
  subscribe: ({ filter, qos }) => {
    client.subscribe(filter, { qos }, (error, granted, packet) => {
      say('subscribed', { reasons: packet?.granted ?? granted?.map((one) => one.qos) ?? [error?.code ?? error.message] });
    });
  },
  publish: ({ topic, payload, qos, retain, properties }) => {
    client.publish(topic, payload, { qos, retain, properties: asProperties(properties) }, (error) => say('published', { reason: error ? error.code : 0 }));
  },
  disconnect: () => client.end(),
  die: () => process.exit(0),
};

for await (const line of lines) {
  const { do: action, ...command } = JSON.parse(line);
  actions[action](command);
}
client.end();
