//! An open guest as scripts hold it, and the one way in which a script changes what is inside.

use super::api::{Edit, GuestId};
use super::before;
use super::identity::{Files, Staged, rsa_keys};
use super::sys::ext2fs;
use crate::bindings::ceph;
use crate::bindings::rbd::sys::Rbd;
use crate::bindings::spec::SourceSpec;
use crate::bindings::virsh::definition::{Doc, rbd_disks};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::op::Op;
use crate::host::undo::Undo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Closed by `close`, or when the script has forgotten it.
#[derive(Clone)]
pub struct Guest(Arc<Open>);

struct Open {
    host: Arc<Host>,
    id: GuestId,
    disk: SourceSpec,
    writable: bool,
    closed: AtomicBool,
    /// Of the image; it is this one as long as the guest is open, whatever the name becomes.
    image_id: OnceLock<String>,
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        match self.end() {
            // Nobody can catch this one: it fails the transaction.
            Err(e) if self.writable => self.host.gate.lost(self.id, &e),
            Err(e) => self.host.events.log("warn", &e.to_string()),
            Ok(()) => self.host.gate.closed(self.id),
        }
    }
}

impl Open {
    fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let ended = self.end();
        self.host.gate.closed(self.id);
        ended
    }

    fn end(&self) -> Result<()> {
        self.host.guestfs().close(self.id).map_err(|e| e.op("guestfs.close").subject(&self.disk))
    }
}

/// The disk that `guest` means: an image, a snapshot, or the first disk of a domain.
fn disk_of(host: &Host, guest: &str, writable: bool) -> Result<SourceSpec> {
    if guest.contains('/') {
        return guest.parse();
    }
    let info = host.virsh().dominfo(guest)?;
    if writable && info.active() {
        return Err(Error::busy(format!("the domain is {}: two writers destroy a disk", info.state))
            .subject(guest)
            .hint(format!("virsh shutdown {guest}, or open it with #{{ read_only: true }}")));
    }
    if writable && info.managed_save {
        return Err(Error::busy("its memory is saved, and does not know of what is written to the disk meanwhile")
            .subject(guest)
            .hint(format!("start it and shut it down, or give its memory up: virsh managedsave-remove {guest}")));
    }
    let doc = Doc::parse(&host.virsh().dumpxml(guest, true, false)?)?;
    rbd_disks(&doc).first().map(SourceSpec::from).ok_or_else(|| {
        Error::unsupported("has no disk on RBD").subject(guest).hint("zs opens disks on RBD, as `pool/image` too")
    })
}

/// Begins what the editing of so many guests waits for: the connections, the library, and the primes of RSA host keys. What
/// fails here is told to whoever needs it.
pub fn prepare(host: &Arc<Host>, guests: usize) {
    rsa_keys::ahead(guests);
    // Libraries are loaded one at a time, and the connection to Ceph takes longest: it is made while libvirt is loaded.
    drop(ceph::sys::Lib::get());
    type Task = fn(&Host);
    let connect: Task = |host| {
        drop(host.ceph().fsid());
        drop(Rbd::load());
    };
    let tasks: [Task; 3] = [|_| drop(ext2fs::available()), connect, |host| drop(host.virsh().hostname())];
    for task in tasks {
        let host = host.clone();
        // Without a thread it is done when it is needed.
        let _ = std::thread::Builder::new().name("prepare".into()).spawn(move || task(&host));
    }
}

impl Guest {
    pub fn open(host: &Arc<Host>, guest: &str, read_only: bool) -> Result<Guest> {
        const OP: &str = "guestfs.open";
        let disk = disk_of(host, guest, !read_only)?;
        let writable = !read_only && disk.snap.is_none();
        let op = Op::change(OP, &disk);
        let id = if writable {
            let image = disk.image.clone();
            let undo = host.gate.within(&image).unwrap_or(Undo::Nothing);
            let id = host.change_plain(op, undo, |w, step| w.open_rw(&image, &step.progress))?;
            host.gate.opened(id, &image);
            id
        } else {
            host.guestfs().open_ro(&disk, &host.events.progress(&op, host.cancel.clone()))?
        };
        let (host, closed) = (host.clone(), AtomicBool::new(false));
        Ok(Guest(Arc::new(Open { host, id, disk, writable, closed, image_id: OnceLock::new() })))
    }

    pub fn host(&self) -> &Host {
        &self.0.host
    }

    pub fn close(&self) -> Result<()> {
        self.0.close()
    }

    /// The handle, while it is open.
    pub fn id(&self) -> Result<GuestId> {
        if self.0.closed.load(Ordering::SeqCst) {
            return Err(Error::invalid("the guest is closed")
                .subject(&self.0.disk)
                .hint("guestfs.open opens it again"));
        }
        Ok(self.0.id)
    }

    /// `pool/image:/path`.
    pub fn subject(&self, path: &str) -> String {
        format!("{}:{path}", self.0.disk)
    }

    pub fn is_within(&self) -> Option<Undo> {
        self.0.host.gate.within_id(&self.0.disk.image, &self.image_id().ok()?)
    }

    fn writable(&self) -> Result<GuestId> {
        if !self.0.writable {
            return Err(Error::denied("the guest is open for reading only")
                .subject(&self.0.disk)
                .hint("open it without read_only, and not at a snapshot"));
        }
        self.id()
    }

    /// Asks something of the guest's files.
    pub fn ask<T>(&self, f: impl FnOnce(&mut dyn Files) -> Result<T>) -> Result<T> {
        f(&mut Staged::new(self.host().guestfs(), self.id()?)).map_err(|e| self.at(e))
    }

    /// Names the image where the error names a path of the guest.
    fn at(&self, e: Error) -> Error {
        let subject = if e.subject.starts_with('/') { self.subject(&e.subject) } else { e.subject.clone() };
        Error { subject, ..e }.subject(&self.0.disk)
    }

    /// Collects what `f` wants to change and does it as one operation; nothing to change is no operation.
    pub fn change<T>(&self, op: &str, f: impl FnOnce(&mut dyn Files) -> Result<T>) -> Result<T> {
        let id = self.writable()?;
        let mut staged = Staged::new(self.host().guestfs(), id);
        let value = f(&mut staged).map_err(|e| self.at(e))?;
        let edits = staged.into_edits();
        if edits.is_empty() {
            return Ok(value);
        }
        let subject = match &edits[..] {
            [one] => self.subject(one.path()),
            _ => self.0.disk.to_string(),
        };
        let diff = before::diff(&edits, &mut Staged::new(self.host().guestfs(), id))?;
        let op = Op::change(op, subject).with("diff", diff);
        let undo = self.undo(&edits)?;
        self.host().change_plain(op, undo, |w, _| w.edit(id, &edits))?;
        Ok(value)
    }

    fn undo(&self, edits: &[Edit]) -> Result<Undo> {
        if let Some(within) = self.is_within() {
            return Ok(within);
        }
        let image = self.0.disk.image.clone();
        let mut now = Staged::new(self.host().guestfs(), self.id()?);
        let back = before::opposite(edits, &mut now).map_err(|e| self.at(e))?;
        let text = serde_json::to_string(&back).map_err(|e| Error::failed(e.to_string()))?;
        let before = self.host().gate.keep("guest.json", text.as_bytes())?;
        Ok(Undo::GuestEdits { image_id: self.image_id()?, image, before })
    }

    fn image_id(&self) -> Result<String> {
        if let Some(id) = self.0.image_id.get() {
            return Ok(id.clone());
        }
        let id = self.host().rbd().id(&self.0.disk.image)?;
        Ok(self.0.image_id.get_or_init(|| id).clone())
    }

    /// Does what is more than edits: uploads, commands.
    pub fn change_with<T>(
        &self,
        op: Op,
        undo: Undo,
        f: impl FnOnce(&dyn crate::bindings::World, GuestId, &crate::host::gate::Step) -> Result<T>,
    ) -> Result<T> {
        let id = self.writable()?;
        self.host().change_plain(op, undo, |w, step| f(w, id, step))
    }

    /// The symlink at `path` that leads out of the disk.
    pub fn volatile_link(&self, path: &str) -> Result<Option<String>> {
        Staged::new(self.host().guestfs(), self.id()?).volatile_link(path).map_err(|e| self.at(e))
    }

    /// The undo of an edit that is done in another way than `change`'s.
    pub fn undo_of(&self, edit: Edit) -> Result<Undo> {
        let mut now = Staged::new(self.host().guestfs(), self.id()?);
        let edit = now.resolved(edit).map_err(|e| self.at(e))?;
        self.undo(&[edit])
    }
}
