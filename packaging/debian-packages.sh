# debian-packages.sh: sourced by examples/quickstart.sh and test/run.sh; knows which Debian packages are needed and
# installs those that are missing, as root or through sudo.
#
#   packages_need PACKAGE...     returns 0 when all are there, else says what is wrong and returns 1

PACKAGES_BUILD="cmake ninja-build gcc libc6-dev pkg-config libuv1-dev node-llhttp libssl-dev libcjson-dev libsodium-dev libwslay-dev libseccomp-dev"
PACKAGES_CHECK="curl python3 python3-websockets"
PACKAGES_TEST="libcmocka-dev openssl procps mandoc iproute2 nftables"

packages_need() {
  if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not a Debian system: install what corresponds to these packages: $*" >&2
    return 0
  fi
  packages_missing=""
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || packages_missing="$packages_missing $package"
  done
  [ -n "$packages_missing" ] || return 0
  if [ "$(id -u)" -eq 0 ]; then
    packages_as_root=""
  elif command -v sudo >/dev/null 2>&1; then
    packages_as_root="sudo"
  else
    echo "Missing packages, and neither root nor sudo to install them:$packages_missing" >&2
    return 1
  fi
  echo "Installing:$packages_missing" >&2
  $packages_as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 &&
    $packages_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages_missing >&2 || {
      echo "Could not install:$packages_missing" >&2
      return 1
    }
}

# Prints the first Python 3 that has the websockets module: a python3 in front of Debian's in PATH may lack it.
packages_python() {
  for python in ${PYTHON:-} /usr/bin/python3 python3; do
    if "$python" -c 'import websockets' >/dev/null 2>&1; then
      echo "$python"
      return 0
    fi
  done
  echo "No Python 3 with the websockets module (Debian package python3-websockets)" >&2
  return 1
}
