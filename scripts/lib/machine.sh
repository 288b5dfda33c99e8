# A small Debian system in a folder of its own, to install the package in and to boot. Source it after common.sh.
# Nothing here touches the host's root: a booted systemd clears /tmp and writes to /var of the root that it is given.
# shellcheck shell=bash
# shellcheck disable=SC2154  # `scratch` is set by the scripts that source this file

# What the package needs from the distribution beside what it depends on, and what the tests of the scorers need.
base_packages=(systemd systemd-sysv dbus ca-certificates)
cached_packages=(pocl-opencl-icd binutils bash-completion)

# Exit status of a test that could not run on this machine.
not_run=3
cannot_run() { printf '%s: NOT RUN: %s\n' "$(basename "$0")" "$*" >&2; exit "$not_run"; }

passed=0
failed=0
check() {
    local name=$1
    shift
    if "$@" >"$folder/check.log" 2>&1; then
        say "ok: $name"
        passed=$((passed + 1))
    else
        say "FAILED: $name"
        sed 's/^/    /' "$folder/check.log" | tail -n 30
        failed=$((failed + 1))
    fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

need_machine_tools() {
    [ "$(id -u)" -eq 0 ] || cannot_run "needs root to make and enter a system of its own"
    install_packages debootstrap systemd-container util-linux
    unshare -m true 2>/dev/null || cannot_run "this machine does not let processes have mount namespaces of their own"
}

# The mirror that this machine's own apt uses for the suite.
mirror() {
    apt-get indextargets --format "\$(CODENAME) \$(REPO_URI)" 'Created-By: Packages' | awk '$1 == "bookworm" { print $2; exit }'
}

# systemd-nspawn under a name of its own, which leaves nothing in the host's /run.
nspawn=(unshare --mount sh -c 'mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn && exec systemd-nspawn "$@"' -
    --quiet --register=no --keep-unit "--machine=sae-test-$$")

# Runs a command in a root, with no systemd running there.
in_root() {
    local root=$1
    shift
    "${nspawn[@]}" --pipe --directory="$root" \
        --setenv=DEBIAN_FRONTEND=noninteractive --setenv=LC_ALL=C.UTF-8 -- "$@" </dev/null
}

# Makes the base once, with the archives of all that tests install: about ten minutes and 600 MB.
need_base() {
    local base=$scratch/root wanted="${base_packages[*]} ${cached_packages[*]}" depends
    depends=$(dpkg-deb --field "$1" Depends | tr ',' '\n' | sed 's/|.*//; s/(.*//' | xargs)
    [ "$(cat "$base.made-for" 2>/dev/null)" = "$wanted $depends" ] && return 0
    if [ ! -f "$base/etc/debian_version" ] || [ ! -f "$base.bootstrapped" ]; then
        local from
        from=$(mirror)
        [ -n "$from" ] || cannot_run "apt on this machine knows no mirror of bookworm"
        say "making a system in $base (some minutes)"
        rm -rf "$base"
        debootstrap --variant=minbase --include="$(IFS=,; echo "${base_packages[*]}")" bookworm "$base" "$from" \
            >"$scratch/debootstrap.log" 2>&1 || die "debootstrap failed: all of its output is in $scratch/debootstrap.log"
        touch "$base.bootstrapped"
    fi
    say "fetching what the package depends on"
    in_root "$base" apt-get update -qq || die "apt-get update failed in $base: is the network up?"
    # shellcheck disable=SC2086  # names of packages
    in_root "$base" apt-get install -y -qq --no-install-recommends --download-only "${cached_packages[@]}" $depends \
        >"$scratch/debootstrap.log" 2>&1 || die "apt-get could not fetch the packages: see $scratch/debootstrap.log"
    echo "$wanted $depends" >"$base.made-for"
}

# A copy of the base in $folder/root.
fresh_root() {
    rm -rf "$folder/root"
    cp -a --reflink=auto "$scratch/root" "$folder/root"
    : >"$folder/root/etc/machine-id"
    rm -f "$folder/root/usr/sbin/policy-rc.d"
}

# Boots $folder/root; then `inside` runs commands there. False if the machine does not come up.
boot() {
    "${nspawn[@]}" --private-network --console=pipe --directory="$folder/root" \
        --hostname=sae-test --boot </dev/null >"$folder/console.log" 2>&1 &
    container=$!
    for _ in $(seq 600); do
        kill -0 "$container" 2>/dev/null || break
        leader=$(pgrep -P "$container" | head -n 1) || true
        if [ -n "${leader:-}" ] && inside systemctl is-system-running 2>/dev/null | grep -qE '^(running|degraded)$'; then
            return 0
        fi
        sleep 0.1
    done
    cat "$folder/console.log" >&2
    return 1
}
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}
power_off() {
    [ -n "${container:-}" ] && kill -0 "$container" 2>/dev/null || return 0
    [ -z "${leader:-}" ] || inside systemctl poweroff >/dev/null 2>&1 || true
    for _ in $(seq 300); do
        kill -0 "$container" 2>/dev/null || { container=; return 0; }
        sleep 0.1
    done
    kill -KILL "$container" 2>/dev/null || true
    container=
}

# Runs a command until it succeeds, at most SECONDS.
within() {
    local seconds=$1 end
    shift
    end=$((SECONDS + seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || { echo "not within $seconds s: $*"; return 1; }
        sleep 0.1
    done
}
