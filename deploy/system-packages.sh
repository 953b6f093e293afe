#!/bin/sh
# Installs the system packages that the tests use: Mosquitto, the stock MQTT broker and clients.
# Prints what it does; does nothing where they are there already.
set -eu
packages=""
command -v mosquitto_pub >/dev/null 2>&1 || packages="$packages mosquitto-clients"
[ -n "$(command -v mosquitto || ls /usr/sbin/mosquitto 2>/dev/null)" ] || packages="$packages mosquitto"
[ -z "$packages" ] && exit 0
echo "System packages needed by the tests:$packages"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "This is no Debian-like system: install them with your package manager, then try again." >&2
    exit 1
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo -n"
echo "+ $as_root apt-get update && $as_root apt-get install -y --no-install-recommends$packages"
# A service that the package would start is not wanted: tests start their own on free ports.
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ "$(id -u)" = 0 ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    made_policy=1
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"' EXIT
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $packages >/dev/null
