#!/usr/bin/env bash
# Tests the daemon under a real systemd, booted in a small system of its own with the package installed: start, confinement,
# journal, reload, watchdog, crash, socket activation, drain, credentials, OpenCL with its cache, and the next boot.
#
# Usage: scripts/test-systemd.sh PACKAGE.deb
#
# Needs root. Exit status: 0 all passed, 1 something failed, 3 nothing was run because systemd does not boot on this machine.
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
fresh_root
root=$folder/root
cp "$package" "$root/sae.deb"
boot || cannot_run "systemd did not boot in $root: see its output above; nothing of the unit was tried"
inside apt-get install -y -qq --no-install-recommends /sae.deb >"$folder/check.log" 2>&1 \
    || { tail -n 20 "$folder/check.log"; die "the package does not install: scripts/test-package.sh looks closer"; }

text="A cat sat on the mat."
expected=$(inside sae embed "$text")
of() { inside systemctl show -P "$1" sae.service; }
ask() { inside sae embed --connect "${1:-unix:/run/sae.sock}" --wait "${2:-20}" "$text"; }
answers() { [ "$(ask "$@")" = "$expected" ]; }
is() { [ "$(of "$1")" = "$2" ] || { echo "$1 is $(of "$1"), not $2"; return 1; }; }
# Events of the daemon with process id $1, one a line.
events() { inside journalctl -b --no-pager -o cat --output-fields=SAE_EVENT SYSLOG_IDENTIFIER=sae _PID="$1" SAE_EVENT="$2"; }
get() {
    inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/7734; printf "GET $1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" >&3; cat <&3' - "$1"
}
configure() {
    inside mkdir -p /etc/systemd/system/sae.service.d
    cat >"$root/etc/systemd/system/sae.service.d/$1.conf"
    inside systemctl daemon-reload
}
forget() {
    inside rm -f "/etc/systemd/system/sae.service.d/$1.conf"
    inside systemctl daemon-reload
}

starts() {
    # From nothing; when the command returns the daemon is ready: a client need not wait.
    inside systemctl stop sae.service sae.socket && inside systemctl start sae.socket sae.service \
        && is ActiveState active && is Type notify && answers unix:/run/sae.sock 0.5
}
check "start returns when the daemon is ready" starts

shows_status() {
    local text
    text=$(inside systemctl status --no-pager sae.service | sed -n 's/^ *Status: //p')
    echo "Status: $text"
    [[ $text =~ generation && $text =~ connections ]]
}
check "systemctl status says generation and connections" shows_status

is_confined() {
    local pid
    pid=$(of MainPID)
    inside bash -c 'grep -E "^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/'"$pid"'/status
        grep -E " / " /proc/'"$pid"'/mounts; stat -c "%n %U:%G %a" /var/lib/sae /var/cache/sae /run/sae' >"$folder/confined"
    cat "$folder/confined"
    local uid
    uid=$(inside id -u sae)
    grep -qE "^Uid:\s+$uid\s+$uid" "$folder/confined" && grep -qE '^CapEff:\s+0+$' "$folder/confined" \
        && grep -qE '^CapBnd:\s+0+$' "$folder/confined" && grep -qE '^NoNewPrivs:\s+1' "$folder/confined" \
        && grep -qE '^Seccomp:\s+2' "$folder/confined" && grep -qE ' / \S+ ro[, ]' "$folder/confined" \
        && grep -qx '/var/lib/sae sae:sae 750' "$folder/confined" && grep -qx '/var/cache/sae sae:sae 700' "$folder/confined" \
        && grep -qx '/run/sae sae:sae 750' "$folder/confined"
}
check "the process has no capability, a filter of system calls and a root that it cannot write" is_confined

is_not_for_others() {
    [ "$(inside stat -c '%U:%G %a' /run/sae.sock)" = root:sae\ 660 ] && ! inside setpriv --reuid=nobody --regid=nogroup --clear-groups \
        sae embed --connect unix:/run/sae.sock --wait 1 "$text" \
        && [ "$(inside setpriv --reuid=nobody --regid=sae --clear-groups sae embed --connect unix:/run/sae.sock "$text")" = "$expected" ]
}
check "only the group sae may connect to the socket" is_not_for_others

verifies() {
    local output
    output=$(inside systemd-analyze verify /lib/systemd/system/sae.service /lib/systemd/system/sae.socket 2>&1)
    [ -z "$output" ] || { echo "$output"; return 1; }
}
check "systemd-analyze verify has nothing to say" verifies
check "systemd-analyze security is at most 1.5" inside systemd-analyze security --no-pager --threshold=15 sae.service

writes_fields() {
    # What libraries write themselves comes through syslog.
    inside journalctl -b --no-pager -o json _TRANSPORT=journal _PID="$(of MainPID)" >"$folder/journal"
    python3 - "$folder/journal" <<'PYTHON'
import json, sys
records = {}
for line in open(sys.argv[1], encoding="utf-8"):
    record = json.loads(line)
    assert "SAE_EVENT" in record, record
    records.setdefault(record["SAE_EVENT"], []).append(record)
print({event: len(them) for event, them in records.items()})
assert records["startup"][0]["SAE_VERSION"] and records["ready"][0]["SAE_GENERATION"]
assert any(record["SAE_ENDPOINT"].startswith("unix:/run/sae.sock") for record in records["listen"]), records["listen"]
for them in records.values():
    for record in them:
        assert record["PRIORITY"] in "34567" and record["_SYSTEMD_UNIT"] == "sae.service" and record["MESSAGE"], record
PYTHON
}
check "the journal has the fields of each event" writes_fields

reloads() {
    local pid
    pid=$(of MainPID)
    [ "$(inside stat -c %G /run/sae.sock)" = sae ] && sed -i 's/^#level = "info"/level = "debug"/' "$root/etc/sae/sae.toml"
    inside systemctl reload sae.service || return 1
    is MainPID "$pid" && is ActiveState active && within 20 events_has "$pid" reload && answers || return 1
    # Debug is in force: connections are logged.
    within 20 events_has "$pid" connection_open || return 1
    echo 'no such = setting' >>"$root/etc/sae/sae.toml"
    ! inside systemctl reload sae.service || { echo "a reload of broken settings succeeds"; return 1; }
    within 20 events_has "$pid" reload_failed && answers && is MainPID "$pid" && is ActiveState active
}
events_has() { events "$1" "$2" | grep -qx "$2"; }
check "a reload takes new settings; one of bad settings fails and changes nothing" reloads

refuses_bad_settings() {
    # The broken file is still there.
    ! inside systemctl restart sae.service && within 20 is ActiveState failed && is ExecMainStatus 78 && is NRestarts 0 || return 1
    sed -i '/^no such/d; s/^level = "debug"/#level = "info"/' "$root/etc/sae/sae.toml"
    inside systemctl reset-failed sae.service sae.socket && inside systemctl start sae.socket sae.service && answers
}
check "bad settings end the start with 78, and it is not tried again" refuses_bad_settings

another_pid() { [ "$(of MainPID)" != "$1" ] && [ "$(of MainPID)" != 0 ] && [ "$(of ActiveState)" = active ]; }
watchdog_restarts() {
    local pid client
    pid=$(of MainPID)
    [ "$pid" -gt 1 ] && inside bash -c "kill -STOP $pid" || return 1
    # Connects to the stopped daemon, and is answered by the next one.
    answers unix:/run/sae.sock 60 &
    client=$!
    within 60 another_pid "$pid" && is NRestarts 1 && answers || return 1
    wait "$client" || { echo "the client that came in between was not answered"; return 1; }
    inside journalctl -b --no-pager -u sae.service -o cat | grep -F 'Watchdog timeout'
}
check "the watchdog kills a daemon that stands still; who waits is answered by the next" watchdog_restarts

crash_restarts() {
    local pid
    pid=$(of MainPID)
    [ "$pid" -gt 1 ] && inside bash -c "kill -KILL $pid" && within 20 another_pid "$pid" && answers
}
check "a killed daemon is started again" crash_restarts

activates() {
    inside systemctl stop sae.service && is ActiveState inactive && [ "$(inside systemctl is-active sae.socket)" = active ] \
        && answers && is ActiveState active
}
check "a connection starts a stopped daemon" activates

drains() {
    local pid start end last
    pid=$(of MainPID)
    # Clients over TCP, so that nothing starts the daemon again, until one is refused: the time of each right answer.
    inside bash -c 'while [ "$(sae embed --connect tcp://127.0.0.1:7733 --wait 0.1 "$1")" = "$2" ]; do date +%s%N; done >/answered' \
        - "$text" "$expected" &
    local client=$!
    within 20 test -s "$root/answered" || return 1
    start=$(date +%s%N)
    inside systemctl stop sae.service || return 1
    end=$(date +%s%N)
    wait "$client" || true
    last=$(tail -n 1 "$root/answered")
    echo "stopping took $(((end - start) / 1000000)) ms; the last answer came after $(((last - start) / 1000000)) ms"
    is ActiveState inactive && is Result success && is ExecMainStatus 0 && events_has "$pid" drain_begin && events_has "$pid" drain_end \
        && events_has "$pid" shutdown || return 1
    # drain.lame_duck_ms is 2 s.
    [ $((end - start)) -ge 2000000000 ] && [ $((last - start)) -ge 1000000000 ] && inside systemctl start sae.service
}
check "stopping drains: it serves through the lame duck and ends with 0" drains

asks_for_tokens() {
    inside bash -c 'umask 077; sae token tester --roles embed >/root/tester.token 2>/etc/sae/tokens' || return 1
    configure tokens <deploy/systemd/examples/tokens.conf
    inside systemctl restart sae.service || return 1
    ! ask tcp://127.0.0.1:7733 2 || { echo "TCP answers without a token"; return 1; }
    [ "$(inside sae embed --connect tcp://127.0.0.1:7733 --token-file /root/tester.token "$text")" = "$expected" ] || return 1
    forget tokens
    inside systemctl restart sae.service && answers tcp://127.0.0.1:7733
}
check "tokens come as a credential, with the example" asks_for_tokens

uses_opencl() {
    inside apt-get install -y -qq --no-install-recommends pocl-opencl-icd binutils || return 1
    printf '[Service]\nEnvironment=SAE_MODEL_SCORER=opencl\n' | configure opencl
    inside systemctl restart sae.service || { inside journalctl -b --no-pager -u sae.service | tail -n 20; return 1; }
    within 20 ask >/dev/null || return 1
    ! events_has "$(of MainPID)" scorer_fallback || { events "$(of MainPID)" scorer_fallback; echo "it fell back"; return 1; }
    get /metrics | grep -E '^sae_scorer_info\{.*opencl' || { get /metrics | grep '^sae_scorer'; return 1; }
    kernels >"$folder/kernels"
    [ -s "$folder/kernels" ] || { echo "no compiled kernel in /var/cache/sae"; return 1; }
    inside systemctl restart sae.service && within 20 ask >/dev/null || return 1
    kernels | diff "$folder/kernels" - || { echo "the second start compiled again"; return 1; }
    wc -l "$folder/kernels"
    inside bash -c 'ls /tmp/pocl* /tmp/sae-opencl*' 2>/dev/null && return 1
    forget opencl
    inside systemctl restart sae.service && answers
}
kernels() { (cd "$root/var/cache/sae" && find . -name '*.so' -printf '%p %T@\n' | sort); }
check "OpenCL works under the unit, and keeps its kernels in the cache" uses_opencl

power_off
check "it boots again" boot
comes_with_boot() { within 30 is ActiveState active && is NRestarts 0 && answers unix:/run/sae.sock 0.5; }
check "service and socket come with the boot" comes_with_boot
power_off
finish
