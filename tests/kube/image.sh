#!/usr/bin/env bash
# Makes an image of one layer from a folder, without any container engine:
#   image.sh [--user UID] NAME:TAG FOLDER FILE.tar [PROGRAM [ARGUMENT...]]
# The program is the image's entry point; a Pod's args follow it.
source "$(dirname "$0")/lib.sh"

main() {
  local user=0
  [[ ${1:-} != --user ]] || { user=${2:-} && shift 2; }
  [[ $# -ge 3 ]] || fail "usage: image.sh [--user UID] NAME:TAG FOLDER FILE.tar [PROGRAM [ARGUMENT...]]"
  local name=$1 folder=$2 file=$3
  shift 3
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT

  tar --create --file "$work/layer.tar" --owner 0 --group 0 --numeric-owner --sort name \
    --mtime @0 --directory "$folder" .
  config "$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)" "$user" "$(json_list "$@")" >"$work/config.json"
  echo "[{\"Config\":\"config.json\",\"RepoTags\":[\"$name\"],\"Layers\":[\"layer.tar\"]}]" >"$work/manifest.json"
  tar --create --file "$file" --directory "$work" manifest.json config.json layer.tar
}

config() {
  local layer=$1 user=$2 entry_point=$3
  cat <<END
{
  "architecture": "$(dpkg --print-architecture)",
  "os": "linux",
  "config": {"User": "$user", "Entrypoint": $entry_point, "Env": ["PATH=/bin:/usr/bin:/usr/local/bin"]},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}
}
END
}

json_list() {
  local word list=
  for word in "$@"; do
    word=${word//\\/\\\\}
    list+="${list:+, }\"${word//\"/\\\"}\""
  done
  echo "[$list]"
}

main "$@"
