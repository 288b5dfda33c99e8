#!/usr/bin/env bash
# Builds the Debian package: the program with Swift's runtime in it, units, man pages, completions, settings, model.
#
# Usage: scripts/package.sh [FOLDER]
#   FOLDER   where the .deb goes; .build-package if it is not given
#
# The version is that of the program if HEAD is tagged vVERSION, else VERSION~COMMITS.gREVISION, which is older than the
# release and newer than the package of an earlier commit. The last line of the output is the path of the package.
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    -h|--help) usage; exit 0 ;;
    -*) die "unknown argument $1 (see --help)" ;;
esac
at_most 1 "$@"
scratch=$PWD/.build-package
mkdir -p "${1:-$scratch}"
output=$(cd "${1:-$scratch}" && pwd)

install_packages "${build_packages[@]}" debhelper dpkg-dev fakeroot lintian python3 git
need_swift
git rev-parse --verify -q HEAD >/dev/null || die "needs a git checkout: version and date of the package come from its commits"
REVISION=${REVISION:-$(git rev-parse --short=12 HEAD)}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export REVISION SOURCE_DATE_EPOCH
[ -z "$(git status --porcelain --untracked-files=no)" ] || say "note: the checkout differs from revision $REVISION"

say "building with a static Swift runtime (the first time takes some minutes)"
swift build -c release --static-swift-stdlib --product sae --scratch-path "$scratch" || die "the build failed: see above"
sae=$(swift build -c release --static-swift-stdlib --scratch-path "$scratch" --show-bin-path)/sae
if ldd "$sae" | grep -i swift; then die "$sae still needs the Swift libraries above"; fi

release=$("$sae" --version | grep -oE '^[0-9]+\.[0-9]+\.[0-9]+') || die "sae --version does not begin with a version"
if git describe --exact-match --tags --match "v$release" HEAD >/dev/null 2>&1; then
    version=$release-1
else
    version=$release~$(git rev-list --count HEAD).g${REVISION:0:12}-1
fi
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)

say "writing man pages and completions of sae $version"
stage=$scratch/stage
rm -rf "$stage"
mkdir -p "$stage"/{program,man,completions,docs,examples}
cp "$sae" "$stage/program/sae"
"$sae" --experimental-dump-help | python3 scripts/lib/man_pages.py "$release" "$date" deploy/config/sae.toml "$stage/man"
"$sae" --generate-completion-script bash | sed "1{/^#!/d}" >"$stage/completions/sae"
"$sae" --generate-completion-script zsh >"$stage/completions/_sae"
"$sae" --generate-completion-script fish >"$stage/completions/sae.fish"
cp deploy/config/sae.toml deploy/models/default.sae CHANGELOG.md README.md "$stage"
cp docs/*.md "$stage/docs"
cp -r deploy/prometheus deploy/grafana deploy/systemd/examples "$stage/examples"
mv "$stage/examples/examples" "$stage/examples/systemd"
cp -r deploy/debian "$stage/debian"
cp deploy/systemd/sae.service deploy/systemd/sae.socket "$stage/debian"
maintainer=$(sed -n 's/^Maintainer: //p' deploy/debian/control)
cat >"$stage/debian/changelog" <<CHANGES
sae ($version) unstable; urgency=medium

  * Revision $REVISION; CHANGELOG.md says what it brings.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGES

say "making the package"
(cd "$stage" && fakeroot debian/rules binary) >"$scratch/package.log" 2>&1 \
    || { tail -n 20 "$scratch/package.log"; die "debhelper failed: all of its output is in $scratch/package.log"; }
package=$scratch/sae_${version}_$(dpkg --print-architecture).deb
[ -f "$package" ] || die "debhelper made no $package"
say "lintian"
lintian --fail-on error "$package" || die "lintian found errors: see above"
dpkg-deb --field "$package" Version Installed-Size Depends
[ "$output" = "$scratch" ] || mv "$package" "$output"
echo "$output/$(basename "$package")"
