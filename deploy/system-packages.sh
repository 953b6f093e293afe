#!/bin/sh
# Installs the system packages that the tests use, prints what it does, and does nothing where they
# are there already: Mosquitto (the stock MQTT broker and clients) and strace (records what a process
# does to its files, and lets its disk fail), systemd (units are brought about by a manager of the
# tests' own; the machine need not be booted by it), Podman and runc (containers) with a static BusyBox,
# from which the tests make the only image that they need.
set -eu

packages=""
need() { # need PACKAGE PROGRAM...: the package, unless one of the programs is there
    package=$1
    shift
    for program in "$@"; do
        if command -v "$program" >/dev/null 2>&1 || [ -x "$program" ]; then return 0; fi
    done
    packages="$packages $package"
}
need mosquitto mosquitto /usr/sbin/mosquitto
need mosquitto-clients mosquitto_pub
need strace strace
need systemd /lib/systemd/systemd /usr/lib/systemd/systemd
need iproute2 ip /usr/sbin/ip
need podman podman
need runc runc /usr/sbin/runc
need busybox-static /bin/busybox.static busybox
[ -n "$packages" ] || exit 0

echo "System packages needed by the tests:$packages"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "This is no Debian-like system: install them with your package manager, then try again." >&2
    exit 1
fi
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
if ! as_root true 2>/dev/null; then
    echo "You are not root, and sudo asks for a password. Install them yourself, then try again:" >&2
    echo "    sudo apt-get install -y --no-install-recommends$packages" >&2
    exit 1
fi

# The service that a package would start is not wanted: the tests start their own on free ports.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root sh -c "cat > $policy && chmod 755 $policy"
    trap 'as_root rm -f "$policy"' EXIT
fi
echo "+ apt-get update && apt-get install -y --no-install-recommends$packages"
as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
