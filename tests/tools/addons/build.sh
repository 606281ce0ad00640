#!/usr/bin/env bash
# Builds CoreDNS and helm into the folder $1.
set -euo pipefail
cd "$(dirname "$0")"

helm_version=$(go list -m -f '{{.Version}}' helm.sh/helm/v4)
go build -trimpath -ldflags='-s -w' -o "$1/coredns" github.com/coredns/coredns
go build -trimpath -ldflags="-s -w -X helm.sh/helm/v4/internal/version.version=$helm_version" \
  -o "$1/helm" helm.sh/helm/v4/cmd/helm
