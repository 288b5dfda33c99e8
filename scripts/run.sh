#!/usr/bin/env bash
# Installs what is missing, builds, starts the daemon on loopback with the shipped model, and shows it at work.
#
# Usage: scripts/run.sh [--once]
#   --once   stop the daemon after the demonstration instead of leaving it in the foreground
. "$(dirname "$0")/lib/common.sh"

once=false
case "${1:-}" in
    '') ;;
    --once) once=true ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
install_packages "${build_packages[@]}" python3
need_swift
REVISION=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
export REVISION
say "building (the first time takes some minutes)"
swift build -c release --product sae || die "the build failed: see above"
sae=$(swift build -c release --show-bin-path)/sae

folder=$(mktemp -d)
daemon=
stop() {
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        kill -TERM "$daemon"
        wait "$daemon" || true
    fi
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

say "starting the daemon on a free loopback port"
for name in $(compgen -v SAE_); do unset "$name"; done
SAE_LOG_FORMAT=json "$sae" serve --listen 127.0.0.1:0 --unix '' --http '' --drain-lame-duck-ms 0 2> >(tee "$folder/log" >&2) &
daemon=$!
for _ in $(seq 600); do
    grep -qs '"event":"ready"' "$folder/log" && break
    kill -0 "$daemon" 2>/dev/null || die "the daemon ended: see its messages above"
    sleep 0.1
done
grep -qs '"event":"ready"' "$folder/log" || die "the daemon was not ready within a minute"
endpoint=$(grep -osE -m 1 'tcp://127\.0\.0\.1:[0-9]+' "$folder/log") || die "the daemon did not say where it listens"

cat >"$folder/texts" <<'TEXTS'
A man is playing a guitar on the stage.
Someone performs music in front of an audience.
The stock market fell sharply on Monday.
Shares lost value at the start of the week.
How do I reset my password?
TEXTS
say "embedding five sentences through the socket"
"$sae" embed --connect "$endpoint" --input "$folder/texts" --format jsonl >"$folder/vectors"
python3 - "$folder/texts" "$folder/vectors" <<'PYTHON'
import json, sys
texts = open(sys.argv[1], encoding="utf-8").read().splitlines()
vectors = [json.loads(line)["embedding"] for line in open(sys.argv[2])]
print("\nfirst numbers of each vector:")
for text, vector in zip(texts, vectors):
    print("  " + " ".join(f"{x:7.4f}" for x in vector[:6]), f" …  {text}")
print("\nsimilarities:")
for a, text in zip(vectors, texts):
    print("  " + " ".join(f"{sum(x * y for x, y in zip(a, b)):6.3f}" for b in vectors), f"  {text}")
print()
PYTHON
if $once; then
    say "done; stopping the daemon"
else
    say "the daemon serves on $endpoint; try: $sae embed --connect $endpoint 'Your text.' (Ctrl-C stops it)"
    wait "$daemon"
fi
