#!/usr/bin/env bash
# Checks the bench itself: starts a cluster, does in it what the tests need,
# takes it down, and compares this machine before and after.
source "$(dirname "$0")/lib.sh"

main() {
  need_root
  "$here/down.sh"
  local before after
  before=$(traces)

  check "cluster starts" "$here/up.sh"
  kubectl create namespace smoke >/dev/null
  check "a Pod runs on each node" pods_on_each_node
  check "logs and exec work" logs_and_exec
  check "a Service is reached by name, from every node" service_by_name
  check "a Pod has a name of its own in a headless Service" pod_by_name
  check "the API server is reached from a Pod" apiserver_from_pod
  check "this machine reaches Pods and Services" reach_from_here
  check "a user who is not root writes to a volume" write_volume
  check "a volume is renewed after its claim" volume_renewed
  check "a node is drained" drain_node
  check "a stopped node is noticed" stopped_node_noticed
  check "a stopped node returns" stopped_node_returns
  check "a cut node is noticed and mended" cut_and_mend
  check "cluster goes" "$here/down.sh"

  after=$(traces)
  check "no trace is left" diff <(echo "$before") <(echo "$after")
  echo "$passed passed, 0 failed"
}

passed=0

check() {
  local what=$1 started=$SECONDS output
  shift
  output=$("$@" 2>&1) || {
    echo "$output"
    fail "not so: $what; the cluster is left as it is"
  }
  passed=$((passed + 1))
  say "$what ($((SECONDS - started)) s)"
}

# All that a cluster could leave behind on this machine.
traces() {
  ip -brief link | awk '{print $1}'
  ip route
  ip netns
  iptables-save 2>/dev/null | grep -v '^#' || true
  awk '{print $5}' /proc/self/mountinfo
  find /sys/fs/cgroup -type d -name '*kvorum*'
  ls -A /run "$(dirname "$state")" /var/log
  grep -s . /proc/sys/vm/{overcommit_memory,panic_on_oom} /proc/sys/kernel/{panic,panic_on_oops} \
    /proc/sys/kernel/keys/root_max{keys,bytes} /proc/sys/net/ipv4/ip_forward
  pgrep -l '^(containerd|coredns|kube|runc)' 2>/dev/null || true
  pgrep -fl "$state/" || true
}

pods_on_each_node() {
  local number
  for number in "${node_numbers[@]}"; do
    web_pod "$number"
  done | kubectl apply -f -
  kubectl --namespace smoke wait --for condition=Ready --timeout 60s pod --selector app=web
}

# A web server that says which node it is on.
web_pod() {
  cat <<END
---
apiVersion: v1
kind: Pod
metadata: {name: web-$1, namespace: smoke, labels: {app: web}}
spec:
  nodeName: node-$1
  hostname: web-$1
  subdomain: web-pods
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: $base_image
      command: [sh, -c, "mkdir /www; echo node-$1 | tee /www/index.html; exec httpd -f -p 8080 -h /www"]
END
}

logs_and_exec() {
  [[ $(kubectl --namespace smoke logs web-1) == node-1 ]]
  [[ $(in_pod 2 hostname) == web-2 ]]
}

in_pod() {
  local number=$1
  shift
  kubectl --namespace smoke exec "web-$number" -- "$@"
}

service_by_name() {
  kubectl apply -f - <<END
apiVersion: v1
kind: Service
metadata: {name: web, namespace: smoke}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
END
  local number
  for number in "${node_numbers[@]}"; do
    wait_for 10 "Service from node-$number" in_pod "$number" timeout 2 wget -q -O - http://web
  done
  # Enough calls that every Pod behind the Service has surely answered one.
  for number in {1..40}; do
    in_pod 1 timeout 2 wget -q -O - http://web.smoke.svc.cluster.local
  done | sort -u | diff - <(printf 'node-%s\n' "${node_numbers[@]}")
}

pod_by_name() {
  kubectl apply -f - <<END
apiVersion: v1
kind: Service
metadata: {name: web-pods, namespace: smoke}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{port: 8080}]
END
  wait_for 40 "name of Pod web-3" in_pod 1 nslookup web-3.web-pods.smoke.svc.cluster.local
  [[ $(in_pod 1 timeout 2 wget -q -O - http://web-3.web-pods:8080) == node-3 ]]
}

# The image has no TLS that the API server would accept. An HTTP request gets an
# answer that only it would give.
apiserver_from_pod() {
  in_pod 3 sh -c "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc kubernetes.default 443" |
    grep 'HTTP request to an HTTPS server'
}

reach_from_here() {
  local pod service
  pod=$(kubectl --namespace smoke get pod web-2 --output jsonpath='{.status.podIP}')
  service=$(kubectl --namespace smoke get service web --output jsonpath='{.spec.clusterIP}')
  timeout 2 busybox wget -q -O - "http://$pod:8080"
  timeout 2 busybox wget -q -O - "http://$service"
}

write_volume() {
  kubectl apply -f - <<END
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: smoke}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: smoke}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true, fsGroup: 1000}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
  containers:
    - name: writer
      image: $base_image
      command: [sh, -c, "id; echo kept > /data/file && cat /data/file"]
      volumeMounts: [{name: data, mountPath: /data}]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
END
  kubectl --namespace smoke wait --for jsonpath='{.status.phase}'=Succeeded --timeout 60s pod/writer
  kubectl --namespace smoke get persistentvolumeclaim data --output jsonpath="{.spec.volumeName}" >"$state/smoke-volume"
}

volume_renewed() {
  local volume
  volume=$(cat "$state/smoke-volume")
  kubectl --namespace smoke delete pod/writer persistentvolumeclaim/data
  wait_for 30 "$volume available" volume_available "$volume"
  [[ -z $(find "$state/node-"*/volumes -type f) ]]
}

volume_available() {
  [[ $(kubectl get persistentvolume "$1" --output jsonpath='{.status.phase}') == Available ]]
}

drain_node() {
  kubectl drain node-3 --force --ignore-daemonsets --timeout 60s
  [[ -z $(kubectl --namespace smoke get pod web-3 --ignore-not-found) ]]
  kubectl uncordon node-3
}

stopped_node_noticed() {
  "$here/node.sh" stop node-2
  kubectl wait --for condition=Ready=Unknown --timeout 60s node/node-2
}

stopped_node_returns() {
  "$here/node.sh" start node-2
  kubectl wait --for condition=Ready --timeout 60s node/node-2
  wait_for 60 "Pod web-2 again" in_pod 2 true
}

cut_and_mend() {
  "$here/node.sh" cut node-1
  kubectl wait --for condition=Ready=Unknown --timeout 60s node/node-1
  "$here/node.sh" mend node-1
  kubectl wait --for condition=Ready --timeout 60s node/node-1
  wait_for 30 "Pod web-1 again" in_pod 1 true
}

main
