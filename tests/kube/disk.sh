# The disk of a new node: the folder it will see as /var, with the settings of
# its daemons in etc. Sourced by up.sh, never run.
# shellcheck shell=bash disable=SC2154  # lib.sh sets the names

make_disk() {
  local number=$1 disk=$state/node-$1
  mkdir -p "$disk"/{cache,etc,lib,log,tmp,volumes} "$disk/etc/cni"
  ln -s /run "$disk/run"
  cp "$state/pki/ca.crt" "$disk/etc/ca.crt"
  cp "$state/pki/node-$number.kubeconfig" "$disk/etc/kubelet.kubeconfig"
  cp "$state/pki/kube-proxy.kubeconfig" "$disk/etc/kube-proxy.kubeconfig"
  echo "nameserver $control_address" >"$disk/etc/resolv.conf"
  containerd_settings >"$disk/etc/containerd.toml"
  cni_settings "$number" >"$disk/etc/cni/kvorum.conflist"
  kubelet_settings "$number" >"$disk/etc/kubelet.yaml"
  kube_proxy_settings "$number" >"$disk/etc/kube-proxy.yaml"
}

# restrict_oom_score_adj: on a machine without CAP_SYS_RESOURCE no sandbox would
# start otherwise.
containerd_settings() {
  cat <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$base_image"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/var/etc/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
END
}

# Every Pod has a cable of its own to its node, which routes. Given addresses
# are remembered in /run: after a reboot none is in use.
cni_settings() {
  cat <<END
{
  "cniVersion": "1.0.0",
  "name": "kvorum",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/pod-addresses",
        "ranges": [[{"subnet": "$(pod_range "$1")"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
END
}

# Images come only from images.sh and no registry has them: none may be removed
# to make room. The limits on room itself are low, for the disk is shared.
kubelet_settings() {
  cat <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: /var/etc/ca.crt}
cgroupDriver: cgroupfs
cgroupRoot: /kvorum-node-$1
clusterDNS: [$dns_address]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
enforceNodeAllocatable: []
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
imageMaximumGCAge: 0s
nodeLeaseDurationSeconds: 20
nodeStatusUpdateFrequency: 5s
oomScoreAdj: 0
resolvConf: /var/etc/resolv.conf
END
}

# What does not come from this node's own Pods is masqueraded, so that answers
# to it come back this way.
kube_proxy_settings() {
  cat <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: /var/etc/kube-proxy.kubeconfig}
clusterCIDR: $(pod_range "$1")
detectLocalMode: ClusterCIDR
conntrack: {maxPerCore: 0}
oomScoreAdj: 0
END
}
