#!/usr/bin/env bash
# Gives images to every node that runs: images.sh FILE.tar...
# Each file is a docker-archive, as "docker save" or image.sh writes it.
source "$(dirname "$0")/lib.sh"

main() {
  [[ $# -gt 0 ]] || fail "usage: images.sh FILE.tar..."
  need_root
  need_bench
  local file number
  for file in "$@"; do
    [[ -r $file ]] || fail "$file can't be read"
    for number in "${node_numbers[@]}"; do
      import "$number" "$file"
    done
  done
}

# By standard input, since the node may not see the file.
import() {
  local number=$1 file=$2 init
  init=$(pid_of "node-$number") || return 0
  nsenter --target "$init" --mount ctr --namespace k8s.io images import - <"$file" >/dev/null ||
    fail "node-$number takes no image from $file"
}

main "$@"
