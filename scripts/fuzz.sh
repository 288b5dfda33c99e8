#!/usr/bin/env bash
# Fuzzes the frame decoder, the model file, the rules (as text and as bytes) and the configuration (file, environment and
# flags), each for a while, under the address sanitizer.
#
# Usage: scripts/fuzz.sh [SECONDS]      (60 unless told)
#
# An input that fails is left in .build-fuzz/findings; make it a regression test.
. "$(dirname "$0")/lib/common.sh"

seconds=60
case "${1:-}" in
    '') ;;
    -h|--help) usage; exit 0 ;;
    *[!0-9]*) die "not a number of seconds: $1 (see --help)" ;;
    *) seconds=$1 ;;
esac
at_most 1 "$@"

install_packages "${build_packages[@]}" xxd
need_swift
mkdir -p .build-fuzz/findings
# The backtracer reads the stack in ways that the address sanitizer reports over the real trap.
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0

for name in fuzz-frames fuzz-models fuzz-rules fuzz-configuration; do
    say "building $name"
    FUZZ=1 swift build --scratch-path .build-fuzz -Xswiftc -sanitize=fuzzer,address \
        -Xcc -fsanitize=fuzzer-no-link,address --product "$name" || die "$name does not build: see above"
    say "$name for $seconds s"
    corpus=.build-fuzz/corpus-$name
    mkdir -p "$corpus"
    # A start; the first byte chooses how an input is cut, or what it is.
    case $name in
        fuzz-frames)
            for frame in proto-spec/vectors/*.hex; do
                { printf '\0'; xxd -r -p "$frame"; } >"$corpus/$(basename "$frame" .hex)"
            done ;;
        fuzz-rules)
            { printf '\0'; cat; } >"$corpus/text" <<'RULES'
phrases 3
context 2
class water = %5 "▁off"
"▁new" "▁york" => replace $0 worth 1.5
"▁turn" ..2 "▁off" => add $1 worth 0.5 coefficient 2 offset 0.25 context 0.5 -1
%3 ~5 @water => add $2
RULES
            ;;
        fuzz-configuration)
            { printf '\0'; sed 's/^#\([a-z]\)/\1/' deploy/config/sae.toml; } >"$corpus/file"
            printf '\1SAE_LISTEN_TCP=127.0.0.1:1\nSAE_WORKERS_COUNT=3\nPATH=/bin' >"$corpus/environment"
            printf '\2--listen=127.0.0.1:1\n--workers\n3\n--unix\n' >"$corpus/flags" ;;
    esac
    .build-fuzz/debug/"$name" -max_total_time="$seconds" -artifact_prefix=.build-fuzz/findings/ \
        -print_final_stats=1 "$corpus" || die "$name failed: the input is in .build-fuzz/findings"
done
say "nothing found"
