#!/usr/bin/env bash
# Tests the Debian package in a small system of its own: install, use, upgrade under load, remove, purge.
#
# Usage: scripts/test-package.sh PACKAGE.deb
#
# Needs root. The system is made once, in .build-package/root, from the mirror that this machine's apt uses; each run works
# on a copy. The upgrade under load needs systemd booted in that copy. Exit status: 0 all passed, 1 something failed, 3 a
# part was not run because the machine does not allow it, and the output says which.
# shellcheck disable=SC2016  # expanded in the system, not here
. "$(dirname "$0")/lib/common.sh"
. "$(dirname "$0")/lib/machine.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    '') die "needs the package to test (see --help): scripts/package.sh makes it" ;;
    -*) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
package=$1
[ -f "$package" ] || die "no file $package: scripts/package.sh makes it"
scratch=$PWD/.build-package
mkdir -p "$scratch"
need_machine_tools
need_base "$package"

folder=$(mktemp -d "$scratch/test-XXXXXX")
trap 'power_off; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# The same package with a later version.
later=$folder/later.deb
dpkg-deb --raw-extract "$package" "$folder/unpacked"
version=$(dpkg-deb --field "$package" Version)
sed -i "s/^Version: .*/Version: $version+later/" "$folder/unpacked/DEBIAN/control"
dpkg-deb --root-owner-group --build "$folder/unpacked" "$later" >/dev/null
texts=("A cat sat on the mat." "Shares lost value at the start of the week.")
"$folder/unpacked/usr/bin/sae" embed --model "$folder/unpacked/usr/share/sae/models/default.sae" "${texts[@]}" >"$folder/expected"

here() { in_root "$folder/root" "$@"; }
status_of() { dpkg-query --admindir="$folder/root/var/lib/dpkg" -W -f='${db:Status-Status} ${Version}' sae 2>/dev/null || true; }
# All files of the system but those that package tools keep for themselves.
files() {
    (cd "$folder/root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log -o -path ./var/lib/apt \
        -o -path ./tmp -o -path ./run \) -prune -o -print | sort; ls -A var/cache run)
}
add_packages() {
    cp "$package" "$folder/root/sae.deb"
    cp "$later" "$folder/root/later.deb"
}

say "without systemd running: install, use, upgrade, remove, purge"
fresh_root
add_packages
installs() { here apt-get install -y --no-install-recommends /sae.deb && [ "$(status_of)" = "installed $version" ]; }
check "it installs with what it depends on" installs
[ "$failed" -eq 0 ] || { finish || exit 1; }

makes_user() {
    here getent passwd sae && here getent group sae && [ "$(here getent passwd sae | cut -d: -f6,7)" = /var/lib/sae:/usr/sbin/nologin ]
}
check "it makes the user and group sae" makes_user

is_enabled() {
    [ -L "$folder/root/etc/systemd/system/multi-user.target.wants/sae.service" ] \
        && [ -L "$folder/root/etc/systemd/system/sockets.target.wants/sae.socket" ]
}
check "service and socket are enabled" is_enabled

finds_libraries() {
    ! here ldd /usr/bin/sae | grep 'not found' && ! here ldd /usr/bin/sae | grep -i swift
}
check "every library is there, and none is Swift's" finds_libraries

embeds() { here setpriv --reuid=nobody --regid=nogroup --clear-groups sae embed "${texts[@]}" | diff - "$folder/expected"; }
check "anyone can embed with the packaged model, to the same bits" embeds

tells_revision() { here sae --version | grep -E '^[0-9.]+ \([0-9a-f]{12}\)$'; }
check "sae --version has version and revision" tells_revision

completes() {
    here bash -c '. /usr/share/bash-completion/completions/sae
        COMP_LINE="sae em" COMP_POINT=6 COMP_WORDS=(sae em) COMP_CWORD=1; _sae sae em sae; echo "${COMPREPLY[*]}"' \
        | grep -qx embed
}
check "bash completes commands" completes

has_pages() {
    local name
    for name in $(here sae --help | sed -n '/^SUBCOMMANDS/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p'); do
        [ -s "$folder/root/usr/share/man/man1/sae-$name.1.gz" ] || { echo "no page for $name"; return 1; }
    done
    [ -n "${name:-}" ] && [ -s "$folder/root/usr/share/man/man5/sae.toml.5.gz" ]
}
check "each command has a man page" has_pages

serves() {
    here bash -c 'setpriv --reuid=sae --regid=sae --init-groups sae serve --unix /tmp/sae.sock & daemon=$!
        sae embed --connect unix:/tmp/sae.sock --wait 20 "$@"; status=$?; kill $daemon; wait $daemon || status=$?; exit $status' \
        - "${texts[@]}" >"$folder/answer" && diff "$folder/answer" "$folder/expected"
}
check "the daemon serves as user sae and ends well, without systemd" serves

keeps_settings() {
    sed -i 's/^#level = "info"/level = "debug"/' "$folder/root/etc/sae/sae.toml"
    here dpkg -i /later.deb && [ "$(status_of)" = "installed $version+later" ] \
        && here sae serve --check-config | grep -F 'log.level = "debug"  # /etc/sae/sae.toml'
}
check "an upgrade keeps changed settings" keeps_settings

removes() {
    mkdir -p "$folder/root/var/lib/sae" "$folder/root/var/cache/sae/opencl"
    here dpkg --remove sae && [ ! -e "$folder/root/usr/bin/sae" ] && [ -d "$folder/root/var/lib/sae" ] \
        && grep -qx 'level = "debug"' "$folder/root/etc/sae/sae.toml"
}
check "removing takes the program and leaves settings and state" removes

purges() {
    here dpkg --purge sae && [ -z "$(status_of)" ] && [ ! -e "$folder/root/etc/sae" ] && [ ! -e "$folder/root/var/lib/sae" ] \
        && [ ! -e "$folder/root/var/cache/sae" ]
}
check "purging takes settings and state" purges

leaves_nothing() {
    files >"$folder/before" && here dpkg -i /sae.deb && files >"$folder/between" && ! cmp -s "$folder/before" "$folder/between" \
        && here dpkg --purge sae && files >"$folder/after" && diff "$folder/before" "$folder/after"
}
check "installing and purging again leaves the files as they were" leaves_nothing

keeps_administrators() {
    here dpkg -i /sae.deb && echo "# mine" >"$folder/root/etc/sae/tokens" && here dpkg --purge sae && [ -f "$folder/root/etc/sae/tokens" ]
}
check "purging leaves an administrator's tokens" keeps_administrators

say "with systemd: install, upgrade under load, remove, purge"
fresh_root
add_packages
if ! boot; then
    finish || true
    cannot_run "systemd did not boot in $folder/root, so the upgrade under load was not tried: see its output above"
fi
sae_is() { [ "$(inside systemctl is-active sae.service)" = "$1" ] && [ "$(inside systemctl is-active sae.socket)" = "$1" ]; }
starts() { inside apt-get install -y --no-install-recommends /sae.deb && within 30 sae_is active; }
check "installing starts service and socket" starts
[ "$(status_of)" = "installed $version" ] || { finish || exit 1; }
answers() { inside sae embed --connect unix:/run/sae.sock --wait 20 "${texts[@]}" | diff - "$folder/expected"; }
check "it answers on /run/sae.sock, to the same bits" answers

upgrades_under_load() {
    local before after socket
    before=$(inside systemctl show -P MainPID sae.service)
    socket=$(inside systemctl show -P ActiveEnterTimestampMonotonic sae.socket)
    # Four clients, each with one request after the other, until the upgrade is over.
    inside bash -c '
        client() {
            while [ ! -e /stop ]; do
                answer=$(sae embed --connect unix:/run/sae.sock --wait 20 "A cat sat on the mat.") && echo "$answer" || echo "failed: $?"
            done
        }
        for one in 1 2 3 4; do client >/answers.$one 2>/errors.$one & done; wait' &
    local load=$!
    # And one with many requests in flight at each moment: the old daemon has to drain some, and refuse none for good.
    inside bash -c 'seq -f "Item %.0f lies on shelf 12." 40000 >/texts; sae embed --input /texts --dimensions 8 >/right
        while [ ! -e /stop ]; do
            sae embed --connect unix:/run/sae.sock --wait 20 --input /texts --dimensions 8 >/stream || { echo "failed: $?"; continue; }
            cmp /stream /right && echo right
        done >/streams' &
    local stream=$!
    within 20 test -s "$folder/root/answers.4" || return 1
    within 60 test -s "$folder/root/streams" || return 1
    inside dpkg -i /later.deb || return 1
    within 30 sae_is active || return 1
    sleep 3
    inside touch /stop
    wait "$load" || { echo "a client failed"; return 1; }
    wait "$stream" || { echo "the client of many requests failed"; return 1; }
    after=$(inside systemctl show -P MainPID sae.service)
    echo "pid $before, then $after"
    [ "$before" != "$after" ] && [ "$after" != 0 ] || return 1
    [ "$socket" = "$(inside systemctl show -P ActiveEnterTimestampMonotonic sae.socket)" ] || { echo "the socket was restarted"; return 1; }
    cat "$folder"/root/answers.? | sort | uniq -c | cut -c 1-60
    [ "$(cat "$folder"/root/answers.? | sort -u)" = "$(head -n 1 "$folder/expected")" ] || { echo "not every answer is right"; return 1; }
    [ "$(sort -u "$folder/root/streams")" = right ] || { sort "$folder/root/streams" | uniq -c; return 1; }
    inside journalctl -b --no-pager -o cat --output-fields=SAE_EVENT _PID="$before" | grep -x drain_end
}
check "an upgrade under load: old requests drain, new ones wait, none fails" upgrades_under_load

removes_running() {
    sae_is active && inside dpkg --remove sae && sae_is inactive && inside test ! -e /run/sae.sock \
        && ! inside bash -c 'readlink /proc/[0-9]*/exe' | grep -F /usr/bin/sae
}
check "removing stops service and socket" removes_running
purges_running() { inside test -e /etc/sae -a -e /var/lib/sae -a -e /var/cache/sae && inside dpkg --purge sae && inside test ! -e /etc/sae -a ! -e /var/lib/sae -a ! -e /var/cache/sae; }
check "purging takes settings, state and cache" purges_running
is_healthy() { inside systemctl daemon-reload && [ "$(inside systemctl list-unit-files 'sae.*' --no-legend)" = "" ]; }
check "systemd knows no unit of it any more" is_healthy
power_off
finish
