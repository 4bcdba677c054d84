#!/usr/bin/env bash
# Installs Debian's Chromium where there is none, and prints its path: get_chromium.sh
# Elsewhere: make CHROMIUM=/path/to/chromium, with Chromium or Chrome of any version that has WebGPU (from 113 on).
set -euo pipefail

if ! command -v chromium > /dev/null; then
  fail() {
    echo "get_chromium.sh: $1" >&2
    echo "Install Chromium or Chrome, and name it: make CHROMIUM=/path/to/chromium" >&2
    exit 1
  }
  command -v apt-get > /dev/null || fail "this is no Debian: there is no apt-get"
  [ "$(id -u)" = 0 ] || fail "Chromium is not there, and only root can install it"
  echo "installing chromium (a minute)" >&2
  {
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium fonts-liberation
  } > /dev/null || fail "apt-get can't install chromium"
fi
command -v chromium
