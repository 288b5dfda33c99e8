#!/usr/bin/env bash
# Runs tests under the thread and the address sanitizer, in debug builds of their own.
#
# Tests that wait for a bounded time may fail on a slow machine: both make everything many times slower. What counts are the
# reports. AllocationTests and others that count allocations cannot pass, because a sanitizer has a malloc of its own.
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
mutex_order=$(mktemp)
trap 'rm -f "$log" "$mutex_order"' EXIT
clang -O1 -Wall -Wextra -Werror -shared -fPIC -o "$mutex_order" Tests/Sanitizers/mutex_order.c || die "mutex_order.c does not compile"
# The backtracer reads the stack in ways that the address sanitizer reports over the real fault.
export SWIFT_BACKTRACE=enable=no LSAN_OPTIONS="suppressions=$PWD/Tests/Sanitizers/leaks.txt"

failed=0
for sanitizer in "${sanitizers[@]}"; do
    folder=.build-$sanitizer
    say "$sanitizer sanitizer: building"
    swift build --build-tests --sanitize="$sanitizer" --scratch-path "$folder" >"$log" 2>&1 \
        || { tail -n 20 "$log"; die "the build failed"; }
    say "$sanitizer sanitizer: testing $filter"
    status=0
    preload=
    [ "$sanitizer" = address ] || preload=$mutex_order
    LD_PRELOAD=$preload swift test --skip-build --sanitize="$sanitizer" --scratch-path "$folder" --disable-xctest --no-parallel \
        --filter "$filter" >"$log" 2>&1 || status=$?
    reports=$(grep -cE '^(WARNING: ThreadSanitizer|==[0-9]+==ERROR: (AddressSanitizer|LeakSanitizer))' "$log" || true)
    grep -E '^✘|recorded an issue|Test run with' "$log" || true
    if [ "$status" -ne 0 ] || [ "$reports" -ne 0 ]; then
        cp "$log" "$folder/report.log"
        say "$sanitizer sanitizer: $reports reports, exit status $status; all of it is in $folder/report.log"
        failed=1
    else
        say "$sanitizer sanitizer: nothing found"
    fi
done
exit "$failed"
