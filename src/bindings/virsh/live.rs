//! The real libvirt.

mod block;
mod connection;
mod console;
mod domain;
mod errors;
mod files;
mod freeze;
mod host;
mod metadata;
mod network;
mod secret;
mod snapshot;
mod storage;

pub use connection::Hypervisor;
pub use errors::NO_INTERNAL;

use super::api::{
    Address, Domain, FileId, HostFile, Lease, NetCommand, Network, NodeInfo, Read, Secret, Snapshot, SnapshotOpts,
    StoragePool, UndefineOpts, Volume, VolumeOpts, Write,
};
use super::definition::Doc;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::bindings::{Live, rbd};
use crate::error::{Error, Kind, Result};
use errors::On;
use files::Tree;
use std::path::Path;
use std::time::Duration;

impl Live {
    fn files(&self) -> Result<Tree> {
        Tree::of(&Read::uri(self)?)
    }

    /// The RBD image that a volume is, in a pool of the type rbd.
    fn image_of(&self, pool: &str, volume: &str) -> Option<ImageSpec> {
        let doc = Doc::parse(&Read::pool_dumpxml(self, pool).ok()?).ok()?;
        if doc.attr(doc.root(), "type") != Some("rbd") {
            return None;
        }
        Some(ImageSpec::new(&doc.text("source/name")?, volume))
    }
}

impl Read for Live {
    fn uri(&self) -> Result<String> {
        self.ask(|c| c.uri().on(""))
    }
    fn hostname(&self) -> Result<String> {
        self.ask(|c| c.hostname().on(""))
    }
    fn host_uuid(&self) -> Result<String> {
        self.ask(host::uuid)
    }
    fn nodeinfo(&self) -> Result<NodeInfo> {
        self.ask(host::nodeinfo)
    }
    fn capabilities(&self) -> Result<String> {
        self.ask(|c| c.capabilities().on(""))
    }
    fn domcapabilities(&self) -> Result<String> {
        self.ask(|c| c.domain_capabilities(None, None, None, None, 0).on(""))
    }

    fn list(&self) -> Result<Vec<Domain>> {
        self.ask(domain::list)
    }
    fn list_uuids(&self) -> Result<Vec<String>> {
        self.ask(domain::list_uuids)
    }
    fn dominfo(&self, domain: &str) -> Result<Domain> {
        self.ask(|c| domain::dominfo(c, domain))
    }
    fn domstate(&self, domain: &str) -> Result<String> {
        self.ask(|c| domain::domstate(c, domain))
    }
    fn exists(&self, domain: &str) -> Result<bool> {
        match self.ask(|c| domain::find(c, domain).map(|_| true)) {
            Err(e) if e.kind == Kind::NotFound => Ok(false),
            answer => answer,
        }
    }
    fn dumpxml(&self, domain: &str, inactive: bool, secure: bool) -> Result<String> {
        self.ask(|c| domain::dumpxml(c, domain, inactive, secure))
    }
    fn domifaddr(&self, domain: &str, source: &str) -> Result<Vec<Address>> {
        self.ask(|c| domain::domifaddr(c, domain, source))
    }

    fn block_capacity(&self, domain: &str, disk: &str) -> Result<u64> {
        self.ask(|c| block::capacity(c, domain, disk))
    }
    fn agent_ping(&self, domain: &str) -> Result<bool> {
        let ping = self.act(|c| domain::qemu_agent_command(c, domain, domain::GUEST_PING, Duration::from_secs(5)));
        domain::answered(ping)
    }

    fn metadata(&self, domain: &str, uri: &str) -> Result<String> {
        self.ask(|c| metadata::get(c, domain, uri))
    }
    fn snapshot_list(&self, domain: &str) -> Result<Vec<Snapshot>> {
        self.ask(|c| snapshot::list(c, domain))
    }
    fn snapshot_dumpxml(&self, domain: &str, snapshot: &str) -> Result<String> {
        self.ask(|c| snapshot::dumpxml(c, domain, snapshot))
    }

    fn pool_list(&self) -> Result<Vec<StoragePool>> {
        self.ask(storage::list)
    }
    fn pool_info(&self, storage_pool: &str) -> Result<StoragePool> {
        self.ask(|c| storage::info(c, storage_pool))
    }
    fn pool_dumpxml(&self, storage_pool: &str) -> Result<String> {
        self.ask(|c| storage::dumpxml(c, storage_pool))
    }
    fn vol_list(&self, storage_pool: &str) -> Result<Vec<Volume>> {
        self.ask(|c| storage::volumes(c, storage_pool))
    }
    fn vol_info(&self, storage_pool: &str, volume: &str) -> Result<Volume> {
        self.ask(|c| storage::volume_info(c, storage_pool, volume))
    }
    fn vol_dumpxml(&self, storage_pool: &str, volume: &str) -> Result<String> {
        self.ask(|c| storage::volume_dumpxml(c, storage_pool, volume))
    }
    fn secret_list(&self) -> Result<Vec<Secret>> {
        self.ask(secret::list)
    }
    fn secret_get_value(&self, secret: &str) -> Result<Vec<u8>> {
        self.ask(|c| secret::value(c, secret))
    }

    fn net_list(&self) -> Result<Vec<Network>> {
        self.ask(network::list)
    }
    fn net_info(&self, network: &str) -> Result<Network> {
        self.ask(|c| network::info(c, network))
    }
    fn net_dumpxml(&self, network: &str, inactive: bool) -> Result<String> {
        self.ask(|c| network::dumpxml(c, network, inactive))
    }
    fn net_dhcp_leases(&self, network: &str) -> Result<Vec<Lease>> {
        self.ask(|c| network::leases(c, network))
    }

    fn host_file(&self, path: &str) -> Result<Option<FileId>> {
        self.files()?.id(path)
    }
    fn host_file_ls(&self, dir: &str) -> Result<Vec<HostFile>> {
        self.files()?.list(dir)
    }
    fn host_file_read(&self, path: &str) -> Result<Vec<u8>> {
        self.files()?.read(path)
    }
}

impl Write for Live {
    fn define(&self, xml: &str, validate: bool) -> Result<Domain> {
        self.act(|c| domain::define(c, xml, validate))
    }
    fn undefine(&self, domain: &str, o: &UndefineOpts) -> Result<()> {
        // On another host, or without the right to look, the paths themselves are compared.
        let tree = if o.nvram { self.files().ok() } else { None };
        let same = |a: &str, b: &str| -> bool {
            let id = |path| tree.as_ref()?.id(path).ok()?.map(|i| (i.dev, i.ino));
            id(a).is_some_and(|i| Some(i) == id(b))
        };
        self.act(|c| domain::undefine(c, domain, o, same))
    }
    fn start(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.create().on(domain))
    }
    fn start_paused(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::start_paused(c, domain))
    }
    fn shutdown(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.shutdown().on(domain))
    }
    fn destroy(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.destroy().on(domain))
    }
    fn reboot(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.reboot(0).on(domain))
    }
    fn suspend(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.suspend().on(domain))
    }
    fn resume(&self, domain: &str) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.resume().on(domain))
    }
    fn autostart(&self, domain: &str, on: bool) -> Result<()> {
        self.act(|c| domain::find(c, domain)?.set_autostart(on).on(domain))
    }
    fn domrename(&self, domain: &str, to: &str) -> Result<()> {
        self.act(|c| domain::domrename(c, domain, to))
    }
    fn attach_device(&self, domain: &str, xml: &str) -> Result<()> {
        self.act(|c| domain::attach_device(c, domain, xml))
    }
    fn detach_device(&self, domain: &str, xml: &str) -> Result<()> {
        self.act(|c| domain::detach_device(c, domain, xml))
    }
    fn setvcpus(&self, domain: &str, cpus: u32) -> Result<()> {
        self.act(|c| domain::setvcpus(c, domain, cpus))
    }
    fn setmem(&self, domain: &str, memory: u64) -> Result<()> {
        self.act(|c| domain::setmem(c, domain, memory))
    }
    fn blockresize(&self, domain: &str, disk: &str, size: u64, allow_shrink: bool) -> Result<()> {
        self.act(|c| block::resize(c, domain, disk, size, allow_shrink))
    }
    fn qemu_agent_command(&self, domain: &str, command: &str, timeout: Duration) -> Result<String> {
        self.act(|c| domain::qemu_agent_command(c, domain, command, timeout))
    }
    fn domfsfreeze(&self, domain: &str, limit: Duration) -> Result<u64> {
        self.freeze(domain, limit)
    }
    fn domfsthaw(&self, domain: &str) -> Result<u64> {
        self.thaw(domain)
    }

    fn set_metadata(&self, domain: &str, uri: &str, key: &str, xml: Option<&str>) -> Result<()> {
        self.act(|c| metadata::set(c, domain, uri, key, xml))
    }
    fn screenshot(&self, domain: &str, to: &Path) -> Result<String> {
        self.act(|c| domain::screenshot(c, domain, to))
    }
    fn console(&self, domain: &str, force: bool) -> Result<()> {
        self.act(|c| console::console(c, domain, force, &self.cancel))
    }
    fn snapshot_create_as(&self, domain: &str, snapshot: &str, o: &SnapshotOpts) -> Result<Snapshot> {
        self.act(|c| snapshot::create(c, domain, snapshot, o))
    }
    fn snapshot_revert(&self, domain: &str, snapshot: &str) -> Result<()> {
        self.act(|c| snapshot::revert(c, domain, snapshot))
    }
    fn snapshot_delete(&self, domain: &str, snapshot: &str, children: bool) -> Result<()> {
        self.act(|c| snapshot::delete(c, domain, snapshot, children))
    }

    fn pool_define(&self, xml: &str) -> Result<StoragePool> {
        self.act(|c| storage::define(c, xml))
    }
    fn pool_undefine(&self, storage_pool: &str) -> Result<()> {
        self.act(|c| storage::find(c, storage_pool)?.undefine().on(storage_pool))
    }
    fn pool_start(&self, storage_pool: &str) -> Result<()> {
        self.act(|c| storage::find(c, storage_pool)?.create(0).on(storage_pool))
    }
    fn pool_destroy(&self, storage_pool: &str) -> Result<()> {
        self.act(|c| storage::find(c, storage_pool)?.destroy().on(storage_pool))
    }
    fn pool_refresh(&self, storage_pool: &str) -> Result<()> {
        self.act(|c| storage::find(c, storage_pool)?.refresh(0).on(storage_pool).map(|_| ()))
    }
    fn pool_autostart(&self, storage_pool: &str, on: bool) -> Result<()> {
        self.act(|c| storage::find(c, storage_pool)?.set_autostart(on).on(storage_pool).map(|_| ()))
    }
    /// libvirt's list of volumes goes stale: images made by others are not on it, and a name of theirs makes libvirt
    /// say "No such file or directory"; removed ones are still on it. librbd knows.
    fn vol_create_as(&self, storage_pool: &str, volume: &str, capacity: u64, o: &VolumeOpts) -> Result<Volume> {
        self.act(|c| storage::create_volume(c, storage_pool, volume, capacity, o)).map_err(|e| {
            if !matches!(e.kind, Kind::Failed | Kind::Exists | Kind::NotFound) {
                return e;
            }
            let Some(image) = self.image_of(storage_pool, volume) else { return e };
            match (rbd::api::Read::exists(self, &image), e.kind) {
                (Ok(true), _) => Error::exists(format!("the image {image} exists"))
                    .subject(storage::of(storage_pool, volume))
                    .caused_by(e),
                (Ok(false), Kind::Exists) => e.hint(format!(
                    "the image is gone, libvirt's list is old: virsh.pool_refresh({storage_pool:?}) renews it"
                )),
                _ => e,
            }
        })
    }
    fn vol_delete(&self, storage_pool: &str, volume: &str) -> Result<()> {
        self.act(|c| storage::delete_volume(c, storage_pool, volume))
    }
    fn vol_resize(&self, storage_pool: &str, volume: &str, capacity: u64, allow_shrink: bool) -> Result<()> {
        self.act(|c| storage::resize_volume(c, storage_pool, volume, capacity, allow_shrink))
    }
    fn vol_clone(&self, storage_pool: &str, volume: &str, to: &str) -> Result<Volume> {
        self.act(|c| storage::clone_volume(c, storage_pool, volume, to))
    }
    fn vol_upload(&self, storage_pool: &str, volume: &str, from: &Path, p: &Progress) -> Result<()> {
        self.act(|c| storage::upload(c, storage_pool, volume, from, p))
    }
    fn vol_download(&self, storage_pool: &str, volume: &str, to: &Path, p: &Progress) -> Result<()> {
        self.act(|c| storage::download(c, storage_pool, volume, to, p))
    }
    fn secret_define(&self, xml: &str) -> Result<Secret> {
        self.act(|c| secret::define(c, xml))
    }
    fn secret_set_value(&self, secret: &str, value: &[u8]) -> Result<()> {
        if value.is_empty() {
            return Err(Error::invalid("an empty value").subject(secret));
        }
        self.act(|c| secret::set_value(c, secret, value))
    }
    fn secret_undefine(&self, secret: &str) -> Result<()> {
        self.act(|c| secret::undefine(c, secret))
    }

    fn net_define(&self, xml: &str) -> Result<Network> {
        self.act(|c| network::define(c, xml))
    }
    fn net_undefine(&self, network: &str) -> Result<()> {
        self.act(|c| network::undefine(c, network))
    }
    fn net_start(&self, network: &str) -> Result<()> {
        self.act(|c| network::find(c, network)?.create().on(network))
    }
    fn net_destroy(&self, network: &str) -> Result<()> {
        self.act(|c| network::find(c, network)?.destroy().on(network))
    }
    fn net_autostart(&self, network: &str, on: bool) -> Result<()> {
        self.act(|c| network::find(c, network)?.set_autostart(on).on(network))
    }
    fn net_update(&self, network: &str, command: NetCommand, section: &str, xml: &str) -> Result<()> {
        self.act(|c| network::update(c, network, command, section, xml))
    }

    fn host_file_copy(
        &self,
        from: &str,
        temp: &str,
        to: &str,
        learned: &mut dyn FnMut(FileId) -> Result<()>,
    ) -> Result<FileId> {
        self.files()?.copy(from, temp, to, learned)
    }
    fn host_file_remove(&self, path: &str, id: &FileId) -> Result<bool> {
        self.files()?.remove(path, id)
    }
    fn host_file_restore(&self, path: &str, content: &[u8]) -> Result<FileId> {
        self.files()?.restore(path, content)
    }
}
