#!/usr/bin/env bash
# Installs what is missing, builds everything with warnings as errors, and runs every check and test that is done in minutes.
# Scripts of their own: fuzz.sh, sanitize.sh, chaos.sh, chaos-jobs.sh, soak.sh, test-package.sh, test-systemd.sh, test-spark.sh.
#
# Usage: scripts/test.sh
#
# Ends with a line "N passed, N failed"; the exit status is 0 only if nothing failed.
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    '') ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"

passed=0
failed=0
check() {
    local name=$1
    shift
    if "$@"; then
        say "ok: $name"
        passed=$((passed + 1))
    else
        say "FAILED: $name"
        failed=$((failed + 1))
    fi
}

install_packages "${build_packages[@]}" protobuf-compiler pocl-opencl-icd shellcheck systemd python3 groff-base openssl
need_swift

units_are_valid() {
    local output
    output=$(systemd-analyze verify deploy/systemd/*.service deploy/systemd/*.socket 2>&1 || true)
    # The program is not installed on a machine that only tests.
    output=$(grep -v 'is not executable: No such file or directory' <<<"$output" || true)
    [ -z "$output" ] || { echo "$output"; return 1; }
}

# The threshold is ten times the exposure that systemd-analyze shows.
units_are_hardened() {
    local output
    output=$(systemd-analyze security --no-pager --offline=true --threshold=15 deploy/systemd/sae.service 2>&1) \
        || { tail -n 1 <<<"$output"; return 1; }
}

say "building"
swift build -c release --build-tests --explicit-target-dependency-import-check error \
    || die "the build failed: see above"

check "shell scripts (shellcheck)" shellcheck -x -P SCRIPTDIR scripts/*.sh scripts/lib/*.sh .ci/run
check "generated messages" scripts/generate-messages.sh --check
if compgen -G 'deploy/systemd/*.service' >/dev/null; then check "systemd units" units_are_valid; fi
check "exposure of the unit is at most 1.5" units_are_hardened
if [ -f proto-spec/client.py ]; then
    check "golden frames (proto-spec/client.py)" python3 proto-spec/client.py --check-vectors
fi

check "Python client and HTTP (scripts/test-python.sh)" scripts/test-python.sh

say "tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# One after the other: side by side on two cores they starve each other of the times that they set.
swift test -c release --skip-build --disable-xctest --no-parallel 2>&1 | tee "$log" | grep -E '^✘|recorded an issue|Test run with|error:|Fatal' || true
if grep -qE '^✔ Test run with [0-9]+ tests' "$log"; then
    passed=$((passed + $(grep -oE 'Test run with [0-9]+' "$log" | grep -oE '[0-9]+$')))
else
    grep -qE 'Test run with' "$log" || tail -n 40 "$log"
    bad=$(grep -cE '^✘ Test .* failed after' "$log" || true)
    total=$(grep -oE 'Test run with [0-9]+' "$log" | grep -oE '[0-9]+$' || echo 0)
    [ "$bad" -gt 0 ] || bad=1
    failed=$((failed + bad))
    [ "$total" -lt "$bad" ] || passed=$((passed + total - bad))
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
