#!/usr/bin/env bash
# Runs tests under the thread and the address sanitizer, in debug builds of their own.
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

suppressions=$(mktemp)
log=$(mktemp)
trap 'rm -f "$suppressions" "$log"' EXIT
# What the OpenCL driver and its compiler leave behind at the end.
printf 'leak:libpocl.so\nleak:libLLVM\nleak:libOpenCL\nleak:libclang\n' >"$suppressions"
# The backtracer reads the stack in ways that the address sanitizer reports over the real fault.
export SWIFT_BACKTRACE=enable=no LSAN_OPTIONS="suppressions=$suppressions"

failed=0
for sanitizer in "${sanitizers[@]}"; do
    folder=.build-$sanitizer
    say "$sanitizer sanitizer: building"
    swift build --build-tests --sanitize="$sanitizer" --scratch-path "$folder" >"$log" 2>&1 \
        || { tail -n 20 "$log"; die "the build failed"; }
    say "$sanitizer sanitizer: testing $filter"
    status=0
    swift test --skip-build --sanitize="$sanitizer" --scratch-path "$folder" --disable-xctest --no-parallel \
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
