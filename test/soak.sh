#!/bin/sh
# soak.sh: the real programs under a mixed load for some minutes, checked the whole time. See --help and docs/testing.md.
set -eu
cd "$(dirname "$0")/.."

usage() {
  cat <<'EOF'
usage: sh test/soak.sh [--preset NAME] [--visitors N] [--seed N] MINUTES
       sh test/soak.sh [...] --smoke

Keep-alive, short connections, WebSockets, uploads, downloads whole and aborted, while the service map, users, certificates and
configuration change and a client is killed, stopped and refused. Prints a table; exit status 1 if an answer was cut, mixed or
refused without a fault that explains it, or descriptors or memory did not come back.

  --preset NAME   the build to run: release (default), asan, tsan, dev, ci
  --visitors N    threads for each kind of load (1)
  --seed N        of the choices made
  --smoke         six seconds, to see that it works

Environment: MDM_SERVER and MDM_CLIENT, both set, are run instead of a build; MDM_SANITIZED=1 says that they are sanitized.
EOF
}

preset=release
minutes=""
options=""
while [ $# -gt 0 ]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --preset) preset=${2:?}; shift 2 ;;
    --smoke) minutes=0.1; shift ;;
    --visitors | --seed) options="$options $1=${2:?}"; shift 2 ;;
    *[!0-9.]* | "") usage >&2; exit 2 ;;
    *) minutes=$1; shift ;;
  esac
done
[ -n "$minutes" ] || { usage >&2; exit 2; }

if [ -z "${MDM_SERVER:-}" ] || [ -z "${MDM_CLIENT:-}" ]; then
  mkdir -p build
  { cmake --preset "$preset" && cmake --build "build/$preset" --target mdm-tunnel-server mdm-tunnel-client; } >"build/soak.log" 2>&1 || {
    cat build/soak.log
    exit 1
  }
  MDM_SERVER=$PWD/build/$preset/server/mdm-tunnel-server
  MDM_CLIENT=$PWD/build/$preset/client/mdm-tunnel-client
  case "$preset" in
    asan | tsan | ci) MDM_SANITIZED=1 ;;
  esac
fi
export MDM_SERVER MDM_CLIENT MDM_SANITIZED="${MDM_SANITIZED:-}" PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" test/program/soak.py $options "$minutes"
