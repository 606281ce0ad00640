#!/usr/bin/env bash
# Builds the two images without a container engine and without a registry:
#   build.sh [FOLDER]        writes FOLDER/kvorum.tar and FOLDER/kvorum-operator.tar
#                            (default: images/ in cargo's target folder)
# Both are docker archives: "docker load -i" and "ctr images import" take them.
#
# KVORUM_BINARIES   folder of statically linked programs to pack, instead of building them
# KVORUM_TAG        tag of both images (default: the package's version)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$here/archive.sh"

# The user that nothing else has; the Pods that the operator makes name the same number.
user=65532

main() {
  local version binaries folder
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
  folder=${1:-${CARGO_TARGET_DIR:-$root/target}/images}
  binaries=${KVORUM_BINARIES:-$(build)}
  mkdir -p "$folder"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT

  lay_base "$work/server"
  install_program "$binaries/kvorum" "$work/server"
  install_program "$binaries/kvorumctl" "$work/server"
  ln -s kvorum "$work/server/usr/local/bin/etcd"
  ln -s kvorumctl "$work/server/usr/local/bin/etcdctl"
  ln -s kvorumctl "$work/server/usr/local/bin/etcdutl"
  mkdir -p "$work/server/var/lib/kvorum"
  archive "kvorum:${KVORUM_TAG:-$version}" "$work/server" "$folder/kvorum.tar" <<END
{"User": "$user:$user", "WorkingDir": "/var/lib/kvorum", "Env": ["PATH=/usr/local/bin"],
 "Cmd": ["/usr/local/bin/kvorum"],
 "ExposedPorts": {"2379/tcp": {}, "2380/tcp": {}, "2381/tcp": {}},
 "Labels": $(labels "Kvorum server and ctl" "$version")}
END

  lay_base "$work/operator"
  install_program "$binaries/kvorum-operator" "$work/operator"
  archive "kvorum-operator:${KVORUM_TAG:-$version}" "$work/operator" "$folder/kvorum-operator.tar" <<END
{"User": "$user:$user", "WorkingDir": "/", "Env": ["PATH=/usr/local/bin"],
 "Entrypoint": ["/usr/local/bin/kvorum-operator"], "Cmd": ["run"],
 "ExposedPorts": {"8080/tcp": {}},
 "Labels": $(labels "Kvorum operator" "$version")}
END
  echo "$folder/kvorum.tar"
  echo "$folder/kvorum-operator.tar"
}

# An explicit target keeps the flag away from build scripts and macros, which can't be static.
build() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --release --locked --bins --target "$host" >&2)
  echo "${CARGO_TARGET_DIR:-$root/target}/$host/release"
}

# Names of users and the order of name lookups: all that a static program may still ask of a system.
lay_base() {
  mkdir -p "$1/etc" "$1/usr/local/bin" "$1/tmp"
  echo "kvorum:x:$user:$user:kvorum:/nonexistent:/sbin/nologin" >"$1/etc/passwd"
  echo "kvorum:x:$user:" >"$1/etc/group"
  echo "hosts: files dns" >"$1/etc/nsswitch.conf"
  if [[ -r /etc/ssl/certs/ca-certificates.crt ]]; then
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
  fi
}

# A program that wants a loader or a library would fail only when the Pod starts.
install_program() {
  [[ -x $1 ]] || fail "no program $1"
  ! readelf --program-headers "$1" | grep -q INTERP ||
    fail "$1 is not statically linked: build it with -C target-feature=+crt-static and --target"
  install -m 755 "$1" "$2/usr/local/bin/"
  strip --strip-debug "$2/usr/local/bin/${1##*/}"
}

labels() {
  cat <<END
{"org.opencontainers.image.title": "$1", "org.opencontainers.image.version": "$2",
  "org.opencontainers.image.licenses": "Apache-2.0"}
END
}

main "$@"
