#!/usr/bin/env bash
# Builds etcd and its two command-line tools into the folder $1.
set -euo pipefail
cd "$(dirname "$0")"

go build -trimpath -ldflags='-s -w' -o "$1/etcd" go.etcd.io/etcd/server/v3
go build -trimpath -ldflags='-s -w' -o "$1/etcdctl" go.etcd.io/etcd/etcdctl/v3
go build -trimpath -ldflags='-s -w' -o "$1/etcdutl" go.etcd.io/etcd/etcdutl/v3
