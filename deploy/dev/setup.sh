#!/usr/bin/env bash
# Install the system parts that Longshore's demo and tests need and that are missing here.
#
#   setup.sh            a container engine, if none answers, and an image registry
#   setup.sh --python   what a virtual environment needs
#   setup.sh --tests    the first, and what the tests need besides (PostgreSQL, htpasswd, a browser,
#                       wrk, nginx and HAProxy)
#
# It says what it installs and why, and nothing when all is there. Only Debian and its relatives are
# installed on; elsewhere it says what is missing.
set -euo pipefail

missing=() # Debian packages
reasons=() # why each is needed

need() { # need REASON PACKAGE...
  reasons+=("$1")
  shift
  missing+=("$@")
}

have() { command -v "$1" >/dev/null 2>&1; }

engine_answers() {
  local socket
  for socket in /var/run/docker.sock /run/podman/podman.sock \
    "${XDG_RUNTIME_DIR:-/run}/docker.sock" "${XDG_RUNTIME_DIR:-/run}/podman/podman.sock"; do
    [ -S "$socket" ] && have curl && curl -sf -m 2 --unix-socket "$socket" http://d/_ping >/dev/null && return 0
  done
  have docker && docker info >/dev/null 2>&1
}

if [ "${1:-}" = --python ]; then
  python="${PYTHON:-python3}"
  have "$python" || need "to run Longshore" python3 python3-venv
  # Debian's python3 comes without what makes virtual environments.
  have "$python" && ! "$python" -c 'import ensurepip, venv' 2>/dev/null &&
    need "for virtual environments" python3-venv
else
  have podman || engine_answers ||
    need "a container engine" podman runc catatonit netavark aardvark-dns iptables
  have docker-registry || have registry || need "an image registry" docker-registry
  if [ "${1:-}" = --tests ]; then
    [ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || have initdb ||
      need "a PostgreSQL server" postgresql
    have chromium || have google-chrome || need "a browser" chromium
    have htpasswd || need "to test registries with passwords" apache2-utils
    PATH="$PATH:/usr/sbin" # where proxies are kept, out of users' way
    have wrk && have nginx && have haproxy || need "to measure beside others" wrk nginx haproxy
  fi
fi

[ ${#missing[@]} -eq 0 ] && exit 0

because=$(printf '%s, ' "${reasons[@]}")
if ! have apt-get; then
  echo "Missing here: ${because%, }." >&2
  echo "Install what Debian calls: ${missing[*]}" >&2
  exit 1
fi

sudo=()
if [ "$(id -u)" -ne 0 ]; then
  have sudo || { echo "Missing: ${because%, }. Run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi

echo "Installing ${missing[*]} (${because%, })"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Services that these packages bring may start, on ports of their own; nothing here uses them.
install() {
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1
}
# Package lists may be absent or old: fetch them only then.
install || { "${sudo[@]}" apt-get update >"$log" 2>&1 && install; } || {
  tail -n 20 "$log" >&2
  echo "apt-get could not install ${missing[*]}; see above." >&2
  exit 1
}
