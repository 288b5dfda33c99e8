#!/usr/bin/env bash
# What the daemon costs on top of the engine: processor time a request and a text, the rate beside the one in process, and how
# long one text takes on an idle daemon. Five rounds of each, in turn; medians, beside their bounds. Takes two minutes.
#
# Usage: scripts/overhead.sh [--seconds N] [TEXTS]
#   --seconds N   of each measurement (2)
#   TEXTS         file of texts, one a line, of which 20,000 are taken; else those of SAE_BENCH_TEXTS, as for scripts/bench.sh
#
# Rates are by the clock and need a quiet machine; processor time is also right beside other programs.
. "$(dirname "$0")/lib/common.sh"

seconds=2
case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    --seconds) [ $# -gt 1 ] || die "--seconds needs a number"; seconds=$2; shift 2 ;;
esac
at_most 1 "$@"
install_packages python3
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
texts=${1:-}
if [ -z "$texts" ]; then
    corpus=${SAE_BENCH_TEXTS:-../shared/data/teacher/texts.txt.gz}
    [ -r "$corpus" ] || die "no sentences at $corpus: set SAE_BENCH_TEXTS"
    texts=$folder/texts
    (case "$corpus" in *.gz) gzip -dc "$corpus" ;; *) cat "$corpus" ;; esac || true) 2>/dev/null | head -n 20000 >"$texts"
fi
TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 python3 Tests/Chaos/overhead.py --seconds "$seconds" "$texts"
