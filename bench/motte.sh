#!/bin/sh
# Starts Motte for a measurement, as it is started in earnest: TLS 1.3 and 1.2, the policy asked for every message,
# every promise on the disk before it is given. What is weaker than the defaults is what the comparison needs: clients
# without names, a plaintext listener on loopback, and limits above the load.
#
# The contract of such a script is in README.md. DURABILITY=memory keeps nothing; DURABLE asks for what is so anyway.
# MOTTE names the program; without it, the release build of this checkout is taken.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
MOTTE=${MOTTE:-$here/../target/release/motte}
if [ "${1:-}" = version ]; then
  echo "$("$MOTTE" --version), build $(sha256sum "$MOTTE" | cut -c 1-12)"
  exit
fi
cd "$DIR"
umask 077
cp "$CERTS/server.crt" server.crt
cp "$CERTS/server.key" server.key
cp "$CERTS/ca.crt" ca.crt
if [ -n "${ACL:-}" ]; then cp "$ACL" acl.txt; else echo 'topic readwrite #' > acl.txt; fi
case ${DURABILITY:-sync} in
memory) durability='mode = "memory"' ;;
*) durability="mode = \"${DURABILITY:-sync}\"
directory = \"store\"" ;;
esac
cat > motte.toml <<C
[node]
shards = ${SHARDS:-$THREADS}

[[listener]]
address = "127.0.0.1:$PORT"
transport = "tcp"

[[listener]]
address = "127.0.0.1:$TLSPORT"
client_certificates = "none"
certificate_identity = "none"

[[listener]]
address = "127.0.0.1:$MTLSPORT"
client_certificates = "required"

[tls]
certificate = "server.crt"
key = "server.key"
client_ca = "ca.crt"

[policy]
acl_file = "acl.txt"

[limits]
connections_max = 20000
connections_per_address_max = 20000
handshakes_max = 2000
handshakes_per_address_max = 2000
receive_maximum = 65535
inflight_max = 65535

[durability]
$durability

[log]
level = "error"

[danger]
allow_anonymous = true
C
# shellcheck disable=SC2086 # WRAP is a command with its options (valgrind, perf), or empty
exec ${WRAP:-} "$MOTTE" serve -c motte.toml
