//! libvirt in memory: alone, or over a living one for plans. It refuses what libvirt refuses, in its words.

mod block;
mod define;
mod devices;
mod domain;
mod files;
mod metadata;
mod network;
mod secret;
mod snapshot;
mod storage;

use super::api::{
    Address, Domain, FileId, HostFile, Lease, NetCommand, Network, NodeInfo, Read, Secret, Snapshot, SnapshotOpts,
    StoragePool, UndefineOpts, Volume, VolumeOpts, Write,
};
use super::definition::{self, no_agent};
use crate::bindings::layer::Layer;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::bindings::{Live, Site};
use crate::error::{Error, Kind, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// libvirt's number for what the present state does not allow.
const OPERATION_INVALID: i32 = 55;

/// What a run has changed of a hypervisor.
#[derive(Default)]
pub struct State {
    /// Held by each change: it looks first and writes then.
    turn: Mutex<()>,
    /// By uuid, which a new name does not change.
    domains: Layer<String, domain::Held>,
    /// Whether a domain was ever changed here.
    touched: AtomicBool,
    /// By uuid.
    pools: Layer<String, storage::Held>,
    /// By the pool's uuid and the volume's name.
    volumes: Layer<(String, String), Volume>,
    /// By uuid.
    secrets: Layer<String, secret::Held>,
    /// By uuid.
    networks: Layer<String, network::Held>,
    /// By the domain's uuid and the snapshot's name.
    snapshots: Layer<(String, String), snapshot::Held>,
    /// By path.
    files: Layer<String, files::Held>,
    /// The last number given out: ids of domains, inodes.
    numbers: AtomicU64,
}

impl State {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Who opened or closed an image in the model, compared with the world beneath.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users {
    /// Domains that were started here and have the image open.
    pub started: Vec<String>,
    /// Domains that were stopped here and have it open beneath.
    pub stopped: Vec<String>,
}

impl Site {
    /// For the watchers of `rbd.status`: a started domain has its images open.
    pub(crate) fn image_users(&self, image: &ImageSpec) -> Users {
        domain::image_users(self, image)
    }

    /// The answer of the world beneath, or `without` in a site that is all memory.
    fn beneath<T>(&self, ask: impl FnOnce(&Live) -> Result<T>, without: impl FnOnce() -> T) -> Result<T> {
        match self.base() {
            Some(base) => ask(base),
            None => Ok(without()),
        }
    }
}

/// "Not there" of the world beneath as `None`.
fn absent<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// libvirt's "Requested operation is not valid".
fn refused(kind: Kind, message: &str, subject: &str) -> Error {
    Error::new(kind, format!("Requested operation is not valid: {message}")).subject(subject).code(OPERATION_INVALID)
}

const HOST_UUID: &str = "2b7e4f6a-0c5d-4a51-9a3e-5d0f1c2b3a49";

fn capabilities() -> String {
    format!(
        "<capabilities>\n  <host>\n    <uuid>{HOST_UUID}</uuid>\n    <cpu>\n      <arch>x86_64</arch>\n    </cpu>\n  \
         </host>\n  <guest>\n    <os_type>hvm</os_type>\n    <arch name='x86_64'>\n      <domain type='qemu'/>\n      \
         <domain type='kvm'/>\n    </arch>\n  </guest>\n</capabilities>\n"
    )
}

fn domcapabilities() -> String {
    "<domainCapabilities>\n  <domain>kvm</domain>\n  <machine>pc-q35-7.2</machine>\n  <arch>x86_64</arch>\n  \
     <os supported='yes'>\n    <enum name='firmware'>\n      <value>efi</value>\n    </enum>\n  </os>\n\
     </domainCapabilities>\n"
        .into()
}

impl Read for Site {
    fn uri(&self) -> Result<String> {
        self.beneath(Read::uri, || self.uri.clone().unwrap_or_else(|| "qemu:///system".into()))
    }
    fn hostname(&self) -> Result<String> {
        self.beneath(Read::hostname, || "hypervisor".into())
    }
    fn host_uuid(&self) -> Result<String> {
        self.beneath(Read::host_uuid, || HOST_UUID.into())
    }
    fn nodeinfo(&self) -> Result<NodeInfo> {
        self.beneath(Read::nodeinfo, || NodeInfo {
            cpu_model: "x86_64".into(),
            cpus: 16,
            cpu_frequency: 2400,
            numa_cells: 1,
            cores_per_socket: 8,
            threads_per_core: 2,
            memory_size: 128 << 30,
        })
    }
    fn capabilities(&self) -> Result<String> {
        self.beneath(Read::capabilities, capabilities)
    }
    fn domcapabilities(&self) -> Result<String> {
        self.beneath(Read::domcapabilities, domcapabilities)
    }

    fn list(&self) -> Result<Vec<Domain>> {
        domain::list(self)
    }
    fn dominfo(&self, domain: &str) -> Result<Domain> {
        domain::find(self, domain)
    }
    fn domstate(&self, domain: &str) -> Result<String> {
        domain::domstate(self, domain)
    }
    fn dumpxml(&self, domain: &str, inactive: bool, secure: bool) -> Result<String> {
        domain::dumpxml(self, domain, inactive, secure)
    }
    fn domifaddr(&self, domain: &str, source: &str) -> Result<Vec<Address>> {
        domain::domifaddr(self, domain, source)
    }

    fn block_capacity(&self, domain: &str, disk: &str) -> Result<u64> {
        block::capacity(self, domain, disk)
    }
    fn agent_ping(&self, domain: &str) -> Result<bool> {
        Ok(self.domstate(domain)? == "running")
    }

    fn metadata(&self, domain: &str, uri: &str) -> Result<String> {
        metadata::get(self, domain, uri)
    }
    fn snapshot_list(&self, domain: &str) -> Result<Vec<Snapshot>> {
        Ok(snapshot::list(self, domain)?.into_iter().map(|held| held.info).collect())
    }
    fn snapshot_dumpxml(&self, domain: &str, snapshot: &str) -> Result<String> {
        snapshot::dumpxml(self, domain, snapshot)
    }

    fn pool_list(&self) -> Result<Vec<StoragePool>> {
        storage::list(self)
    }
    fn pool_info(&self, storage_pool: &str) -> Result<StoragePool> {
        storage::find(self, storage_pool)
    }
    fn pool_dumpxml(&self, storage_pool: &str) -> Result<String> {
        Ok(storage::held(self, storage_pool)?.xml)
    }
    fn vol_list(&self, storage_pool: &str) -> Result<Vec<Volume>> {
        storage::volumes(self, storage_pool)
    }
    fn vol_info(&self, storage_pool: &str, volume: &str) -> Result<Volume> {
        storage::volume_info(self, storage_pool, volume)
    }
    fn vol_dumpxml(&self, storage_pool: &str, volume: &str) -> Result<String> {
        storage::volume_dumpxml(self, storage_pool, volume)
    }
    fn secret_list(&self) -> Result<Vec<Secret>> {
        secret::list(self)
    }
    fn secret_get_value(&self, secret: &str) -> Result<Vec<u8>> {
        secret::value(self, secret)
    }

    fn net_list(&self) -> Result<Vec<Network>> {
        network::list(self)
    }
    fn net_info(&self, network: &str) -> Result<Network> {
        network::find(self, network)
    }
    fn net_dumpxml(&self, network: &str, inactive: bool) -> Result<String> {
        network::dumpxml(self, network, inactive)
    }
    fn net_dhcp_leases(&self, network: &str) -> Result<Vec<Lease>> {
        network::leases(self, network)
    }

    fn host_file(&self, path: &str) -> Result<Option<FileId>> {
        files::id(self, path)
    }
    fn host_file_ls(&self, dir: &str) -> Result<Vec<HostFile>> {
        files::list(self, dir)
    }
    fn host_file_read(&self, path: &str) -> Result<Vec<u8>> {
        files::read(self, path)
    }
}

impl Write for Site {
    fn define(&self, xml: &str, _validate: bool) -> Result<Domain> {
        domain::define(self, xml)
    }
    fn undefine(&self, domain: &str, o: &UndefineOpts) -> Result<()> {
        domain::undefine(self, domain, o)
    }
    fn start(&self, domain: &str) -> Result<()> {
        domain::start(self, domain, "running")
    }
    fn start_paused(&self, domain: &str) -> Result<()> {
        domain::start(self, domain, "paused")
    }
    /// The guest of a model obeys at once.
    fn shutdown(&self, domain: &str) -> Result<()> {
        domain::shutdown(self, domain)
    }
    fn destroy(&self, domain: &str) -> Result<()> {
        domain::destroy(self, domain)
    }
    fn reboot(&self, domain: &str) -> Result<()> {
        domain::reboot(self, domain)
    }
    fn suspend(&self, domain: &str) -> Result<()> {
        domain::suspend(self, domain)
    }
    fn resume(&self, domain: &str) -> Result<()> {
        domain::resume(self, domain)
    }
    fn autostart(&self, domain: &str, on: bool) -> Result<()> {
        domain::autostart(self, domain, on)
    }
    fn domrename(&self, domain: &str, to: &str) -> Result<()> {
        domain::domrename(self, domain, to)
    }
    fn attach_device(&self, domain: &str, xml: &str) -> Result<()> {
        domain::edit(self, domain, |doc, live| devices::attach(doc, xml, live))
    }
    fn detach_device(&self, domain: &str, xml: &str) -> Result<()> {
        domain::edit(self, domain, |doc, _| devices::detach(doc, xml))
    }
    fn setvcpus(&self, domain: &str, cpus: u32) -> Result<()> {
        domain::edit(self, domain, |doc, live| define::set_vcpus(doc, cpus, live))
    }
    fn setmem(&self, domain: &str, memory: u64) -> Result<()> {
        domain::edit(self, domain, |doc, live| define::set_memory(doc, memory, live))
    }
    fn blockresize(&self, domain: &str, disk: &str, size: u64, allow_shrink: bool) -> Result<()> {
        block::resize(self, domain, disk, size, allow_shrink)
    }
    fn qemu_agent_command(&self, domain: &str, command: &str, timeout: Duration) -> Result<String> {
        domain::agent(self, domain, command, timeout)
    }
    fn domfsfreeze(&self, domain: &str, limit: Duration) -> Result<u64> {
        let info = self.dominfo(domain)?;
        if info.active() && !self.agent_ping(domain)? {
            return Err(no_agent(&info.name));
        }
        definition::agent_count(&domain::agent(self, domain, r#"{"execute":"guest-fsfreeze-freeze"}"#, limit)?)
    }
    fn domfsthaw(&self, domain: &str) -> Result<u64> {
        let said = domain::agent(self, domain, r#"{"execute":"guest-fsfreeze-thaw"}"#, Duration::from_secs(5))?;
        definition::agent_count(&said)
    }

    fn set_metadata(&self, domain: &str, uri: &str, key: &str, xml: Option<&str>) -> Result<()> {
        domain::edit(self, domain, |doc, _| metadata::set(doc, uri, key, xml))
    }
    /// A model writes no file outside.
    fn screenshot(&self, domain: &str, to: &Path) -> Result<String> {
        domain::must_run(&domain::find(self, domain)?)?;
        if to.exists() {
            return Err(Error::exists("File exists").subject(to.display()).code(17));
        }
        Ok("image/png".into())
    }
    /// Nobody is there to talk to.
    fn console(&self, domain: &str, _: bool) -> Result<()> {
        domain::must_run(&domain::find(self, domain)?)
    }
    fn snapshot_create_as(&self, domain: &str, snapshot: &str, o: &SnapshotOpts) -> Result<Snapshot> {
        snapshot::create(self, domain, snapshot, o)
    }
    fn snapshot_revert(&self, domain: &str, snapshot: &str) -> Result<()> {
        snapshot::revert(self, domain, snapshot)
    }
    fn snapshot_delete(&self, domain: &str, snapshot: &str, children: bool) -> Result<()> {
        snapshot::delete(self, domain, snapshot, children)
    }

    fn pool_define(&self, xml: &str) -> Result<StoragePool> {
        storage::define(self, xml)
    }
    fn pool_undefine(&self, storage_pool: &str) -> Result<()> {
        storage::undefine(self, storage_pool)
    }
    fn pool_start(&self, storage_pool: &str) -> Result<()> {
        storage::start(self, storage_pool)
    }
    fn pool_destroy(&self, storage_pool: &str) -> Result<()> {
        storage::destroy(self, storage_pool)
    }
    fn pool_refresh(&self, storage_pool: &str) -> Result<()> {
        storage::refresh(self, storage_pool)
    }
    fn pool_autostart(&self, storage_pool: &str, on: bool) -> Result<()> {
        storage::autostart(self, storage_pool, on)
    }
    fn vol_create_as(&self, storage_pool: &str, volume: &str, capacity: u64, o: &VolumeOpts) -> Result<Volume> {
        storage::create_volume(self, storage_pool, volume, capacity, o)
    }
    fn vol_delete(&self, storage_pool: &str, volume: &str) -> Result<()> {
        storage::delete_volume(self, storage_pool, volume)
    }
    fn vol_resize(&self, storage_pool: &str, volume: &str, capacity: u64, allow_shrink: bool) -> Result<()> {
        storage::resize_volume(self, storage_pool, volume, capacity, allow_shrink)
    }
    fn vol_clone(&self, storage_pool: &str, volume: &str, to: &str) -> Result<Volume> {
        storage::clone_volume(self, storage_pool, volume, to)
    }
    fn vol_upload(&self, storage_pool: &str, volume: &str, from: &Path, _p: &Progress) -> Result<()> {
        storage::upload(self, storage_pool, volume, from)
    }
    fn vol_download(&self, storage_pool: &str, volume: &str, to: &Path, _p: &Progress) -> Result<()> {
        storage::download(self, storage_pool, volume, to)
    }
    fn secret_define(&self, xml: &str) -> Result<Secret> {
        secret::define(self, xml)
    }
    fn secret_set_value(&self, secret: &str, value: &[u8]) -> Result<()> {
        secret::set_value(self, secret, value)
    }
    fn secret_undefine(&self, secret: &str) -> Result<()> {
        secret::undefine(self, secret)
    }

    fn net_define(&self, xml: &str) -> Result<Network> {
        network::define(self, xml)
    }
    fn net_undefine(&self, network: &str) -> Result<()> {
        network::undefine(self, network)
    }
    fn net_start(&self, network: &str) -> Result<()> {
        network::start(self, network)
    }
    fn net_destroy(&self, network: &str) -> Result<()> {
        network::destroy(self, network)
    }
    fn net_autostart(&self, network: &str, on: bool) -> Result<()> {
        network::autostart(self, network, on)
    }
    fn net_update(&self, network: &str, command: NetCommand, section: &str, xml: &str) -> Result<()> {
        network::update(self, network, command, section, xml)
    }

    fn host_file_copy(
        &self,
        from: &str,
        _temp: &str,
        to: &str,
        learned: &mut dyn FnMut(FileId) -> Result<()>,
    ) -> Result<FileId> {
        files::copy(self, from, to, learned)
    }
    fn host_file_remove(&self, path: &str, id: &FileId) -> Result<bool> {
        files::remove(self, path, id)
    }
    fn host_file_restore(&self, path: &str, content: &[u8]) -> Result<FileId> {
        files::restore(self, path, content)
    }
}
