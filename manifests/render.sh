#!/usr/bin/env bash
# Renders manifests/install.yaml from the chart, with its default values:
#   render.sh           writes it
#   render.sh --check   fails when it is not what the chart gives
# helm is taken from KVORUM_TOOLS_BIN, the cache of tests/tools/install.sh, or PATH.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
chart=$root/charts/kvorum-operator
install=$root/manifests/install.yaml

main() {
  PATH=${KVORUM_TOOLS_BIN:-$HOME/.cache/kvorum-tools/bin}:$PATH
  case ${1:-} in
    "")
      copy_crds
      render >"$install.new"
      mv "$install.new" "$install"
      ;;
    --check)
      render | diff --unified "$install" - || fail "manifests/install.yaml is stale: run manifests/render.sh"
      diff --recursive "$root/crds" "$chart/files/crds" || fail "the chart's CRDs are stale: run manifests/render.sh"
      ;;
    *) fail "usage: render.sh [--check]" ;;
  esac
}

# A chart can only read files within it.
copy_crds() {
  mkdir -p "$chart/files/crds"
  rm -f "$chart/files/crds"/*.yaml
  cp "$root/crds"/*.yaml "$chart/files/crds/"
}

# Nothing here is managed by Helm, so nothing may say so.
render() {
  cat <<'END'
# Kvorum's operator, its rights and the KvorumCluster kind. Rendered by manifests/render.sh; do not edit.
#   kubectl apply --server-side -f install.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: kvorum-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
END
  helm template kvorum-operator "$chart" --namespace kvorum-system --set crds.keep=false |
    sed -e '/helm.sh\//d' -e '/app.kubernetes.io\/managed-by: Helm/d' -e '/^# Source: /d'
}

fail() {
  echo "render.sh: $*" >&2
  exit 1
}

main "$@"
