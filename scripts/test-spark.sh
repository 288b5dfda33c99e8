#!/usr/bin/env bash
# Runs deploy/spark in a real Spark on this machine (PySpark from PyPI, Java from the distribution) with two real daemons; tasks
# and a daemon are killed on the way.
#
# Usage: scripts/test-spark.sh
#
# Needs a built `sae`. The virtual environment lies in .build/spark; making it takes minutes and half a gigabyte, so
# scripts/test.sh leaves this out.
. "$(dirname "$0")/lib/common.sh"

case "${1:-}" in
    '') ;;
    -h|--help) usage; exit 0 ;;
    *) die "unknown argument $1 (see --help)" ;;
esac
install_packages python3 python3-venv openjdk-17-jre-headless procps
sae=$PWD/.build/release/sae
[ -x "$sae" ] || die "no $sae: run 'swift build -c release --product sae' first"

folder=.build/spark
python=$PWD/$folder/bin/python
wanted=$(cat Tests/Spark/requirements.txt; python3 --version)
if [ "$(cat $folder/made-for 2>/dev/null)" != "$wanted" ]; then
    say "making a virtual environment with PySpark (minutes, the first time)"
    rm -rf $folder
    python3 -m venv $folder
    "$python" -m pip install --quiet --disable-pip-version-check -r Tests/Spark/requirements.txt \
        || die "pip could not install PySpark: is the network up?"
    printf '%s' "$wanted" >$folder/made-for
fi

# From a copy: building leaves folders beside the sources.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Sources/PythonClient "$copy/client"
"$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall "$copy/client"

java=$(readlink -f "$(command -v java)")
TMPDIR=$copy TEST_SAE=$sae PYTHONDONTWRITEBYTECODE=1 JAVA_HOME=${java%/bin/java} SPARK_LOCAL_DIRS=$copy SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=$python \
    "$python" Tests/Spark/test_spark.py
