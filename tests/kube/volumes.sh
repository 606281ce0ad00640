#!/usr/bin/env bash
# Keeps every node supplied with empty volumes; started by up.sh, runs on.
#
# A volume is a folder on one node. Kubernetes has nothing that empties such a
# volume after its claim is deleted; this does, by making folder and volume anew.
source "$(dirname "$0")/lib.sh"

main() {
  # A watch ends now and then by itself; the next one begins with all volumes.
  while true; do
    every_volume | kubectl create -f - >/dev/null 2>&1 || true # fails for those that are there
    show_volumes --watch | renew_released || true
    sleep 1
  done
}

every_volume() {
  local number slot
  for number in "${node_numbers[@]}"; do
    for ((slot = 1; slot <= volumes_per_node; slot++)); do
      make_folder "$number" "$slot"
      volume "$number" "$slot"
    done
  done
}

show_volumes() {
  kubectl get persistentvolumes "$@" --no-headers --output custom-columns=\
NAME:.metadata.name,PHASE:.status.phase,POLICY:.spec.persistentVolumeReclaimPolicy
}

# A change that is read here may be old: the volume may have been renewed since
# and carry the data of another claim. So its state is asked for once more; from
# released to bound it can go only through here.
renew_released() {
  local name phase policy
  while read -r name phase policy; do
    is_released "$phase" "$policy" || continue
    read -r _ phase policy < <(show_volumes "$name")
    ! is_released "$phase" "$policy" || renew "$name"
  done
}

# A volume that someone set to Retain keeps its data, as the word says.
is_released() { [[ $1/$2 == Released/Delete || $1/$2 == Failed/Delete ]]; }

renew() {
  local number slot
  [[ $1 =~ ^node-([0-9]+)-volume-([0-9]+)$ ]] || return 0
  number=${BASH_REMATCH[1]} slot=${BASH_REMATCH[2]}
  kubectl delete persistentvolume "$1" --ignore-not-found >/dev/null
  rm -rf "$(folder "$number" "$slot")"
  make_folder "$number" "$slot"
  volume "$number" "$slot" | kubectl create -f - >/dev/null
  say "renewed $1"
}

folder() { echo "$state/node-$1/volumes/$2"; }

make_folder() { mkdir -p "$(folder "$1" "$2")"; }

# The node sees its own folder as /var.
volume() {
  local number=$1 slot=$2
  cat <<END
---
apiVersion: v1
kind: PersistentVolume
metadata:
  name: node-$number-volume-$slot
  labels: {kvorum.dev/bench: volume}
spec:
  storageClassName: local
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  local: {path: /var/volumes/$slot}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
            - {key: kubernetes.io/hostname, operator: In, values: [node-$number]}
END
}

main
