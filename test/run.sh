#!/bin/sh
# run.sh: everything tested, from a fresh checkout: `sh test/run.sh`. See --help.
set -eu
cd "$(dirname "$0")/.."
. packaging/debian-packages.sh

usage() {
  cat <<'EOF'
usage: sh test/run.sh [--help] [CTEST ARGUMENT...]

Installs the Debian packages that are missing (as root, or through sudo), builds with address and undefined-behaviour
sanitizers and warnings as errors (preset "ci", in build/ci), then runs every test. Tests with the label "threads" are run
first, under the thread sanitizer (preset "tsan"). Arguments go to ctest: `sh test/run.sh -R mux`.

Environment:
  MDM_TEST_JOBS=N       parallel jobs for building and for tests (the number of processors)
  MDM_TEST_PRESET=NAME  another preset than ci
  MDM_TEST_TSAN=0       no thread sanitizer
  MDM_TEST_INSTALL=0    install nothing
EOF
}
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac

jobs=${MDM_TEST_JOBS:-$(nproc)}
preset=${MDM_TEST_PRESET:-ci}
[ "${MDM_TEST_INSTALL:-1}" = 0 ] || packages_need $PACKAGES_BUILD $PACKAGES_CHECK $PACKAGES_TEST

# build PRESET [TARGET...]: quiet unless it fails
build() {
  build_preset=$1
  shift
  mkdir -p build
  echo "== building preset $build_preset"
  { cmake --preset "$build_preset" && cmake --build "build/$build_preset" -j "$jobs" ${1:+--target "$@"}; } >"build/$build_preset.log" 2>&1 || {
    cat "build/$build_preset.log"
    return 1
  }
}

# What uses threads (resolver, password hashing, hooks), under the thread sanitizer. The target of a test in C has the test's
# name; tests of the programs need the programs.
if [ "${MDM_TEST_TSAN:-1}" != 0 ]; then
  cmake --preset tsan >/dev/null
  threaded=$(ctest --test-dir build/tsan -N -L threads | sed -n 's/^ *Test *#[0-9]*: *//p' | grep -v '^program-' || true)
  build tsan mdm-tunnel-server mdm-tunnel-client $threaded
  ctest --test-dir build/tsan -L threads -j "$jobs" --output-on-failure
fi

build "$preset"
exec ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure "$@"
