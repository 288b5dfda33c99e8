#!/usr/bin/env bash
# The fault suite: slow, silent, flooding and lying clients, too few descriptors and too little memory, kill -9, SIGTERM
# under load, twice the load that can be sustained; against the built daemon. Prints each figure beside its bound.
#
# Usage: scripts/chaos.sh [--tls] [--seconds N] [--connections N] [CHECK…]
#   --tls             the same with TLS for frames and HTTP, and what TLS costs
#   --seconds N       how long each check that lasts does so (10; the whole suite then takes some five minutes)
#   --connections N   idle connections (10,000)
#   CHECK…            only these; a wrong name makes it say which there are
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
esac
install_packages python3 python3-numpy faketime openssl
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"
TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 exec python3 Tests/Chaos/chaos.py "$@"
