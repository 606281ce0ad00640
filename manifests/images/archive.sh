# Writes an image of one layer as a docker archive. Sourced by build.sh, never run.
# The same folder gives the same bytes: order, owners and times are fixed.
# shellcheck shell=bash

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# archive NAME:TAG FOLDER FILE.tar <CONFIG: the "config" object of the image, as JSON
archive() {
  local name=$1 folder=$2 file=$3 parts layer
  parts=$(mktemp -d)
  write_layer "$folder" "$parts/layer.tar"
  layer=$(sha256sum "$parts/layer.tar" | cut -d ' ' -f 1)
  cat >"$parts/config.json" <<END
{"architecture": "$(architecture)", "os": "linux", "created": "1970-01-01T00:00:00Z",
 "config": $(cat),
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]},
 "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "manifests/images/build.sh"}]}
END
  echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" >"$parts/manifest.json"
  rm -f "$file"
  tar --create --file "$file" --mtime @0 --owner 0 --group 0 --numeric-owner \
    --directory "$parts" manifest.json config.json layer.tar
  rm -rf "$parts"
}

# All belongs to root, except the folders that the program may write to when nobody mounts one there.
write_layer() {
  local folder=$1 layer=$2 writable
  local fixed=(--mtime @0 --numeric-owner --no-recursion --directory "$folder")
  (cd "$folder" && find . -mindepth 1 ! -path ./tmp ! -path ./var/lib/kvorum | LC_ALL=C sort) |
    tar --create --file "$layer" --owner 0 --group 0 "${fixed[@]}" --files-from -
  for writable in tmp var/lib/kvorum; do
    [[ -d $folder/$writable ]] || continue
    chmod 700 "$folder/$writable"
    # shellcheck disable=SC2154  # build.sh sets it
    tar --append --file "$layer" --owner "$user" --group "$user" "${fixed[@]}" "./$writable"
  done
}

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}
