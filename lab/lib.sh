# shellcheck shell=bash disable=SC2034  # its variables are for the scripts that source it
# What every lab script shares: where the lab is, how to speak, how to stop a process.
set -euo pipefail

LAB_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO=$(dirname "$LAB_SRC")
DEFAULT_DIR=${HOME:-/root}/.cache/zs-lab
LAB_DIR=$(realpath -m "${LAB_DIR:-$DEFAULT_DIR}")
export LAB_DIR

CEPH_DIR=$LAB_DIR/ceph
VIRT_DIR=$LAB_DIR/libvirt
NVRAM_DIR=$VIRT_DIR/lib/qemu/nvram
MARKER=$LAB_DIR/.zs-lab

POOL=libvirt-pool
STORAGE_POOL=images_rbd
CEPH_USER=libvirt
SECRET_USAGE="client.$CEPH_USER secret"
TEMPLATE=z-ubuntu20-rbd DOMAIN_NAME=huatai.me TEMPLATE_IP=192.168.6.247

say() { printf '%s\n' "lab: $*" >&2; }
die() { say "$*"; exit 1; }

# What to type before the name of a lab script to mean this lab.
lab_prefix() { [ "$LAB_DIR" = "$(realpath -m "$DEFAULT_DIR")" ] || echo "LAB_DIR=$LAB_DIR "; }

# Mount namespaces and qemu as root need root; say how instead of failing in the middle.
need_root() {
    [ "$(id -u)" = 0 ] || die "needs root: sudo -E env \"PATH=\$PATH\" $0 $*"
}

# The path ends up in XML, ceph.conf and sockets (sun_path holds 107 bytes).
check_dir() {
    case $LAB_DIR in
    *[!A-Za-z0-9/._-]*) die "LAB_DIR may hold only letters, digits, '/', '.', '_', '-': $LAB_DIR" ;;
    esac
    [ ${#LAB_DIR} -le 60 ] || die "LAB_DIR is too long for socket names (60 characters at most): $LAB_DIR"
}

need_lab() { [ -e "$MARKER" ] || die "no lab at $LAB_DIR: run lab/up first"; }

# up and down take turns. The lock is held by file descriptor 9; the children of an up that was killed
# hold on to it until they have ended.
with_lock() {
    while :; do
        exec 9>>"$MARKER"
        flock -w 600 9 || die "another lab/up or lab/down holds $LAB_DIR for 10 minutes"
        [ ! "/proc/self/fd/9" -ef "$MARKER" ] || return 0
        [ -d "$LAB_DIR" ] || return 1 # a lab/down went before us
    done
}

# without_lock COMMAND…: for daemons, which must not inherit the lock. The subshell keeps it until the
# command has daemonised and written its pid file; the exit keeps bash from replacing the subshell.
without_lock() {
    (
        "$@" 9>&-
        exit $?
    )
}

# wait_for SECONDS WHAT COMMAND…
wait_for() {
    local limit=$1 what=$2 end
    shift 2
    end=$((SECONDS + limit))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "waited $limit s for $what; logs are below $LAB_DIR"
        sleep 0.1
    done
}

# pid_of FILE: prints the pid if that process lives and belongs to this lab. Pids are reused:
# a process is ours when it names the lab's directory or sees it as its /var/lib/libvirt.
pid_of() {
    local pid
    [ -s "$1" ] || return 1
    read -r pid <"$1" || [ -n "${pid:-}" ] || return 1
    [ -d "/proc/$pid" ] || return 1
    if tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$LAB_DIR/" ||
        [ "/proc/$pid/root/var/lib/libvirt" -ef "$VIRT_DIR/lib" ]; then
        echo "$pid"
    else
        return 1
    fi
}

# stop_pid FILE [SECONDS]: TERM, then KILL after SECONDS. A killed process leaves its pid file.
stop_pid() {
    local file=$1 limit=${2:-20} pid
    if pid=$(pid_of "$file"); then
        kill -TERM "$pid" 2>/dev/null || true
        if ! ended "$pid" "$limit"; then
            kill -KILL "$pid" 2>/dev/null || true
            ended "$pid" 5 || die "process $pid ($file) does not end"
            return 0
        fi
        rm -f "$file"
    fi
}

ended() {
    local pid=$1 i
    for ((i = 0; i < $2 * 20; i++)); do
        alive "$pid" || return 0
        sleep 0.05
    done
    return 1
}

# A zombie has ended; only its parent has not looked yet.
alive() { [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# A port per name, chosen once while nobody listens on it. Below the ephemeral range.
port() {
    local name=$1 p
    if ! p=$(sed -n "s/^$name=//p" "$LAB_DIR/ports" 2>/dev/null) || [ -z "$p" ]; then
        while :; do
            p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
            (: <>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || break
        done
        echo "$name=$p" >>"$LAB_DIR/ports"
    fi
    echo "$p"
}

# The zs to use: $ZS, else the one built in this repository.
zs_bin() { echo "${ZS:-${CARGO_TARGET_DIR:-$REPO/target}/release/zs}"; }
