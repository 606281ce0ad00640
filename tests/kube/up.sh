#!/usr/bin/env bash
# Starts a real Kubernetes with three nodes on this machine and prints the path
# of its kubeconfig on the last line.
#
# leftovers -> keys -> network -> control plane -> nodes -> images, DNS, volumes -> ready
#
# KVORUM_KUBE_DIR    folder for all state (default /var/lib/kvorum-kube)
# KVORUM_KUBE_STORE  client URL of an etcd-v3 server to keep the cluster in,
#                    instead of an etcd of its own
source "$(dirname "$0")/lib.sh"
source "$here/identities.sh"
source "$here/control.sh"
source "$here/disk.sh"
source "$here/node.sh"

main() {
  need_root
  check_machine
  "$here/down.sh"
  lock

  mkdir -p "$state"/{log,pid,pki}
  make_identities
  make_network
  say "starting the control plane"
  start_store
  start_apiserver
  start_controllers
  kubectl apply -f "$here/cluster.yaml" >/dev/null
  launch volumes "$here/volumes.sh"
  start_dns
  say "starting the nodes"
  # Not earlier: a kubelet that finds no API server pauses for half a minute.
  local number
  for number in "${node_numbers[@]}"; do
    make_disk "$number"
    make_cgroup "$number"
    start_node "$number"
  done
  route_services
  give_base_image
  wait_for 90 "all nodes ready" nodes_ready
  wait_for 30 "volumes of all nodes" volumes_offered
  wait_for 30 "default service account" kubectl get serviceaccount default
  say "ready after $SECONDS s"
  echo "$state/kubeconfig"
}

check_machine() {
  local program
  for program in etcd kubectl coredns; do
    [[ -x $tools/$program ]] || fail "no $program in $tools: run tests/tools/install.sh"
  done
  [[ -d /sys/fs/cgroup/memory ]] ||
    fail "this machine has no cgroup v1 memory controller; the bench was only made for cgroup v1"
}

make_network() {
  local number
  ip link add "$bridge" type bridge
  ip address add "$control_address/24" dev "$bridge"
  ip link set "$bridge" up
  for number in "${node_numbers[@]}"; do
    ip route add "$(pod_range "$number")" via "$(node_address "$number")"
  done
}

# The kubelet wants its root cgroup made beforehand, in every hierarchy.
make_cgroup() {
  local hierarchy setting
  for hierarchy in /sys/fs/cgroup/*/; do
    mkdir -p "$hierarchy/kvorum-node-$1"
  done
  # An empty cpuset takes no process.
  for setting in cpuset.cpus cpuset.mems; do
    cat "/sys/fs/cgroup/cpuset/$setting" >"/sys/fs/cgroup/cpuset/kvorum-node-$1/$setting"
  done
}

# One image with a shell and the usual small programs; every Pod's sandbox is
# made from it too.
give_base_image() {
  local root=$state/base-image applet number
  mkdir -p "$root/bin" "$root/etc"
  install -m 755 "$(command -v busybox)" "$root/bin/busybox"
  for applet in $(busybox --list); do
    [[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
  done
  "$here/image.sh" "$base_image" "$root" "$state/base-image.tar" sleep inf
  for number in "${node_numbers[@]}"; do
    wait_for 30 "containerd of node-$number" containerd_answers "$number"
  done
  "$here/images.sh" "$state/base-image.tar"
}

containerd_answers() {
  nsenter --target "$(pid_of "node-$1")" --mount ctr version
}

nodes_ready() {
  [[ $(kubectl get nodes --no-headers | grep -cw Ready) == "${#node_numbers[@]}" ]]
}

volumes_offered() {
  local volumes
  volumes=$(kubectl get persistentvolumes --no-headers | grep -cw Available)
  [[ $volumes == $((${#node_numbers[@]} * volumes_per_node)) ]]
}

main
