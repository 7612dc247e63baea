#!/bin/sh
# Installs the named things if they are missing: with apt as root, else it says what to install.
# Usage: tools/setup.sh build|run|test|load
set -eu

missing=""
need() { # need PROGRAM PACKAGE...
	command -v "$1" >/dev/null 2>&1 && return 0
	shift
	missing="$missing $*"
}
demand() { # demand PROGRAM WHERE: what apt has only in versions that are too old
	command -v "$1" >/dev/null 2>&1 && return 0
	echo "weir: $1 is missing; install $2" >&2
	exit 1
}

demand go "Go 1.26 or later from https://go.dev/dl"
demand node "Node.js 20.19 or later from https://nodejs.org"
demand npm "npm, which comes with Node.js"
need g++ g++ # DuckDB is linked in
need ffmpeg ffmpeg fonts-dejavu-core
case "${1:-build}" in
test)
	need chromium chromium
	need brotli brotli
	need zstd zstd
	;;
load)
	need chromium chromium
	need nginx nginx-light
	[ -e /usr/lib/nginx/modules/ngx_rtmp_module.so ] || missing="$missing libnginx-mod-rtmp"
	need varnishd varnish
	need traffic_server trafficserver
	need wrk wrk
	need h2load nghttp2-client
	need ip iproute2
	need nft nftables
	;;
esac
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "weir: please install what is missing, as root:  apt-get install$missing" >&2
	exit 1
fi
echo "weir: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of packages
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
