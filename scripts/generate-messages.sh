#!/usr/bin/env bash
# Writes Sources/Messages/sae.pb.swift from proto-spec/sae.proto, with the generator of the swift-protobuf
# release that Package.swift names.
#
# Usage: scripts/generate-messages.sh [--check]
#   --check   writes nothing; fails if the committed file differs from a fresh one
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    ''|--check) ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
install_packages protobuf-compiler
need_swift
swift build -c release --product protoc-gen-swift >/dev/null || die "the generator does not build"
plugin=$(swift build -c release --show-bin-path)/protoc-gen-swift
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
protoc --plugin="$plugin" --swift_out="$out" --swift_opt=Visibility=Package \
    --swift_opt=UseAccessLevelOnImports=true -I proto-spec sae.proto
if [ "${1:-}" = --check ]; then
    cmp -s "$out/sae.pb.swift" Sources/Messages/sae.pb.swift \
        || die "Sources/Messages/sae.pb.swift is not what proto-spec/sae.proto gives: run scripts/generate-messages.sh"
    say "generated messages are current"
else
    cp "$out/sae.pb.swift" Sources/Messages/sae.pb.swift
    say "wrote Sources/Messages/sae.pb.swift"
fi
