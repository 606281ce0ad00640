# What the scripts of this folder share: names, addresses, processes, waiting.
# Sourced, never run.
#
# Addresses come from 198.18.0.0/15, the range reserved for benchmarks, which no
# real network uses:
#   198.18.0.1        this machine, with the control plane and cluster DNS
#   198.18.0.11 ..    the nodes, one for each number
#   198.18.N.0/24     the Pods of node-N
#   198.19.0.0/16     Services
# shellcheck shell=bash
# shellcheck disable=SC2034  # the names are used by the scripts that source this
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${KVORUM_KUBE_DIR:-/var/lib/kvorum-kube}
cache=${KVORUM_TOOLS:-$HOME/.cache/kvorum-tools}
tools=$cache/bin
# More than the tests use at once, for a volume is offered again only when emptied.
volumes_per_node=8

bridge=kvorum0
control_address=198.18.0.1
dns_address=198.19.0.10
service_range=198.19.0.0/16
every_range=198.18.0.0/15
node_numbers=(1 2 3)
base_image=localhost/busybox:1

node_address() { echo "198.18.0.1$1"; }
pod_range() { echo "198.18.$1.0/24"; }

kubectl() {
  command "$tools/kubectl" --kubeconfig "$state/kubeconfig" --cache-dir "$state/kubectl-cache" "$@"
}

# --- words for the one who runs this ---

say() { printf '%s %s\n' "$(date +%T)" "$*"; }

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

need_root() { [[ $(id -u) == 0 ]] || fail "nodes need root: run as root"; }

need_bench() { [[ -e $state/kubeconfig ]] || fail "no cluster in $state: start one with tests/kube/up.sh"; }

# Turns "node-2" or "2" into "2".
node_number() {
  local number=${1#node-}
  [[ " ${node_numbers[*]} " == *" $number "* ]] || fail "'$1' is no node: give one of ${node_numbers[*]/#/node-}"
  echo "$number"
}

# Holds off a second up or down until this script ends. The lock is on a folder
# that is there anyway, so it leaves nothing behind.
lock() {
  exec 8<"$(dirname "$state")"
  flock 8
}

# wait_for SECONDS WHAT COMMAND...: repeats the command until it succeeds.
wait_for() {
  local seconds=$1 what=$2 deadline=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "$what: still not so after $seconds s; logs are in $state/log"
    sleep 0.2
  done
}

# --- processes, each known by a name and recorded in $state/pid ---

# launch NAME COMMAND...: runs the command in the background.
launch() {
  local name=$1
  shift
  setsid "$@" >>"$state/log/$name.log" 2>&1 </dev/null 8<&- &
  record "$name" $!
}

# The start time goes with the id: an id alone may have passed to a stranger.
record() { echo "$2 $(start_time "$2")" >"$state/pid/$1"; }

# Field 22 of stat; counted from behind the program's name, which may hold blanks.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# Prints the id of a recorded process; fails if it has ended.
pid_of() {
  local pid started
  read -r pid started <"$state/pid/$1" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]] || return 1
  echo "$pid"
} 2>/dev/null

# Ends a recorded process and those it has started; one that has ended already is
# fine. Always by force: what is stopped here is either lost by intent or thrown
# away.
stop() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid"
}

# Waits for the end of a process that was stopped, and forgets it.
forget() {
  wait_for 30 "end of $1" ended "$1"
  rm -f "$state/pid/$1"
}

ended() { ! pid_of "$1"; }
