//! DESIGN section 3 promises these names. Their docs, examples and the model are tested beside this.

use super::{entries, signature};
use crate::host::engine;
use std::collections::BTreeSet;

/// Namespace, and the names in it.
const PROMISED: &[(&str, &str)] = &[
    ("ceph", "status health fsid df mons osd_tree versions command"),
    ("ceph.pool", "create delete ls exists get set stats application_enable rename"),
    ("ceph.auth", "get_or_create get get_key caps ls rm"),
    ("rbd", "pool_init ls info exists create copy cp deep_copy clone rename resize remove rm"),
    ("rbd", "snap_create snap_ls snap_rm snap_protect snap_unprotect snap_rollback snap_purge children flatten status"),
    ("rbd", "lock_ls lock_add lock_rm du diff export import export_diff import_diff"),
    ("rbd", "trash_mv trash_ls trash_restore trash_purge meta_get meta_set meta_ls meta_rm features"),
    (
        "virsh",
        "connect list exists define undefine start shutdown destroy reboot suspend resume dumpxml dominfo domstate",
    ),
    ("virsh", "autostart setvcpus setmem attach_device detach_device blockresize domifaddr domblklist domrename"),
    (
        "virsh",
        "qemu_agent_command console screenshot snapshot_create_as snapshot_list snapshot_delete snapshot_revert metadata",
    ),
    (
        "virsh",
        "pool_define pool_undefine pool_start pool_destroy pool_refresh pool_autostart pool_list pool_info pool_dumpxml",
    ),
    ("virsh", "vol_create_as vol_list vol_info vol_delete vol_resize vol_upload vol_download vol_clone"),
    ("virsh", "secret_define secret_undefine secret_set_value secret_list"),
    (
        "virsh",
        "net_list net_define net_start net_autostart net_dumpxml net_destroy net_undefine net_dhcp_leases net_update",
    ),
    ("virsh", "nodeinfo capabilities domcapabilities wait_for"),
    (
        "guestfs",
        "open set_hostname set_ip set_hosts_entry set_timezone ssh_inject reset_machine_id new_ssh_host_keys sysprep",
    ),
    (
        "g",
        "read write append edit exists ls stat chmod chown mkdir_p ln_s rm rm_rf cp upload download inspect sh close",
    ),
    (
        "g",
        "set_hostname set_ip set_hosts_entry set_timezone ssh_inject reset_machine_id new_ssh_host_keys sysprep firstboot",
    ),
    ("args", "parse"),
    ("inventory", "load"),
    ("xml", "parse"),
    ("doc", "get set remove insert to_string"),
    ("uuid", "v4"),
    ("sh", "run"),
    ("", "progress table confirm transaction defer parallel retry wait_until sleep"),
];

#[test]
fn what_the_design_promises_is_there() {
    let all: BTreeSet<String> = entries(&engine::bare())
        .iter()
        .map(|e| signature(e).split('(').next().unwrap_or_default().to_string())
        .collect();
    let full = |space: &str, name: &str| if space.is_empty() { name.to_string() } else { format!("{space}.{name}") };
    let promised = PROMISED.iter().flat_map(|(space, names)| names.split(' ').map(|n| full(space, n)));
    let missing: Vec<String> = promised.filter(|n| !all.contains(n)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
