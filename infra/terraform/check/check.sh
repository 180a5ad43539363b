#!/usr/bin/env bash
# Check the Terraform modules without any cloud and without the registry of providers: format, validation against the
# providers' published schemas, and their tests with mocked providers.
#   bash infra/terraform/check/check.sh [--install-only]
# Needs terraform 1.9 or later, go 1.24 or later, npm and python3. What is fetched and compiled stays in
# ${MDFP_CACHE:-~/.cache/mdfp}/terraform. With the real providers at hand, `terraform init`, `validate` and `test` in a module
# say the same and more.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${MDFP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mdfp}/terraform
mkdir -p "$cache/bin" "$cache/schemas"

package() { # package NAME VERSION SHA256: the type declarations of a provider, in $cache/NAME
  [ -e "$cache/$1/.$2" ] && return
  local archive=cdktf-$1-$2.tgz
  (cd "$cache" && npm pack --silent "@cdktf/$1@$2" >/dev/null)
  echo "$3  $cache/$archive" | sha256sum --check --quiet
  rm -rf "${cache:?}/$1"
  mkdir "$cache/$1"
  tar -xzf "$cache/$archive" -C "$cache/$1" --strip-components=1 --wildcards 'package/lib/*/index.d.ts'
  rm "$cache/$archive"
  touch "$cache/$1/.$2"
}

schema() { # schema PROVIDER MODULE PATTERN: the schema of the resources that a module's files use
  local names
  names=$(grep -hoE "^resource \"$3\w*\"" "$here/../$2"/*.tf | cut -d'"' -f2 | sort -u)
  # One resource is in the beta provider alone, and only that is asked of it.
  case $1 in
    google) names=$(grep -v flex_template <<<"$names") ;;
    google-beta) names=$(grep flex_template <<<"$names") ;;
  esac
  # shellcheck disable=SC2086
  python3 "$here/schema.py" "$cache/provider-$1" $names >"$cache/schemas/$1.json"
}

# The schemas of google and google-beta 6.50.0 and aws 6.25.0.
package provider-google 16.12.1 c13e11596542ffb7412d5f4caa9376525fbef88d18cdedac03c9b3c392a1fc80
package provider-google-beta 16.12.1 573cb241a3e378e79a3bd6a099caf3688d165b652b26fae260b65c9e3922acdf
package provider-aws 21.22.1 d1446ab6ac6526c6fab4b28a5ebefdd90c0ce56203949925d35a4d286c05cbbf
if [ ! -x "$cache/bin/terraform-provider-google" ] || [ "$here/main.go" -nt "$cache/bin/terraform-provider-google" ]; then
  (cd "$here" && CGO_ENABLED=0 go build -p 1 -o "$cache/bin/terraform-provider-google" .)
  for name in google-beta aws; do
    ln -sf terraform-provider-google "$cache/bin/terraform-provider-$name"
  done
fi
[ "${1:-}" = --install-only ] && exit

schema google google google_
schema google-beta google google_
schema aws aws aws_
export MDFP_SCHEMA_GOOGLE=$cache/schemas/google.json MDFP_SCHEMA_GOOGLE_BETA=$cache/schemas/google-beta.json
export MDFP_SCHEMA_AWS=$cache/schemas/aws.json
export TF_CLI_CONFIG_FILE=$cache/terraformrc CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
cat >"$TF_CLI_CONFIG_FILE" <<END
provider_installation {
  dev_overrides {
    "hashicorp/google"      = "$cache/bin"
    "hashicorp/google-beta" = "$cache/bin"
    "hashicorp/aws"         = "$cache/bin"
  }
  direct {}
}
END

terraform fmt -check -recursive "$here/.."
for module in google aws; do
  cd "$here/../$module"
  for step in validate test; do
    said=$(terraform "$step" -no-color 2>&1) || { echo "$said"; echo "terraform: $module: $step failed"; exit 1; }
  done
  echo "terraform: $module: formatted, valid, $(sed -n 's/^Success! \([0-9]* passed\).*/\1/p' <<<"$said")"
done
