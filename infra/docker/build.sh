#!/usr/bin/env bash
# Build the worker image, its bases pinned to the digests that their tags have now, and push it.
#   bash infra/docker/build.sh REGISTRY/mdfp-worker [TAG]
# More arguments for `docker buildx build` in BUILD_ARGS, for example BUILD_ARGS="--build-arg EXTRAS=build,convert".
# Ends with the image by digest, which is what jobs and Terraform are given.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5s/^# *//p' "$0"; exit 2; }
cd "$(dirname "$0")/../.."
name=$1
revision=$(git rev-parse HEAD)
tag=${2:-${revision:0:12}}
[ -z "$(git status --porcelain)" ] || { echo "the checkout has changes that no commit holds; commit them first" >&2; exit 1; }

pinned() { # pinned IMAGE: the image by the digest that its tag has now
  case $1 in *@sha256:*) echo "$1"; return ;; esac
  local digest
  digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1")
  echo "${1%:*}@$digest"
}

default() { sed -n "s/^ARG $1=//p" infra/docker/Dockerfile; }

python=$(pinned "$(default PYTHON_IMAGE)")
beam=$(pinned "$(default BEAM_IMAGE)")
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
# Workers are x86-64, whatever this machine is. Word splitting of BUILD_ARGS is meant.
# shellcheck disable=SC2086
docker buildx build --platform linux/amd64 --file infra/docker/Dockerfile --tag "$name:$tag" --push \
  --build-arg "PYTHON_IMAGE=$python" --build-arg "BEAM_IMAGE=$beam" --build-arg "REVISION=$revision" \
  --label "org.opencontainers.image.base.name=$python" --metadata-file "$metadata" ${BUILD_ARGS:-} .
digest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$metadata")
echo "$name@$digest"
