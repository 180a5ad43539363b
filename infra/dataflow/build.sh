#!/usr/bin/env bash
# Build the launcher image of the Flex Template on top of a worker image, and push it.
#   bash infra/dataflow/build.sh REGISTRY/mdfp-worker@sha256:… REGISTRY/mdfp-launcher
# Ends with the image by digest.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,4s/^# *//p' "$0"; exit 2; }
cd "$(dirname "$0")/../.."
worker=$1 name=$2
case $worker in
  *@sha256:*) ;;
  *) echo "$worker: expected the worker image by digest, as infra/docker/build.sh prints it" >&2; exit 2 ;;
esac
base=$(sed -n 's/^ARG LAUNCHER_IMAGE=//p' infra/dataflow/Dockerfile)
digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$base")
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
docker buildx build --platform linux/amd64 --file infra/dataflow/Dockerfile --tag "$name:$(git rev-parse --short=12 HEAD)" \
  --push --build-arg "WORKER_IMAGE=$worker" --build-arg "LAUNCHER_IMAGE=${base%:*}@$digest" --metadata-file "$metadata" .
echo "$name@$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$metadata")"
