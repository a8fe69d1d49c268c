#!/bin/sh
# Makes sure that things are there: need.sh PROBE=PACKAGE..., where PROBE is a command or the absolute
# path of a file, which may have wildcards. What is missing is installed with apt-get where we are root; elsewhere it is named,
# and the exit code is 1.
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
