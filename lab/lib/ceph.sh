# shellcheck shell=bash
# One monitor, one manager, one OSD, on loopback, everything below $CEPH_DIR.

export CEPH_CONF=$CEPH_DIR/ceph.conf

ceph_write_conf() {
    local fsid=$1 v1 v2
    v1=$(port mon_v1) v2=$(port mon_v2)
    mkdir -p "$CEPH_DIR"/{run,log,crash,mon,mgr,osd}
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]
public_network = 127.0.0.0/8
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
run_dir = $CEPH_DIR/run
crash_dir = $CEPH_DIR/crash
mon_data = $CEPH_DIR/mon
mgr_data = $CEPH_DIR/mgr
osd_data = $CEPH_DIR/osd
osd_objectstore = ${LAB_OSD:-memstore}
memstore_device_bytes = 8589934592
bluestore_block_size = 8589934592
osd_memory_target = 1073741824
osd_client_watch_timeout = ${LAB_WATCH_TIMEOUT:-30}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 16
osd_pool_default_pgp_num = 16
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_warn_on_pool_no_redundancy = false
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_cluster_log_file = $CEPH_DIR/log/cluster.log

[mon]
keyring = $CEPH_DIR/mon/keyring
[mgr]
keyring = $CEPH_DIR/mgr/keyring
mgr_initial_modules =
[osd]
keyring = $CEPH_DIR/osd/keyring
# A fast shutdown would skip memstore's save, and a stopped OSD would come back empty.
osd_fast_shutdown = false
[mon.a]
log_file = $CEPH_DIR/log/mon.log
pid_file = $CEPH_DIR/run/mon.pid
admin_socket = $CEPH_DIR/run/mon.asok
[mgr.x]
log_file = $CEPH_DIR/log/mgr.log
pid_file = $CEPH_DIR/run/mgr.pid
admin_socket = $CEPH_DIR/run/mgr.asok
[osd.0]
log_file = $CEPH_DIR/log/osd.log
pid_file = $CEPH_DIR/run/osd.pid
admin_socket = $CEPH_DIR/run/osd.asok

[client]
keyring = $CEPH_DIR/\$name.keyring
# Clients need none, and those that start at once would warn about each other's.
admin_socket =
CONF
}

keytool() { ceph-authtool "$@" >>"$CEPH_DIR/log/mkfs.log" 2>&1; }

# All keys are made before the monitor's first start: each call of the ceph command costs 0.2 s.
ceph_mkfs_mon() {
    local fsid=$1 all=$CEPH_DIR/initial.keyring v1 v2
    v1=$(port mon_v1) v2=$(port mon_v2)
    keytool --create-keyring "$CEPH_DIR/client.admin.keyring" --gen-key -n client.admin \
        --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
    keytool --create-keyring "$CEPH_DIR/mgr/keyring" --gen-key -n mgr.x \
        --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *'
    keytool --create-keyring "$CEPH_DIR/osd/keyring" --gen-key -n osd.0 \
        --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'
    keytool --create-keyring "$all" --gen-key -n mon. --cap mon 'allow *'
    for key in client.admin.keyring mgr/keyring osd/keyring; do
        keytool "$all" --import-keyring "$CEPH_DIR/$key"
    done
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]" \
        "$CEPH_DIR/monmap" >"$CEPH_DIR/log/monmap.log"
    ceph-mon -i a --mkfs --monmap "$CEPH_DIR/monmap" --keyring "$all" >>"$CEPH_DIR/log/mkfs.log" 2>&1
    rm -f "$all"
}

ceph_running() { pid_of "$CEPH_DIR/run/$1.pid" >/dev/null; }

# ceph_start mon|mgr|osd
ceph_start() {
    local id
    ! ceph_running "$1" || return 0
    case $1 in mon) id=a ;; mgr) id=x ;; osd) id=0 ;; *) die "no such Ceph daemon: $1 (mon, mgr, osd)" ;; esac
    rm -f "$CEPH_DIR/run/$1.pid"
    if ! without_lock "ceph-$1" -i "$id" -c "$CEPH_CONF" </dev/null >>"$CEPH_DIR/log/$1.out" 2>&1; then
        tail -n 5 "$CEPH_DIR/log/$1.out" >&2
        die "ceph-$1 did not start; more in $CEPH_DIR/log"
    fi
    wait_for 10 "ceph-$1's pid file" ceph_running "$1"
}

ceph_stop() {
    case $1 in mon | mgr | osd) stop_pid "$CEPH_DIR/run/$1.pid" 30 ;; *) die "no such Ceph daemon: $1 (mon, mgr, osd)" ;; esac
}

ceph_osd_up() { ceph osd stat --connect-timeout 5 2>/dev/null | grep -q ' 1 up'; }
ceph_mgr_up() { ceph mgr stat --connect-timeout 5 2>/dev/null | grep -q '"available": true'; }

ceph_create() {
    local fsid osd
    fsid=$(uuidgen) osd=$(uuidgen)
    ceph_write_conf "$fsid"
    ceph_mkfs_mon "$fsid"
    ceph_start mon
    ceph_start mgr
    ceph osd new "$osd" >>"$CEPH_DIR/log/mkfs.log" 2>&1
    ceph-osd -i 0 --mkfs --osd-uuid "$osd" --monmap "$CEPH_DIR/monmap" >>"$CEPH_DIR/log/mkfs.log" 2>&1
    ceph_start osd
    wait_for 60 "the OSD to be up" ceph_osd_up
    touch "$CEPH_DIR/created"
}

# Half made, or a memstore OSD that was killed: its data was in its memory. A clean stop saves
# it and removes the pid file.
ceph_lost() {
    [ -e "$CEPH_DIR/created" ] || return 0
    [ "$(cat "$CEPH_DIR/osd/type")" = memstore ] && [ -e "$CEPH_DIR/run/osd.pid" ] && ! ceph_running osd
}

ceph_up() {
    if ceph_lost; then
        [ ! -e "$CEPH_DIR/created" ] || say "the memstore OSD died with its data: making the cluster anew"
        ceph_down
        rm -rf "$CEPH_DIR"
        ceph_create
    else
        ceph_start mon
        ceph_start mgr
        ceph_start osd
        wait_for 60 "the OSD to be up" ceph_osd_up
    fi
    wait_for 60 "the manager" ceph_mgr_up
}

ceph_down() { for d in osd mgr mon; do ceph_stop "$d"; done; }
