#!/usr/bin/env bash
# Installs the programs that the tests compare Kvorum with or run it in.
#
#   install.sh etcd    etcd 3.7 and 3.5, and discovery.etcd.io where apt has it; needs no root
#   install.sh kube    Kubernetes, CoreDNS, helm, and Debian's container packages
#   install.sh all     both (the default)
#
# The last line printed is the folder that holds the programs; it is the same
# on every run. Each folder beside this script is one part: its files are what
# the part is made from, and build.sh makes it. A part is built once for each
# content of its folder, outside the tree, and again only if that changes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${KVORUM_TOOLS:-$HOME/.cache/kvorum-tools}

main() {
  local wanted=${1:-all}
  case $wanted in
    etcd | kube | all) ;;
    *) fail "'$wanted' is not a set of tools: give etcd, kube or all" ;;
  esac

  mkdir -p "$cache/bin"
  # One builder at a time: a second caller waits here and then finds it all done.
  exec 9>"$cache/lock"
  flock 9
  # Whatever a build cut short has left.
  rm -rf "$cache"/.[a-z]*

  [[ $wanted == kube ]] || { install_parts etcd etcd-3.5; install_optional discovery; }
  [[ $wanted == etcd ]] || { install_packages; install_parts kube addons; }
  echo "$cache/bin"
}

install_parts() {
  local part
  for part in "$@"; do
    [[ -d $(folder_of "$part") ]] || build "$part"
    link "$part"
  done
}

# A part that not every machine can have; the test that wants it says that it
# was skipped.
install_optional() {
  (install_parts "$1") || say "$1 cannot be had on this machine; its test is skipped"
}

# The folder of a part is named after a hash of what the part is made from.
folder_of() {
  local hash
  hash=$(cd "$here/$1" && cat -- * | sha256sum | cut -c1-12)
  echo "$cache/$1-$hash"
}

# Builds into a folder of another name, so that a build cut short leaves nothing
# that a later run could take for a whole one.
build() {
  local part=$1 folder partial started=$SECONDS
  folder=$(folder_of "$part")
  partial=$(mktemp -d "$cache/.$part-XXXXXX")
  chmod 755 "$partial"

  case $part in
    go | etcd-3.5) need_pip ;;
    discovery) ;;
    *) need_go ;;
  esac
  say "building $part"
  if ! "$here/$part/build.sh" "$partial" >"$partial.log" 2>&1; then
    tail -n 30 "$partial.log" >&2
    rm -rf "$partial" "$partial.log"
    fail "building $part failed: its last lines are above"
  fi
  rm -f "$partial.log"
  mv -T "$partial" "$folder"
  say "built $part in $((SECONDS - started)) s"
}

# Each link is replaced by a rename: whoever runs a program meanwhile finds
# either the old or the new one. The links are relative, so that the cache can
# be seen at another path, as the nodes of tests/kube do.
link() {
  local folder program
  folder=$(folder_of "$1")
  for program in "$folder"/*; do
    program=$(basename "$program")
    ln -sfn "../$(basename "$folder")/$program" "$cache/bin/.$program"
    mv -T "$cache/bin/.$program" "$cache/bin/$program"
  done
}

# CGO off makes static programs, which run in an image that holds nothing else.
# GOTOOLCHAIN=local keeps Go from fetching another version of itself.
need_go() {
  export CGO_ENABLED=0 GOTOOLCHAIN=local
  go_is_new_enough && return
  local toolchain
  toolchain=$(folder_of go)
  [[ -d $toolchain ]] || build go
  export PATH="$toolchain/go/bin:$PATH" GOROOT="$toolchain/go"
}

go_is_new_enough() {
  local wanted=1.26 found
  found=$(go env GOVERSION 2>/dev/null) || return 1
  [[ $(printf '%s\n' "$wanted" "${found#go}" | sort -V | head -n 1) == "$wanted" ]]
}

need_pip() {
  python3 -m pip --version >/dev/null 2>&1 ||
    fail "python3 has no pip: install it (on Debian: apt-get install python3-pip)"
}

install_packages() {
  local package missing=()
  while read -r package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done <"$here/packages.txt"
  [[ ${#missing[@]} -gt 0 ]] || return 0

  [[ $(id -u) == 0 ]] || fail "missing packages: run as root, or: apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

say() { printf '%s %s\n' "$(date +%T)" "$*"; }

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

main "$@"
