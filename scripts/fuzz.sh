#!/usr/bin/env bash
# Fuzzes what reads the bytes of strangers, under the address sanitizer: frames and the rules of a connection, protobuf
# messages, HTTP requests, model files, rules and generations as text and bytes, settings and tokens, and of corpus jobs the
# records, the journal and the inputs. The target "edits" is no reader: it makes and undoes edits of a program.
#
# Usage: scripts/fuzz.sh [--seconds N] [TARGET…]
#   --seconds N   for each target (60)
#   TARGET…       of configuration edits frames http jobs journal lines messages models rules (all)
#
# A broken promise is told in words by a build for debugging: swift test --filter CorpusTests, once the input is in the corpus.
# An input that fails is left in .build-fuzz/findings. Put it into Tests/Fuzz/Corpus/TARGET, which the tests run over, and
# mend what it found. What libFuzzer gathers on the way is kept in .build-fuzz for the next time.
. "$(dirname "$0")/lib/common.sh"

seconds=60
targets=()
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) usage; exit 0 ;;
        --seconds)
            [ $# -gt 1 ] || die "--seconds needs a number"
            case $2 in ''|*[!0-9]*) die "not a number of seconds: $2" ;; esac
            seconds=$2
            shift 2 ;;
        *)
            [ -d "Tests/Fuzz/Corpus/$1" ] || die "no target $1 (see --help)"
            targets+=("$1")
            shift ;;
    esac
done
[ ${#targets[@]} -gt 0 ] || for folder in Tests/Fuzz/Corpus/*/; do targets+=("$(basename "$folder")"); done

install_packages "${build_packages[@]}" xxd
need_swift
mkdir -p .build-fuzz/findings
# The backtracer reads the stack in ways that the address sanitizer reports over the real trap.
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0

say "building"
FUZZ=1 swift build -c release --scratch-path .build-fuzz -Xswiftc -sanitize=fuzzer,address \
    -Xcc -fsanitize=fuzzer-no-link,address --product fuzz || die "the fuzz targets do not build: see above"
for target in "${targets[@]}"; do
    say "$target for $seconds s"
    gathered=.build-fuzz/corpus-$target
    mkdir -p "$gathered"
    if [ "$target" = frames ]; then
        # The first byte chooses how an input is cut.
        for frame in proto-spec/vectors/*.hex; do
            { printf '\0'; xxd -r -p "$frame"; } >"$gathered/$(basename "$frame" .hex)"
        done
    fi
    .build-fuzz/release/fuzz "$target" -max_total_time="$seconds" -artifact_prefix=".build-fuzz/findings/$target-" \
        -print_final_stats=1 "$gathered" "Tests/Fuzz/Corpus/$target" || die "$target failed: the input is in .build-fuzz/findings"
done
say "nothing found"
