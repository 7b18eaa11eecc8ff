#!/bin/sh
# Starts the floor, a forwarder with no broker in it, for a measurement; the contract is in README.md. FLOOR names the
# program; without it, the release build of this checkout is taken. It knows neither ACL nor DURABLE.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
FLOOR=${FLOOR:-$here/../target/release/motte-bench-floor}
if [ "${1:-}" = version ]; then
  echo "$("$FLOOR" --version), build $(sha256sum "$FLOOR" | cut -c 1-12)"
  exit
fi
# The C library would give memory back after each large batch and fault it in again for the next one, which costs more
# than encrypting a kilobyte; what is lowest is what is asked for here.
export MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=8000000
# shellcheck disable=SC2086 # WRAP is a command with its options (valgrind, perf), or empty
exec ${WRAP:-} "$FLOOR" "$PORT" "$TLSPORT" "$MTLSPORT" "$CERTS"
