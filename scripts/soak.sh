#!/usr/bin/env bash
# A mixed soak of the built daemon: frames, HTTP, streams, watches and jobs, with cancels, disconnects, reloads and promotions of
# two generations at random; every answer compared bit for bit with that of its generation without the daemon, and memory,
# descriptors and threads watched. Prints each figure beside its bound.
#
# Usage: scripts/soak.sh [MINUTES]      (1 unless told)
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
esac
at_most 1 "$@"
install_packages python3 python3-numpy
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"
TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 exec python3 Tests/Chaos/soak.py "$@"
