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
# Spark's and Flink's job servers (make engines) are put together by Maven, which brings Java; Prism by Go 1.26, which a Go
# from 1.21 on fetches itself.
need mvn maven
# Stores on this machine (make stores): a web server, and what Azurite runs on. Their services are not started.
export RUNLEVEL=1
PATH=$PATH:/usr/sbin need nginx nginx-light
need npm npm
