#!/bin/sh
# Starts Mosquitto for a measurement; the contract of such a script is in README.md. MOSQUITTO names the program.
#
# The limits of its queues are taken off, because a closed loop needs none, and TCP_NODELAY is on, because without it
# lone messages wait. With DURABLE=1 it saves once a second, which is the most often it can without writing everything
# for each message; what came since the last time is lost in a crash.
set -eu
MOSQUITTO=${MOSQUITTO:-$(command -v mosquitto || echo /usr/sbin/mosquitto)}
if [ "${1:-}" = version ]; then
  "$MOSQUITTO" -h | head -n 1
  exit
fi
cd "$DIR"
umask 077
if [ -n "${ACL:-}" ]; then cp "$ACL" acl.txt; else echo 'topic readwrite #' > acl.txt; fi
tls="allow_anonymous true
cafile $CERTS/ca.crt
certfile $CERTS/server.crt
keyfile $CERTS/server.key"
{
  cat <<C
user $(id -un)
log_type error
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
acl_file $DIR/acl.txt
listener $PORT 127.0.0.1
allow_anonymous true
listener $TLSPORT 127.0.0.1
$tls
listener $MTLSPORT 127.0.0.1
$tls
require_certificate true
C
  [ "${DURABLE:-0}" = 0 ] || printf 'persistence true\npersistence_location %s/\nautosave_interval 1\n' "$DIR"
} > mosquitto.conf
# shellcheck disable=SC2086 # WRAP is a command with its options (valgrind, perf), or empty
exec ${WRAP:-} "$MOSQUITTO" -c mosquitto.conf
