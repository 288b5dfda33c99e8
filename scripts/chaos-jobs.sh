#!/usr/bin/env bash
# A corpus job that is disturbed: kill -9 of the daemon at random moments and at each step of a commit, and a disk that is full for a
# while. Every row must be there once, and the files the same as an undisturbed job's.
#
# Usage: scripts/chaos-jobs.sh [--rows N] [--kills N] [kills] [steps] [disk]
#   --rows N    lines of the job (1,000,000)
#   --kills N   deaths at random moments (20)
#   kills, steps, disk   only these: deaths at random moments, at each step of a small job, the full disk
#
# The full disk is a small tmpfs, for which it must be root.
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
esac
install_packages python3 python3-numpy gcc libc6-dev
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"
TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 exec python3 Tests/Chaos/jobs.py "$@"
