//! What can be asked of libvirt and done with it. Field names are virsh's labels in snake_case.

use crate::bindings::spec::Progress;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One line of `virsh list --all`, with what `dominfo` adds cheaply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// `None` while it does not run.
    pub id: Option<u32>,
    pub name: String,
    pub uuid: String,
    /// virsh's words: `running`, `shut off`, `paused`, `in shutdown`, `crashed`, `pmsuspended`.
    pub state: String,
    pub persistent: bool,
    pub autostart: bool,
    pub managed_save: bool,
    /// virsh counts KiB; these are bytes.
    pub max_memory: u64,
    pub used_memory: u64,
    pub cpus: u32,
}

impl Domain {
    /// Anything but `shut off` and `crashed` has a process on the host.
    pub fn active(&self) -> bool {
        self.id.is_some()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoragePool {
    pub name: String,
    pub uuid: String,
    /// `running`, `inactive`, `building`, `degraded`, `inaccessible`.
    pub state: String,
    pub persistent: bool,
    pub autostart: bool,
    /// Bytes.
    pub capacity: u64,
    pub allocation: u64,
    pub available: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub name: String,
    pub path: String,
    /// `file`, `block`, `network`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Bytes.
    pub capacity: u64,
    pub allocation: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    pub uuid: String,
    /// `ceph`, `volume`, `iscsi`, `tls`, `vtpm`, `none`.
    pub usage_type: String,
    pub usage: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub name: String,
    pub uuid: String,
    pub active: bool,
    pub persistent: bool,
    pub autostart: bool,
    /// `None` for one that has no bridge.
    pub bridge: Option<String>,
}

/// One line of `virsh net-dhcp-leases`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Seconds since 1970.
    pub expiry: i64,
    pub mac: Option<String>,
    /// `ipv4` or `ipv6`.
    pub protocol: String,
    /// Without the prefix length.
    pub address: String,
    pub prefix: u32,
    pub hostname: Option<String>,
    pub client_id: Option<String>,
}

/// A command of `virsh net-update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetCommand {
    Add,
    Delete,
    Modify,
}

/// One line of `virsh snapshot-list --parent`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub name: String,
    /// Seconds since 1970.
    pub creation_time: i64,
    /// libvirt's words for the domain's state in it: `running`, `shutoff`, `paused`, `disk-snapshot`.
    pub state: String,
    pub parent: Option<String>,
    /// The one that the domain's disks go on from.
    pub current: bool,
}

/// `virsh snapshot-create-as`'s flags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotOpts {
    pub description: Option<String>,
    /// Only the disks, each in a new file on top of the old one.
    pub disk_only: bool,
    /// Have the guest's filesystems at rest, through its agent; only with `disk_only`.
    pub quiesce: bool,
    /// All disks or none.
    pub atomic: bool,
}

/// `virsh nodeinfo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub cpu_model: String,
    pub cpus: u32,
    pub cpu_frequency: u32,
    pub numa_cells: u32,
    pub cores_per_socket: u32,
    pub threads_per_core: u32,
    /// Bytes.
    pub memory_size: u64,
}

/// One line of `virsh domifaddr`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub name: String,
    pub mac: String,
    /// `ipv4` or `ipv6`.
    pub protocol: String,
    /// Without the prefix length.
    pub address: String,
    pub prefix: u32,
}

/// What tells one file of the hypervisor from another that later bears its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
    /// Nanoseconds since 1970 at which the inode came to be; 0 where the filesystem does not say.
    pub born: i64,
    pub size: u64,
}

/// A file in a directory of the hypervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// RFC 3339, UTC.
    pub modified: String,
}

/// `virsh undefine`'s flags; all off is the plain call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UndefineOpts {
    /// Remove the NVRAM file too. The binding refuses when another domain names the same file.
    pub nvram: bool,
    /// Leave the NVRAM file where it is.
    pub keep_nvram: bool,
    /// Remove a managed-save image too.
    pub managed_save: bool,
    /// Remove libvirt's records of snapshots too.
    pub snapshots_metadata: bool,
    /// Remove libvirt's records of checkpoints too.
    pub checkpoints_metadata: bool,
}

/// A volume to be made by `virsh vol-create-as`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeOpts {
    /// What is set aside at once, in bytes or as "7G"; 0 is thin.
    #[serde(deserialize_with = "crate::helpers::units::size")]
    pub allocation: u64,
    /// `raw`, `qcow2`, …; the pool's default when not given.
    pub format: Option<String>,
}

/// The questions. `domain` is a name, a uuid, or an id of a running one, as in virsh.
pub trait Read: Send + Sync {
    /// `virsh uri`.
    fn uri(&self) -> Result<String>;
    /// `virsh hostname`.
    fn hostname(&self) -> Result<String>;
    /// The host's uuid in `virsh capabilities`.
    fn host_uuid(&self) -> Result<String>;
    fn nodeinfo(&self) -> Result<NodeInfo>;
    fn capabilities(&self) -> Result<String>;
    /// `virsh domcapabilities`.
    fn domcapabilities(&self) -> Result<String>;

    /// `virsh list --all`.
    fn list(&self) -> Result<Vec<Domain>>;
    /// `virsh dominfo`. `not_found` when there is no such domain.
    /// The uuids of all domains: one question, where `list` has five for each.
    fn list_uuids(&self) -> Result<Vec<String>> {
        Ok(self.list()?.into_iter().map(|d| d.uuid).collect())
    }
    fn dominfo(&self, domain: &str) -> Result<Domain>;
    /// One look-up and the state alone: cheap enough for a thousand.
    fn domstate(&self, domain: &str) -> Result<String>;
    fn exists(&self, domain: &str) -> Result<bool> {
        match self.domstate(domain) {
            Ok(_) => Ok(true),
            Err(e) if e.kind == crate::error::Kind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
    /// `virsh dumpxml`, with `inactive` the one of the next start. `secure` shows passwords.
    fn dumpxml(&self, domain: &str, inactive: bool, secure: bool) -> Result<String>;
    /// `source`: `lease`, `agent` or `arp`.
    fn domifaddr(&self, domain: &str, source: &str) -> Result<Vec<Address>>;

    /// The size in bytes that a disk has for its guest (`virsh domblkinfo`). `disk` is a target or a source.
    fn block_capacity(&self, domain: &str, disk: &str) -> Result<u64>;
    /// Whether the agent inside the guest answers `guest-ping`.
    fn agent_ping(&self, domain: &str) -> Result<bool>;

    /// `virsh metadata`: the element of this namespace. `not_found` when there is none.
    fn metadata(&self, domain: &str, uri: &str) -> Result<String>;
    fn snapshot_list(&self, domain: &str) -> Result<Vec<Snapshot>>;
    fn snapshot_dumpxml(&self, domain: &str, snapshot: &str) -> Result<String>;

    fn pool_list(&self) -> Result<Vec<StoragePool>>;
    fn pool_info(&self, storage_pool: &str) -> Result<StoragePool>;
    fn pool_dumpxml(&self, storage_pool: &str) -> Result<String>;
    fn vol_list(&self, storage_pool: &str) -> Result<Vec<Volume>>;
    fn vol_info(&self, storage_pool: &str, volume: &str) -> Result<Volume>;
    fn vol_dumpxml(&self, storage_pool: &str, volume: &str) -> Result<String>;
    fn secret_list(&self) -> Result<Vec<Secret>>;
    /// The raw value. `not_found` when the secret has none; `denied` for private ones.
    fn secret_get_value(&self, secret: &str) -> Result<Vec<u8>>;

    fn net_list(&self) -> Result<Vec<Network>>;
    /// `network` is a name or a uuid.
    fn net_info(&self, network: &str) -> Result<Network>;
    /// `virsh net-dumpxml`, with `inactive` the one of the next start.
    fn net_dumpxml(&self, network: &str, inactive: bool) -> Result<String>;
    fn net_dhcp_leases(&self, network: &str) -> Result<Vec<Lease>>;

    /// The identity of a file of the hypervisor; `None` when there is none. For NVRAM files: paths are as libvirtd
    /// sees them, which may be another mount namespace.
    fn host_file(&self, path: &str) -> Result<Option<FileId>>;
    /// The regular files in a directory of the hypervisor, by name; none where there is no such directory.
    fn host_file_ls(&self, dir: &str) -> Result<Vec<HostFile>>;
    /// The content of a file of the hypervisor, at most 64 MiB.
    fn host_file_read(&self, path: &str) -> Result<Vec<u8>>;
}

/// The changes. Handed out by the gate alone.
pub trait Write: Read {
    /// `virsh define`, with `validate` against libvirt's schema.
    fn define(&self, xml: &str, validate: bool) -> Result<Domain>;
    /// `virsh undefine`. Refuses a running domain, which would turn into a transient one.
    fn undefine(&self, domain: &str, o: &UndefineOpts) -> Result<()>;
    fn start(&self, domain: &str) -> Result<()>;
    /// `virsh start --paused`: `resume` lets it run. `unsupported` by drivers that cannot.
    fn start_paused(&self, domain: &str) -> Result<()>;
    /// Asks the guest to shut down; returns at once.
    fn shutdown(&self, domain: &str) -> Result<()>;
    /// Pulls the plug.
    fn destroy(&self, domain: &str) -> Result<()>;
    fn reboot(&self, domain: &str) -> Result<()>;
    fn suspend(&self, domain: &str) -> Result<()>;
    fn resume(&self, domain: &str) -> Result<()>;
    fn autostart(&self, domain: &str, on: bool) -> Result<()>;
    fn domrename(&self, domain: &str, to: &str) -> Result<()>;
    /// `virsh attach-device`; in the definition, and in the running domain when it runs.
    fn attach_device(&self, domain: &str, xml: &str) -> Result<()>;
    fn detach_device(&self, domain: &str, xml: &str) -> Result<()>;
    fn setvcpus(&self, domain: &str, cpus: u32) -> Result<()>;
    /// Bytes.
    fn setmem(&self, domain: &str, memory: u64) -> Result<()>;
    /// `virsh blockresize` to a number of bytes; of a running domain. `disk` is a target or a source.
    fn blockresize(&self, domain: &str, disk: &str, size: u64, allow_shrink: bool) -> Result<()>;
    /// `virsh qemu-agent-command`.
    fn qemu_agent_command(&self, domain: &str, command: &str, timeout: Duration) -> Result<String>;
    /// `virsh domfsfreeze`, for at most `limit`: filesystems of the guest that are at rest now.
    fn domfsfreeze(&self, domain: &str, limit: Duration) -> Result<u64>;
    /// `virsh domfsthaw`: how many were at rest.
    fn domfsthaw(&self, domain: &str) -> Result<u64>;

    /// `virsh metadata --set`, or `--remove` without `xml`; in the definition and in the running domain.
    fn set_metadata(&self, domain: &str, uri: &str, key: &str, xml: Option<&str>) -> Result<()>;
    /// Writes a picture of the running domain's first screen to a file of this host that must not exist; its MIME type.
    fn screenshot(&self, domain: &str, to: &std::path::Path) -> Result<String>;
    /// Joins the console of a running domain and this terminal until a person ends it.
    fn console(&self, domain: &str, force: bool) -> Result<()>;
    fn snapshot_create_as(&self, domain: &str, snapshot: &str, o: &SnapshotOpts) -> Result<Snapshot>;
    fn snapshot_revert(&self, domain: &str, snapshot: &str) -> Result<()>;
    /// With `children`, those that were taken after it too.
    fn snapshot_delete(&self, domain: &str, snapshot: &str, children: bool) -> Result<()>;

    fn pool_define(&self, xml: &str) -> Result<StoragePool>;
    fn pool_undefine(&self, storage_pool: &str) -> Result<()>;
    fn pool_start(&self, storage_pool: &str) -> Result<()>;
    fn pool_destroy(&self, storage_pool: &str) -> Result<()>;
    fn pool_refresh(&self, storage_pool: &str) -> Result<()>;
    fn pool_autostart(&self, storage_pool: &str, on: bool) -> Result<()>;
    fn vol_create_as(&self, storage_pool: &str, volume: &str, capacity: u64, o: &VolumeOpts) -> Result<Volume>;
    fn vol_delete(&self, storage_pool: &str, volume: &str) -> Result<()>;
    fn vol_resize(&self, storage_pool: &str, volume: &str, capacity: u64, allow_shrink: bool) -> Result<()>;
    /// `virsh vol-clone`, within its pool. Refuses RBD pools: libvirt would leave a snapshot for each clone.
    fn vol_clone(&self, storage_pool: &str, volume: &str, to: &str) -> Result<Volume>;
    fn vol_upload(&self, storage_pool: &str, volume: &str, from: &std::path::Path, p: &Progress) -> Result<()>;
    fn vol_download(&self, storage_pool: &str, volume: &str, to: &std::path::Path, p: &Progress) -> Result<()>;
    fn secret_define(&self, xml: &str) -> Result<Secret>;
    fn secret_set_value(&self, secret: &str, value: &[u8]) -> Result<()>;
    fn secret_undefine(&self, secret: &str) -> Result<()>;

    fn net_define(&self, xml: &str) -> Result<Network>;
    /// Refuses an active one, which would turn into a transient one.
    fn net_undefine(&self, network: &str) -> Result<()>;
    fn net_start(&self, network: &str) -> Result<()>;
    fn net_destroy(&self, network: &str) -> Result<()>;
    fn net_autostart(&self, network: &str, on: bool) -> Result<()>;
    /// `virsh net-update`; in the definition, and in the active network when it is active. Sections are virsh's words.
    fn net_update(&self, network: &str, command: NetCommand, section: &str, xml: &str) -> Result<()>;

    /// Copies a file of the hypervisor with owner and mode: written and synced as `temp`, then linked to `to`, which
    /// must not exist. The identity is known before the final name is taken: `learned` is told it in between.
    fn host_file_copy(
        &self,
        from: &str,
        temp: &str,
        to: &str,
        learned: &mut dyn FnMut(FileId) -> Result<()>,
    ) -> Result<FileId>;
    /// Removes a file of the hypervisor if it still is the one named by `id`. False: it was gone, or is another one.
    fn host_file_remove(&self, path: &str, id: &FileId) -> Result<bool>;
    /// Writes a file of the hypervisor that must not exist, with owner and mode of root 0600.
    fn host_file_restore(&self, path: &str, content: &[u8]) -> Result<FileId>;
}
