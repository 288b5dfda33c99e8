#!/usr/bin/env bash
# Tests the Python client, and other people's clients over HTTP (openai, langchain-openai, curl), with real daemons.
#
# Usage: scripts/test-python.sh
#
# Needs a built `sae`. The virtual environment lies in .build/python and is made again only when what it holds changes.
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    '') ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
esac
install_packages python3 python3-venv curl openssl
sae=.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"

folder=.build/python
python=$folder/bin/python
wanted=$(cat Tests/Python/requirements.txt Sources/PythonClient/pyproject.toml; python3 --version)
if [ "$(cat $folder/made-for 2>/dev/null)" != "$wanted" ]; then
    say "making a virtual environment (the first time takes a minute or two)"
    rm -rf $folder
    python3 -m venv $folder
    $python -m pip install --quiet --disable-pip-version-check -r Tests/Python/requirements.txt \
        || die "pip could not install what the tests need: is the network up?"
    printf '%s' "$wanted" >$folder/made-for
fi

# From a copy: building leaves folders beside the sources.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Sources/PythonClient "$copy/client"
$python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall "$copy/client"

say "types"
(cd Sources/PythonClient && ../../$python -m mypy --strict --cache-dir "../../$folder/mypy" src)
say "tests"
TEST_SAE=$PWD/$sae PYTHONDONTWRITEBYTECODE=1 $python -m unittest discover -s Tests/Python -t Tests/Python
