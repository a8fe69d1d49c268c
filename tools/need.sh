#!/bin/sh
# Makes sure that programs and files are there: need.sh PROBE=PACKAGE...
#
# PROBE is the name of a command or the absolute path of a file, which may have wildcards. As root, the
# script installs missing packages with apt-get. For another user it prints their names and exits with 1.
set -u

missing=
for pair in "$@"; do
    probe=${pair%%=*}
    case $probe in
        # shellcheck disable=SC2086
        /*) ls -d $probe >/dev/null 2>&1 && continue ;;
        *) command -v "$probe" >/dev/null 2>&1 && continue ;;
    esac
    missing="$missing ${pair#*=}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing packages (Debian's names):$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 && exit 0
# The package lists are absent or too old.
# shellcheck disable=SC2086
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null
