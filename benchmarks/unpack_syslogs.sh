#!/bin/sh
# Unpacks Debian's rsyslog and syslog-ng into build/syslog, where `make bench` finds them. They cannot
# both be installed, since each is the system's log daemon; and nothing of the system is touched.
# Needs a Debian (or a child of it), and package lists that are fresh (`apt-get update`).
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/syslog/debs/partial
for package in rsyslog syslog-ng-core; do
  apt-get install --yes --quiet=2 --download-only --no-install-recommends \
    -o Dir::Cache::archives="$PWD/build/syslog/debs" "$package"
done
for deb in build/syslog/debs/*.deb; do
  dpkg -x "$deb" build/syslog
done
