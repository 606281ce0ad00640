#!/usr/bin/env bash
# Builds the programs of Kubernetes into the folder $1: one binary, six names.
set -euo pipefail
cd "$(dirname "$0")"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
stamp=k8s.io/component-base/version

# Without the stamp every client would see v0.0.0.
go build -trimpath -o "$1/kubernetes" -ldflags="-s -w \
  -X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor" .
for program in kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet; do
  ln -s kubernetes "$1/$program"
done
