#!/usr/bin/env bash
# The first process of a node; started by node.sh inside the node's namespaces.
#
# The node sees this machine's programs and kernel, but has /var and /run of its
# own, so everything on it can use its ordinary paths. /var is its disk and
# outlives it; /run is gone when it stops.
source "$(dirname "$0")/lib.sh"

number=$1
name=node-$number
disk=$state/$name

main() {
  hostname "$name"
  own_folders
  own_kernel_settings
  own_network
  start_daemons
  # Ends only by being killed; until then it reaps what its children leave behind.
  while true; do wait -n || sleep 1; done
}

# The tools are bound into /run before /var changes: they may lie under either.
own_folders() {
  mount -t tmpfs node /mnt
  mkdir -p /mnt/tools /mnt/log
  mount --bind "$cache" /mnt/tools
  mount --bind "$state/log" /mnt/log
  mount --bind "$disk" /var
  # No note of it in /run/mount, which is just being covered.
  mount --no-mtab --move /mnt /run
  # Pods may ask to see mounts that are made later.
  mount --make-rshared /
  tools=/run/tools/bin
}

# The kubelet sets these for the whole machine. It leaves them alone where they
# are as it wants them, so it is shown files that say so.
own_kernel_settings() {
  local setting
  mkdir -p /run/sysctl
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    echo "${setting#*=}" >"/run/sysctl/${setting//\//.}"
    mount --bind "/run/sysctl/${setting//\//.}" "/proc/sys/${setting%=*}"
  done
}

# The outside is unreachable, and says so at once instead of by a time-out.
own_network() {
  local other
  wait_for 10 "network cable" ip link show eth0
  ip link set lo up
  ip link set eth0 up
  ip address add "$(node_address "$number")/24" dev eth0
  ip route add unreachable default
  ip route add "$every_range" via "$control_address"
  for other in "${node_numbers[@]}"; do
    [[ $other == "$number" ]] || ip route add "$(pod_range "$other")" via "$(node_address "$other")"
  done
  echo 1 >/proc/sys/net/ipv4/ip_forward
}

start_daemons() {
  containerd --config /var/etc/containerd.toml >>"/run/log/$name-containerd.log" 2>&1 &
  # A kubelet that can't reach it ends.
  wait_for 30 "containerd" ctr version
  "$tools/kubelet" --config /var/etc/kubelet.yaml --kubeconfig /var/etc/kubelet.kubeconfig \
    --node-ip "$(node_address "$number")" >>"/run/log/$name-kubelet.log" 2>&1 &
  "$tools/kube-proxy" --config /var/etc/kube-proxy.yaml --hostname-override "$name" \
    >>"/run/log/$name-kube-proxy.log" 2>&1 &
}

main
