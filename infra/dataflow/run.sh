#!/usr/bin/env bash
# Start a job of the Flex Template: the shards of the newest plan that are missing.
#   bash infra/dataflow/run.sh TEMPLATE REGION recipe=gs://… [NAME=VALUE …]
# TEMPLATE is gs://…/templates/mdfp-build.json (Terraform's output `template`); further parameters are those of
# infra/dataflow/metadata.json, and Beam's. Machines, network, account and labels are the template's own.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,5s/^# *//p' "$0"; exit 2; }
template=$1 region=$2
shift 2
# A parameter may hold commas, so each is given by itself.
parameters=()
for parameter in "$@"; do parameters+=(--parameters "^~^$parameter"); done
name=mdfp-build-$(date -u +%Y%m%d-%H%M%S)
exec gcloud dataflow flex-template run "$name" --template-file-gcs-location "$template" --region "$region" "${parameters[@]}"
