#!/usr/bin/env bash
# Shows sae adapt on a domain that a model has not seen: splits the corpus into texts about software (package descriptions,
# manuals) and others, fits a model to the others, adapts it to the domain, and prints what it gained there and what it lost
# elsewhere. Finished parts are kept and used again.
#
# Usage: scripts/adapt-demo.sh [FOLDER]
#   FOLDER     where everything goes (default: ~/.cache/sae-adapt-demo)
#   SAE_DATA   the folder with teacher/ and eval-dev/ (default: ../shared/data)
. "$(dirname "$0")/lib/common.sh"

case ${1:-} in -h|--help) usage; exit 0 ;; esac
at_most 1 "$@"
data=${SAE_DATA:-../shared/data}
folder=${1:-$HOME/.cache/sae-adapt-demo}
for file in texts.txt.gz vectors.npy; do
    [ -r "$data/teacher/$file" ] || die "$data/teacher/$file is missing: set SAE_DATA"
done
install_packages "${build_packages[@]}" python3-numpy
need_swift
mkdir -p "$folder"
say "building"
swift build -c release --product sae
sae=$(swift build -c release --show-bin-path)/sae

if [ ! -s "$folder/general.npy" ]; then
    say "splitting the corpus"
    python3 scripts/teacher/software-texts.py "$data/teacher/texts.txt.gz" "$data/teacher/vectors.npy" "$folder"
fi
if [ ! -s "$folder/start.sae" ]; then
    say "fitting a model without the domain"
    "$sae" fit "$folder/other.txt" "$folder/other.npy" --epochs 3 --name start --output "$folder/start.sae"
fi
say "adapting"
"$sae" adapt "$folder/domain.txt" --vectors "$folder/domain.npy" --general "$folder/general.txt" \
    --general-vectors "$folder/general.npy" --model "$folder/start.sae" --output "$folder/adapted.sae"

dev=$data/eval-dev
[ -r "$dev/stsb-dev.tsv" ] || exit 0
for model in start adapted; do
    say "development sets: $model.sae"
    "$sae" eval sts --model "$folder/$model.sae" "$dev/stsb-dev.tsv" "$dev/sick-train.tsv"
    "$sae" eval retrieval --model "$folder/$model.sae" "$dev/captions-retrieval.tsv"
    "$sae" eval knn --model "$folder/$model.sae" "$dev/clinc150-train.tsv" "$dev/clinc150-dev.tsv"
done
