#!/usr/bin/env bash
# Runs tests under the thread and the address sanitizer, in release builds of their own: a build for debugging computes 25 to 150
# times as slowly, and with a sanitizer on top a test that lets the daemon compute takes minutes.
#
# Both make everything slower all the same, so tests wait ten times as long as usual for what must happen (TEST_PATIENCE). Tests whose
# names end in "allocates nothing once warm" are left out: they count what malloc is asked for, and a sanitizer has its own.
#
# Usage: scripts/sanitize.sh [thread|address] [FILTER]      (both, one after the other; the service and its clients unless told)
#
# FILTER is a regular expression over test names, as `swift test --filter` takes it. Ends with a line for each sanitizer.
. "$(dirname "$0")/lib/common.sh"

sanitizers=(thread address)
case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    thread|address)
        sanitizers=("$1")
        shift ;;
esac
filter=${1:-ServiceTests|SAEClientTests|WireTests}
at_most 1 "$@"

install_packages "${build_packages[@]}" pocl-opencl-icd openssl
need_swift

log=$(mktemp)
order=$(mktemp)
trap 'rm -f "$log" "$order"' EXIT
clang -O1 -Wall -Wextra -Werror -shared -fPIC -o "$order" Tests/Sanitizers/order.c || die "order.c does not compile"
# The backtracer reads the stack in ways that the address sanitizer reports over the real fault.
export SWIFT_BACKTRACE=enable=no TEST_PATIENCE=${TEST_PATIENCE:-10} LSAN_OPTIONS="suppressions=$PWD/Tests/Sanitizers/leaks.txt" \
    TSAN_OPTIONS="suppressions=$PWD/Tests/Sanitizers/races.txt"

failed=0
for sanitizer in "${sanitizers[@]}"; do
    folder=.build-$sanitizer
    say "$sanitizer sanitizer: building"
    # The tests and the program that some of them start; all products would be a compiler of protocols more.
    for product in saePackageTests sae; do
        swift build -c release --product "$product" --sanitize="$sanitizer" --scratch-path "$folder" >"$log" 2>&1 \
            || { tail -n 20 "$log"; die "the build failed"; }
    done
    say "$sanitizer sanitizer: testing $filter"
    status=0
    preload=
    [ "$sanitizer" = address ] || preload=$order
    LD_PRELOAD=$preload swift test -c release --skip-build --sanitize="$sanitizer" --scratch-path "$folder" --disable-xctest --no-parallel \
        --filter "$filter" --skip 'allocates nothing once warm' >"$log" 2>&1 || status=$?
    reports=$(grep -cE '^(WARNING: ThreadSanitizer|==[0-9]+==ERROR: (AddressSanitizer|LeakSanitizer))' "$log" || true)
    grep -E '^✘|recorded an issue|Test run with' "$log" || true
    grep -qE 'Test run with 0 tests' "$log" && die "no test is named $filter"
    if [ "$status" -ne 0 ] || [ "$reports" -ne 0 ]; then
        cp "$log" "$folder/report.log"
        say "$sanitizer sanitizer: $reports reports, exit status $status; all of it is in $folder/report.log"
        failed=1
    else
        say "$sanitizer sanitizer: nothing found"
    fi
done
exit "$failed"
