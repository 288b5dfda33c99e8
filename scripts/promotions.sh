#!/usr/bin/env bash
# Promotes generations of a rule library under load: eight connections of `sae bench` embed without pause through a real
# daemon, and each answer is checked to be, bit for bit, wholly of the generation that it names, while `sae rules promote` and
# SIGHUP bring two generations in turn. The latencies are compared with those without promotions.
#
# Usage: scripts/promotions.sh [--promotions N] [--seconds N] [--rules N] [--batch N]
#   --promotions N   how many (50)
#   --seconds N      how long the load lasts, with them, before and after (50)
#   --rules N        of each of the two generations (5,000); 1000000 shows what a large library costs
#   --batch N        texts in a request (16)
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
esac
install_packages python3 python3-numpy
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"
TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 exec python3 Tests/Chaos/promotions.py "$@"
