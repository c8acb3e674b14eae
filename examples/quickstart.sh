#!/bin/sh
# quickstart.sh: from a fresh checkout to a page through the tunnel, with one command: `sh examples/quickstart.sh`. See --help.
set -eu
cd "$(dirname "$0")/.."
. packaging/debian-packages.sh

usage() {
  cat <<'EOF'
usage: sh examples/quickstart.sh [--check | --help]

Installs the Debian packages that are missing (as root, or through sudo), builds in build/release, starts a server, two
example services and a client on free ports of this machine, and prints the addresses to open in a browser. Ctrl-C stops
everything. --check asks for both pages through the tunnel, with curl and a WebSocket client, and exits.
EOF
}
check=""
case "${1:-}" in
  "") ;;
  --check) check=yes ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

packages_need $PACKAGES_BUILD ${check:+$PACKAGES_CHECK}
mkdir -p build
echo "Building (the output is in build/quickstart.log) ..."
{ cmake --preset release -DMDM_TESTS=OFF && cmake --build build/release; } >build/quickstart.log 2>&1 || {
  cat build/quickstart.log
  exit 1
}

# Everything that runs writes here; nothing is left behind.
dir=$(mktemp -d)
pids=""
clean() {
  trap - EXIT INT TERM HUP
  for pid in $pids; do
    kill "$pid" 2>/dev/null || true
  done
  for pid in $pids; do
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# start NAME COMMAND...: in the background, its output in $dir/NAME.log
start() {
  name=$1
  shift
  : >"$dir/$name.log"
  HOME=$dir "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  pids="$pids $!"
}
fail() {
  echo "quickstart: $1" >&2
  for log in "$dir"/*.log; do
    echo "--- $(basename "$log")" >&2
    tail -n 20 "$log" >&2
  done
  exit 1
}
# await NAME EXPRESSION: waits until sed finds something in the log of NAME, and prints the first find
await() {
  tries=100
  while [ "$tries" -gt 0 ]; do
    found=$(sed -n "$2" "$dir/$1.log" | head -n 1)
    if [ -n "$found" ]; then
      echo "$found"
      return 0
    fi
    sleep 0.1
    tries=$((tries - 1))
  done
  return 1
}

bin=build/release
start simple "$bin/examples/simple/example-simple" 0
start websockets "$bin/examples/websockets/example-websockets" 0
start server "$bin/server/mdm-tunnel-server" -v --port 0 --client-port 0 --state-dir "$dir/state"
simple=$(await simple 's/.*127\.0\.0\.1://p') || fail "the first example did not start"
websockets=$(await websockets 's/.*127\.0\.0\.1://p') || fail "the second example did not start"
port=$(await server 's/.*listening: http .*:\([0-9]*\)$/\1/p') || fail "the server did not start"
clients=$(await server 's/.*listening: clients .*:\([0-9]*\)$/\1/p') || fail "the server did not start"
start client "$bin/client/mdm-tunnel-client" -v -u tim -p "$clients" "hello-world=$simple" "websockets=$websockets"
await client "s/.*\(http:.*websockets\.tim\..*\)/\1/p" >/dev/null || fail "the client did not connect"

page=http://hello-world.tim.localhost:$port
echo=http://websockets.tim.localhost:$port
if [ -n "$check" ]; then
  python=$(packages_python) || fail "nothing to check WebSockets with"
  curl -sS --fail --max-time 10 --noproxy '*' --resolve "hello-world.tim.localhost:$port:127.0.0.1" "$page/" >"$dir/page.html" || fail "no page at $page"
  grep -q 'Hello, world' "$dir/page.html" || fail "another page at $page"
  echo "$page answers"
  curl -sS --fail --max-time 10 --noproxy '*' --resolve "websockets.tim.localhost:$port:127.0.0.1" "$echo/" >"$dir/page.html" || fail "no page at $echo"
  grep -q 'new WebSocket' "$dir/page.html" || fail "another page at $echo"
  "$python" examples/websockets/check.py "ws://websockets.tim.localhost:$port/" 127.0.0.1 || fail "no WebSocket at $echo"
  echo "$echo answers, and echoes"
  exit 0
fi

cat <<EOF

  A web page through the tunnel:   $page
  A WebSocket through the tunnel:  $echo

Ctrl-C stops everything.
EOF
while :; do
  for pid in $pids; do
    kill -0 "$pid" 2>/dev/null || fail "something stopped by itself"
  done
  sleep 1 &
  wait $! || true
done
