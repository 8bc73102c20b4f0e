# For quickstart, check and .ci/run: messages and Debian packages. Sourced, with `root` set to the checkout.
# shellcheck shell=bash

say() { printf '\n== %s\n' "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The packages of the tiers that are named.
packages_of() {
  local tier
  for tier in "$@"; do
    sed -e 's/#.*//' "$root/packages.txt" | awk -v tier="$tier" '$2 == tier { print $1 }'
    if [ "$tier" = test ] && [ -f "$root/tests/servers/packages.txt" ]; then
      sed -e 's/#.*//' "$root/tests/servers/packages.txt" | awk 'NF { print $1 }'
    fi
  done | sort -u
}

missing_of() {
  local package
  packages_of "$@" | while read -r package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || echo "$package"
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts a server when it installs one. The tests start their own, on ports and in directories of their own, so
# while we install, a policy says no; one that was there before stays as it is.
with_no_services() {
  local policy=/usr/sbin/policy-rc.d made='' status=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\n# made by coffer while it installs packages for its tests\nexit 101\n' |
      as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made=yes
  fi
  "$@" || status=$?
  [ -z "$made" ] || as_root rm -f "$policy"
  return "$status"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# Installs what is missing of the tiers that are named.
install_packages() {
  local -a missing
  mapfile -t missing < <(missing_of "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "this is no Debian; install what packages.txt lists in your own way: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "not root and no sudo; as root: apt-get install ${missing[*]}"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  # (Not >/dev/stdout: that opens it anew, which fails where somebody else opened it, as when root's log gets a user's output.)
  if [ -n "${COFFER_INSTALL_LOG:-}" ]; then
    with_no_services apt_install "${missing[@]}" >"$COFFER_INSTALL_LOG"
  else
    with_no_services apt_install "${missing[@]}"
  fi
}
