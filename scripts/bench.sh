#!/usr/bin/env bash
# Measures, in one run and on the same sentences: this engine in process on one thread and two and the peers, in turn, five
# rounds of each; then the daemon through its socket (1 and 64 texts a request; 1, 8 and 64 connections) and its memory over
# a million texts. The table has medians of the rounds, so that a machine whose speed moves is fair to everyone.
#
# Usage: scripts/bench.sh [OUT.json]
#
#   SAE_BENCH_TEXTS   sentences, one a line, plain or .gz (default: ../shared/data/teacher/texts.txt.gz)
#   SAE_BENCH_MODEL   model file (default: the shipped one)
#   SAE_PEERS         a script whose `speed TEXTS --threads N` prints a JSON line a peer (default: ../shared/bench/peers.py;
#                     left out, with a message, where there is none or it was not prepared)
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    -*) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
out=${1:-bench-results/bench.json}
corpus=${SAE_BENCH_TEXTS:-../shared/data/teacher/texts.txt.gz}
peers=${SAE_PEERS:-../shared/bench/peers.py}
[ -r "$corpus" ] || die "no sentences at $corpus: set SAE_BENCH_TEXTS"
install_packages "${build_packages[@]}" python3
need_swift
say "building"
swift build -c release --product sae || die "the build failed: see above"
sae=$(swift build -c release --show-bin-path)/sae
model=()
[ -z "${SAE_BENCH_MODEL:-}" ] || model=(--model "$SAE_BENCH_MODEL")

folder=$(mktemp -d)
daemon=
stop() {
    if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then wait "$daemon" || true; fi
    rm -rf "$folder"
}
trap stop EXIT
texts=$folder/texts
(case "$corpus" in *.gz) gzip -dc "$corpus" ;; *) cat "$corpus" ;; esac || true) 2>/dev/null | head -n 20000 >"$texts"
say "$(wc -l <"$texts") sentences"

mkdir -p "$(dirname "$out")"
: >"$folder/rows"
record() { tee -a "$folder/rows"; }

[ -x "$peers" ] || say "no peers at $peers: left out (set SAE_PEERS)"
for round in 1 2 3 4 5; do
    say "in process and the peers, round $round of 5"
    for threads in 1 2; do
        "$sae" bench "$texts" "${model[@]}" --threads $threads | record
        "$sae" bench "$texts" "${model[@]}" --threads $threads --temperature infinite | record
        [ ! -x "$peers" ] || "$peers" speed "$texts" --threads $threads | record || die "the peers did not run"
    done
done

say "through the socket"
# The daemon refuses variables that begin with SAE_ and that it does not know.
env -u SAE_BENCH_TEXTS -u SAE_BENCH_MODEL -u SAE_PEERS "$sae" serve --unix "$folder/s" --listen '' --http '' --drain-lame-duck-ms 0 "${model[@]}" >"$folder/log" 2>&1 &
daemon=$!
for _ in $(seq 100); do [ -S "$folder/s" ] && break; sleep 0.1; done
[ -S "$folder/s" ] || die "the daemon did not start: $(tail -n 1 "$folder/log")"
memory() { awk '/VmRSS/ {print $2}' "/proc/$daemon/status"; }
"$sae" bench "$texts" --connect "unix:$folder/s" --connections 1,8,64 --batch 1,64 --seconds 4 | record
warm=$(memory)
"$sae" bench "$texts" --connect "unix:$folder/s" --connections 8 --batch 64 --seconds 12 >"$folder/million"
served=$(sed -E 's/.*"requests":([0-9]+).*/\1/' "$folder/million")
printf '{"what":"daemon memory","rss_kib_warm":%d,"rss_kib_after":%d,"texts_between":%d}\n' \
    "$warm" "$(memory)" $((served * 64)) | record

python3 - "$folder/rows" "$out" <<'PYTHON'
import json, platform, statistics, subprocess, sys
measured = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
rows, rounds = [], {}
for r in measured:
    key = (r.get("peer") or r["what"], r.get("threads"))
    if "texts_per_second" not in r or r.get("what") == "daemon": rows.append(r); continue
    if key not in rounds: rows.append(r)
    rounds.setdefault(key, []).append(r["texts_per_second"])
for r in rows:
    if rates := rounds.get((r.get("peer") or r["what"], r.get("threads"))):
        r.update(texts_per_second=round(statistics.median(rates)), minimum=min(rates), maximum=max(rates), rounds=rates)
cpu = next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
json.dump({"commit": commit, "processor": cpu, "rows": rows}, open(sys.argv[2], "w"), indent=1)
print(f"\n{'what':34} {'threads':>7} {'texts/s':>10} {'p50 µs':>8} {'p99 µs':>8}")
for r in rows:
    if "texts_per_second" not in r: print(json.dumps(r)); continue
    name = r.get("peer") or (r["what"] if r["what"] != "daemon" else f"daemon {r['connections']} × {r['texts_per_request']} texts")
    print(f"{name:34} {r.get('threads', ''):>7} {r['texts_per_second']:>10} {r.get('p50_us', ''):>8} {r.get('p99_us', ''):>8}")
for r in rows:
    base = next((b["texts_per_second"] for b in rows if b.get("peer") == "model2vec" and b["threads"] == r.get("threads")), None)
    if base and r.get("what", "").startswith("engine"):
        print(f"{r['what']}, threads {r['threads']}: {r['texts_per_second'] / base:.1f} × model2vec")
PYTHON
say "wrote $out"
