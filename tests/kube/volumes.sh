#!/usr/bin/env bash
# Keeps every node supplied with empty volumes; started by up.sh, runs on.
#
# A volume is a folder on one node. Kubernetes has nothing that empties such a
# volume after its claim is deleted; this does, by making folder and volume anew.
source "$(dirname "$0")/lib.sh"

main() {
  local number slot
  for number in "${node_numbers[@]}"; do
    for ((slot = 1; slot <= volumes_per_node; slot++)); do
      make_folder "$number" "$slot"
      volume "$number" "$slot"
    done
  done | kubectl apply -f - >/dev/null

  # A watch ends now and then by itself; the next one begins with all volumes.
  while true; do
    watch_volumes | renew_released || true
    sleep 1
  done
}

watch_volumes() {
  kubectl get persistentvolumes --watch --no-headers --selector kvorum.dev/bench=volume --output custom-columns=\
NAME:.metadata.name,PHASE:.status.phase,POLICY:.spec.persistentVolumeReclaimPolicy
}

# A volume that someone set to Retain keeps its data, as the word says.
renew_released() {
  local name phase policy
  while read -r name phase policy; do
    case $phase/$policy in
      Released/Delete | Failed/Delete) renew "$name" ;;
    esac
  done
}

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
