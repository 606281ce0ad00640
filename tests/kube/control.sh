# The control plane: its store, its daemons and cluster DNS, as processes of
# this machine bound to the bridge. Sourced by up.sh, never run.
# shellcheck shell=bash disable=SC2154  # lib.sh sets the names

start_store() {
  store=${KVORUM_KUBE_STORE:-}
  [[ -z $store ]] || return 0
  store=http://$control_address:2379
  # Without fsync: this store is thrown away with the cluster, and the disk
  # belongs to the members under test.
  launch etcd "$tools/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$store" --advertise-client-urls "$store" \
    --listen-peer-urls "http://$control_address:2380"
}

# Webhooks are called at the addresses of their Pods (aggregator routing),
# since no kube-proxy runs on this machine itself.
start_apiserver() {
  launch kube-apiserver "$tools/kube-apiserver" \
    --bind-address "$control_address" --advertise-address "$control_address" \
    --etcd-servers "$store" \
    --service-cluster-ip-range "$service_range" \
    --enable-aggregator-routing \
    --allow-privileged \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
    --token-auth-file "$state/pki/tokens.csv" --client-ca-file "$state/pki/ca.crt" \
    --tls-cert-file "$state/pki/apiserver.crt" --tls-private-key-file "$state/pki/apiserver.key" \
    --kubelet-client-certificate "$state/pki/kubelet-client.crt" \
    --kubelet-client-key "$state/pki/kubelet-client.key" \
    --kubelet-preferred-address-types InternalIP \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$state/pki/service-accounts.key" \
    --service-account-signing-key-file "$state/pki/service-accounts.key"
  wait_for 60 "API server ready" kubectl get --raw /readyz
}

# A silent node counts as lost after 20 s, not 50: tests wait for that.
start_controllers() {
  launch kube-controller-manager "$tools/kube-controller-manager" \
    --bind-address "$control_address" --leader-elect=false \
    --kubeconfig "$state/pki/controller-manager.kubeconfig" \
    --authentication-kubeconfig "$state/pki/controller-manager.kubeconfig" \
    --authorization-kubeconfig "$state/pki/controller-manager.kubeconfig" \
    --use-service-account-credentials \
    --root-ca-file "$state/pki/ca.crt" \
    --service-account-private-key-file "$state/pki/service-accounts.key" \
    --cluster-signing-cert-file "$state/pki/ca.crt" --cluster-signing-key-file "$state/pki/ca.key" \
    --node-monitor-grace-period 20s
  launch kube-scheduler "$tools/kube-scheduler" \
    --bind-address "$control_address" --leader-elect=false \
    --kubeconfig "$state/pki/scheduler.kubeconfig" \
    --authentication-kubeconfig "$state/pki/scheduler.kubeconfig" \
    --authorization-kubeconfig "$state/pki/scheduler.kubeconfig"
}

# Caching and lifetimes are those of an ordinary cluster, so that what goes
# wrong there when addresses change goes wrong here too. Names of the outside
# do not exist, and the second zone says so at once.
start_dns() {
  cat >"$state/Corefile" <<END
cluster.local in-addr.arpa ip6.arpa {
    bind $control_address
    errors
    kubernetes {
        kubeconfig $state/pki/coredns.kubeconfig kvorum
        pods insecure
        ttl 30
    }
    cache 30 {
        disable success cluster.local
        disable denial cluster.local
    }
    loadbalance
}
. {
    bind $control_address
    template ANY ANY {
        rcode NXDOMAIN
    }
}
END
  launch coredns "$tools/coredns" -conf "$state/Corefile"
}
