# Who is who in the cluster: keys, certificates, tokens, kubeconfigs.
# Sourced by up.sh, never run.
#
# A user is a random token in a file that the API server reads; certificates are
# only where Kubernetes takes nothing else. RBAC holds for all but admin.
# shellcheck shell=bash disable=SC2154  # lib.sh sets the names

make_identities() {
  make_authority
  make_certificate apiserver "/CN=kube-apiserver" \
    "IP:$control_address,IP:127.0.0.1,IP:198.19.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  make_certificate kubelet-client "/CN=kube-apiserver" ""
  openssl genrsa -out "$state/pki/service-accounts.key" 2048 2>/dev/null

  local number
  : >"$state/pki/tokens.csv"
  make_user admin system:masters "$state/kubeconfig"
  make_user system:kube-controller-manager "" "$state/pki/controller-manager.kubeconfig"
  make_user system:kube-scheduler "" "$state/pki/scheduler.kubeconfig"
  make_user system:coredns "" "$state/pki/coredns.kubeconfig"
  make_user system:kube-proxy "" "$state/pki/kube-proxy.kubeconfig"
  for number in "${node_numbers[@]}"; do
    make_user "system:node:node-$number" system:nodes "$state/pki/node-$number.kubeconfig"
  done
}

make_authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=kvorum-kube \
    -keyout "$state/pki/ca.key" -out "$state/pki/ca.crt" 2>/dev/null
}

make_certificate() {
  local name=$1 subject=$2 alternatives=$3
  openssl req -newkey rsa:2048 -nodes -subj "$subject" \
    -keyout "$state/pki/$name.key" -out "$state/pki/$name.csr" 2>/dev/null
  openssl x509 -req -days 30 -in "$state/pki/$name.csr" -out "$state/pki/$name.crt" \
    -CA "$state/pki/ca.crt" -CAkey "$state/pki/ca.key" -CAcreateserial \
    -extfile <(echo "${alternatives:+subjectAltName=$alternatives}") 2>/dev/null
}

make_user() {
  local user=$1 group=$2 file=$3 token
  token=$(openssl rand -hex 16)
  echo "$token,$user,$user,\"$group\"" >>"$state/pki/tokens.csv"
  kubeconfig "$user" "$token" >"$file"
  chmod 600 "$file"
}

kubeconfig() {
  local user=$1 token=$2
  cat <<END
apiVersion: v1
kind: Config
current-context: kvorum
clusters:
  - name: kvorum
    cluster:
      server: https://$control_address:6443
      certificate-authority-data: $(base64 -w 0 "$state/pki/ca.crt")
contexts:
  - name: kvorum
    context: {cluster: kvorum, user: "$user"}
users:
  - name: "$user"
    user: {token: $token}
END
}
