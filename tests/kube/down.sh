#!/usr/bin/env bash
# Ends what up.sh started and removes every trace of it; also of a start that
# was cut short. Without a cluster it does nothing.
source "$(dirname "$0")/lib.sh"

main() {
  need_root
  lock
  stop_all
  remove_network
  remove_cgroups
  # Nothing on this machine has mounts in here: those of a node went with it.
  rm -rf --one-file-system "$state"
}

# All at once, then wait: a node with many Pods takes the kernel a few seconds.
stop_all() {
  local names name
  names=$(ls "$state/pid" 2>/dev/null) || return 0
  for name in $names; do
    stop "$name"
  done
  for name in $names; do
    forget "$name"
  done
}

# Routes and cables go with the bridge.
remove_network() {
  ! ip link show "$bridge" >/dev/null 2>&1 || ip link delete "$bridge"
}

# A cgroup can be removed a moment after its last process has ended.
remove_cgroups() { wait_for 10 "cgroups of the nodes removed" cgroups_removed; }

cgroups_removed() {
  find /sys/fs/cgroup/*/kvorum-node-* -depth -type d -exec rmdir {} + 2>/dev/null || true
  ! compgen -G '/sys/fs/cgroup/*/kvorum-node-*'
}

main
