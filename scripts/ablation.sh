#!/usr/bin/env bash
# What each family of rules is worth: fits and scores a model with one family more each time, on the texts that come with
# vectors and their changed copies (830,000, three epochs: less than the shipped model sees, so that all of it takes a
# quarter of an hour), and prints a table of development scores, held-out agreement with the teacher, bytes, and
# microseconds a text on one thread. Needs what scripts/fit-default-model.sh keeps.
#
# Usage: scripts/ablation.sh [OUT.json]
#   SAE_DATA, SAE_FIT_CACHE   as for scripts/fit-default-model.sh
#   SAE_PHRASES               discrete rules for the last row (default: mined by sae rules mine from the full model)
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    -*) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
out=${1:-bench-results/ablation.json}
data=${SAE_DATA:-../shared/data}
cache=${SAE_FIT_CACHE:-$HOME/.cache/sae-teacher}
[ -s "$cache/perturbed.npy" ] || die "nothing captured in $cache: run scripts/fit-default-model.sh first"
teacher=$data/teacher
folder=$cache/ablation
mkdir -p "$folder" "$(dirname "$out")"
say "building"
swift build -c release --product sae || die "the build failed: see above"
# A copy, so that a build beside this run disturbs nothing.
sae=$folder/sae
cp "$(swift build -c release --show-bin-path)/sae" "$sae"
: >"$folder/rows"
dev=$data/eval-dev
texts=$folder/texts
if [ ! -s "$texts" ]; then
    (gzip -dc "$data/teacher/texts.txt.gz" || true) 2>/dev/null | head -n 20000 >"$texts"
fi

measure() {
    local name=$1
    shift
    local model=$folder/$name.sae
    "$sae" model info "$model" >/dev/null 2>&1 || "$sae" fit "$teacher/texts.txt.gz" "$teacher/vectors.npy" --scales "$teacher/scales.npy" \
        --also "$cache/perturbed.txt" "$cache/perturbed.npy" --contrasts "$cache/held-copies.txt" "$cache/held-copies.npy" \
        --basis "$teacher/basis.npy" --pieces "$cache/pieces.model" --start "$cache/pieces.npy" \
        --epochs 3 --output "$model" "$@"
    python3 - "$sae" "$model" "$name" "$dev" "$texts" <<'PYTHON' | tee -a "$folder/rows"
import json, os, subprocess, sys
sae, model, name, dev, texts = sys.argv[1:]
def lines(*command):
    output = subprocess.run([sae, *command, "--model", model], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
row = {"model": name, "bytes": os.path.getsize(model)}
for key in ("stsb-dev", "sick-trial", "sick-train"):
    row[key] = lines("eval", "sts", f"{dev}/{key}.tsv", "--json")[0]["spearman"]
row["captions"] = lines("eval", "retrieval", f"{dev}/captions-retrieval.tsv", "--json")[0]["accuracy"]
knn = ("eval", "knn", f"{dev}/clinc150-train.tsv", f"{dev}/clinc150-dev.tsv", "--json")
row["clinc150"] = lines(*knn)[0]["accuracy"]
info = json.loads(subprocess.run([sae, "model", "info", model, "--json"], capture_output=True, text=True).stdout)
for key in ("held-out-cosine", "held-out-agreement", "contrast-agreement"):
    row[key] = float(info["provenance"].get(key, "nan"))
row["microseconds"] = round(1e6 / lines("bench", texts)[0]["texts_per_second"], 2)
print(json.dumps(row))
PYTHON
}
measure bag --context-rank 0 --neighbour-rank 0 --couplings 0 --rules 0
measure context-gate --neighbour-rank 0 --couplings 0 --rules 0
measure neighbour-gate --couplings 0 --rules 0
measure couplings --rules 0
measure context-rules
phrases=${SAE_PHRASES:-$folder/phrases.txt}
[ -s "$phrases" ] || "$sae" rules mine "$teacher/texts.txt.gz" "$teacher/vectors.npy" --model "$folder/context-rules.sae" \
    --output "$phrases"
measure discrete-rules --phrases "$phrases"

python3 - "$folder/rows" "$out" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
json.dump(rows, open(sys.argv[2], "w"), indent=1)
keys = list(rows[0])
print("| " + " | ".join(keys) + " |")
print("|" + "---|" * len(keys))
for row in rows: print("| " + " | ".join(str(row[key]) for key in keys) + " |")
PYTHON
say "wrote $out"
