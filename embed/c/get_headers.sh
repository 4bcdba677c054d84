#!/usr/bin/env bash
# Puts ONNX Runtime's C headers into a folder: get_headers.sh build/embed/c/onnxruntime
# They come from Debian's package libonnxruntime-dev, which a Debian of this age may not have yet: a newer release's is
# taken, with apt's own checks of signatures, under a configuration of its own, so that the system's stays as it is.
# Elsewhere: make ORT_INCLUDE=folder, with onnxruntime_c_api.h of any ONNX Runtime from 1.20 on.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
release=${ONNXRUNTIME_HEADERS_RELEASE:-trixie}
package=libonnxruntime-dev
target=$1
[ ! -e "$target/onnxruntime_c_api.h" ] || exit 0

fail() {
  echo "get_headers.sh: $1" >&2
  echo "Give the headers of any ONNX Runtime from 1.20 on: make ORT_INCLUDE=folder" >&2
  exit 1
}

command -v apt-get > /dev/null || fail "this is no Debian: there is no apt-get"
# The mirror that this system takes its own packages from.
own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
site=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' | awk -v own="$own" '$1 == own { print $2; exit }')
[ -n "$site" ] || fail "this system's sources have no Debian mirror for $own"

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial"
echo "deb $site $release main" > "$work/sources.list"
apt=(apt-get -qq
  -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives"
  -o Acquire::Languages=none -o "APT::Sandbox::User=$(id -un)")
"${apt[@]}" update || fail "the package lists of $release can't be had"
(cd "$work" && "${apt[@]}" download "$package") || fail "$release has no package $package"
dpkg-deb --extract "$work"/"$package"_*.deb "$work/unpacked"
found=$(find "$work/unpacked" -name onnxruntime_c_api.h -print -quit)
[ -n "$found" ] || fail "$package has no onnxruntime_c_api.h"
rm -rf "$target"
cp -r "$(dirname "$found")" "$target"
