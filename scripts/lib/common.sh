# What several scripts share. Source it; it moves to the repository's root.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Usage: at_most COUNT "$@": a further argument is an error, not something to be dropped.
at_most() {
    local count=$1
    shift
    while [ "$count" -gt 0 ] && [ $# -gt 0 ]; do shift; count=$((count - 1)); done
    [ $# -eq 0 ] || die "unexpected argument $1 (see --help)"
}

# The comment block at the top of the calling script is its help.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# Installs the Debian packages among the arguments that are missing.
install_packages() {
    local missing=() package run=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "needs the packages ${missing[*]}, and this system has no apt-get to install them"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "needs root, or sudo, to install ${missing[*]}"
        run=(sudo)
    fi
    say "installing ${missing[*]}"
    "${run[@]}" apt-get update -qq || die "apt-get update failed: is the network up?"
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null || die "apt-get could not install ${missing[*]}"
}

# What the binary is built from.
# shellcheck disable=SC2034  # read by the scripts that source this file
build_packages=(libsentencepiece-dev libopenblas-dev ocl-icd-opencl-dev libsystemd-dev libssl-dev zlib1g-dev liblmdb-dev libtomlplusplus-dev pkg-config)

need_swift() {
    command -v swift >/dev/null || die "no swift in PATH: install a Swift 6.3 toolchain first"
    swift --version 2>/dev/null | grep -qE 'Swift version (6\.([3-9]|[1-9][0-9])|[7-9])' \
        || die "needs Swift 6.3 or later, found: $(swift --version 2>/dev/null | head -n 1)"
}
