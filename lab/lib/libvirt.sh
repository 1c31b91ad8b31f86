# shellcheck shell=bash
# A libvirtd of the lab's own. Its sockets, state and logs are the lab's directories, mounted over the
# host's in a mount namespace; outside they keep their names below $VIRT_DIR.

VIRT_SOCK=$VIRT_DIR/run/libvirt-sock
export LIBVIRT_DEFAULT_URI="qemu+unix:///system?socket=$VIRT_SOCK"

virt_write_conf() {
    mkdir -p "$VIRT_DIR"/{etc,lib,run,log,cache,pid} "$NVRAM_DIR" "$LAB_DIR"/{console,etc-ceph}
    ln -sf "$CEPH_DIR/ceph.conf" "$LAB_DIR/etc-ceph/ceph.conf"
    cat >"$VIRT_DIR/etc/libvirtd.conf" <<CONF
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
host_uuid = "$(uuidgen)"
CONF
    # Guests run as root: they read files of a directory that is root's alone.
    cat >"$VIRT_DIR/etc/qemu.conf" <<'CONF'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
vnc_listen = "127.0.0.1"
CONF
    : >"$VIRT_DIR/etc/virtlogd.conf"
}

# Each call makes the same view of the file system anew, so nothing has to hold a namespace open.
in_site() { unshare --mount --propagation private -- "$LAB_SRC/lib/enter" "$@"; }

virt_running() { pid_of "$VIRT_DIR/pid/$1.pid" >/dev/null; }

virt_daemon() {
    ! virt_running "$1" || return 0
    rm -f "$VIRT_DIR/pid/$1.pid"
    if ! without_lock in_site "$1" --daemon --pid-file "$VIRT_DIR/pid/$1.pid" --config "$VIRT_DIR/etc/$1.conf" \
        </dev/null >>"$VIRT_DIR/log/$1.out" 2>&1; then
        tail -n 5 "$VIRT_DIR/log/$1.out" >&2
        die "$1 did not start; more in $VIRT_DIR/log"
    fi
}

virt_answers() { virsh -q uri; }

virt_start() {
    virt_daemon virtlogd
    virt_daemon libvirtd
    wait_for 60 "libvirtd" virt_answers
}

# Guests outlive their libvirtd, as on any host.
virt_stop() { stop_pid "$VIRT_DIR/pid/libvirtd.pid"; }

virt_up() {
    [ -e "$VIRT_DIR/etc/virtlogd.conf" ] || virt_write_conf
    virt_start
}

# Guests go by their own pid files, so that this works with a dead libvirtd too. libvirtd goes
# first: it would otherwise act on the end of each guest.
virt_down() {
    local f
    virt_stop
    for f in "$VIRT_DIR"/run/qemu/*.pid; do
        [ -e "$f" ] || continue
        case $f in */driver.pid) continue ;; esac
        stop_pid "$f" 5
    done
    stop_pid "$VIRT_DIR/pid/virtlogd.pid"
}
