#!/usr/bin/env bash
# One node: its loss and its return.
#
#   node.sh stop NODE    the machine is gone: kubelet, containers and network, at once
#   node.sh start NODE   it boots again, with its disk as it was
#   node.sh cut NODE     its network is gone, all that runs on it runs on
#   node.sh mend NODE    its network is back
#
# A node is a set of namespaces of the kernel: processes, mounts, network and
# host name. Its first process is node-init.sh; when that dies the kernel ends
# everything else on the node, as a power cut would.
source "$(dirname "$0")/lib.sh"

main() {
  [[ $# == 2 ]] || fail "usage: node.sh stop|start|cut|mend NODE"
  need_root
  need_bench
  local number
  number=$(node_number "$2")
  case $1 in
    stop) stop_node "$number" ;;
    start) start_node "$number" ;;
    cut) ip link set "$(node_link "$number")" down ;;
    mend) ip link set "$(node_link "$number")" up ;;
    *) fail "'$1' can't be done to a node: say stop, start, cut or mend" ;;
  esac
  route_services
}

start_node() {
  local number=$1 init
  ended "node-$number" || fail "node-$number runs already"
  launch "node-$number" unshare --mount --pid --uts --net --fork --kill-child --mount-proc \
    "$here/node-init.sh" "$number"
  wait_for 5 "first process of node-$number" first_process "$number"
  init=$(first_process "$number")
  record "node-$number" "$init"
  plug_in "$number" "$init"
}

# The child of the recorded unshare, which is process 1 inside.
first_process() {
  local outer
  outer=$(pid_of "node-$1")
  grep -o '[0-9]\+' "/proc/$outer/task/$outer/children"
}

# Connects the network of a node with the bridge. The cable goes when either end does.
plug_in() {
  local number=$1 init=$2 link
  link=$(node_link "$number")
  ip link add "$link" type veth peer name eth0 netns "$init" ||
    fail "node-$number did not start; see $state/log/node-$number.log"
  ip link set "$link" master "$bridge" up
}

node_link() { echo "kvorum0-node$1"; }

stop_node() {
  stop "node-$1"
  forget "node-$1"
  # The kernel takes the cable away a moment after the last process.
  wait_for 5 "network of node-$1 gone" link_gone "$(node_link "$1")"
}

link_gone() { ! ip link show "$1"; }

# From this machine, Services are reached through a node that lives.
route_services() {
  local number
  for number in "${node_numbers[@]}"; do
    if pid_of "node-$number" >/dev/null; then
      ip route replace "$service_range" via "$(node_address "$number")"
      return
    fi
  done
}

# Sourced by up.sh and down.sh for its functions.
[[ ${BASH_SOURCE[0]} != "$0" ]] || main "$@"
