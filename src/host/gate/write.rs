//! What the gate writes into the journal.

use super::{Gate, lock, now};
use crate::error::Result;
use crate::host::journal::{Journal, Line, rotation, serial};
use crate::host::op::{ON_HOST, Op};

impl Gate {
    pub(super) fn open_journal(&self) -> Result<()> {
        let mut journal = lock(&self.journal);
        if journal.is_some() {
            return Ok(());
        }
        let mut j = Journal::create(&self.setup.state, &self.run)?;
        rotation::rotate(&self.setup.state, self.setup.rotation);
        let s = &self.setup;
        j.write(
            &Line::Run {
                id: self.run.clone(),
                time: now(),
                serial: serial::next(&self.setup.state)?,
                script: s.script.clone(),
                argv: s.argv.clone(),
                user: nix::unistd::User::from_uid(nix::unistd::getuid())
                    .ok()
                    .flatten()
                    .map(|u| u.name)
                    .unwrap_or_default(),
                version: env!("CARGO_PKG_VERSION").into(),
                ceph_conf: s.ceph_conf.clone(),
                ceph_id: s.ceph_id.clone(),
                undoes: s.undoes.clone(),
            },
            true,
        )?;
        *journal = Some(j);
        Ok(())
    }

    /// Writes down which cluster or hypervisor the run acts on, when it first does: a script that needs only one of
    /// them must not ask the other.
    pub(super) fn name_site(&self, op: &Op) -> Result<()> {
        // Files of this host are of no site.
        if op.op.starts_with("fs.") {
            return Ok(());
        }
        let libvirt = op.op.starts_with("virsh.");
        // On another hypervisor the undo says which.
        if libvirt && op.detail.contains_key(ON_HOST) {
            return Ok(());
        }
        // Held over the question: an operation of another thread must not go before the line.
        let mut named = lock(&self.named);
        if named[usize::from(libvirt)] {
            return Ok(());
        }
        let line = if libvirt {
            Line::Hypervisor { uri: self.world.virsh().uri()?, host_uuid: self.world.virsh().host_uuid()? }
        } else {
            Line::Cluster { fsid: self.world.ceph().fsid()? }
        };
        self.write(&line, false)?;
        named[usize::from(libvirt)] = true;
        Ok(())
    }

    pub(super) fn write(&self, line: &Line, sync: bool) -> Result<()> {
        self.open_journal()?;
        self.write_open(line, sync)
    }

    pub(super) fn write_if_open(&self, line: &Line) -> Result<()> {
        if lock(&self.journal).is_none() { Ok(()) } else { self.write_open(line, true) }
    }

    pub(super) fn write_open(&self, line: &Line, sync: bool) -> Result<()> {
        let mut journal = lock(&self.journal);
        let r = match &mut *journal {
            Some(j) => j.write(line, sync),
            None => Ok(()),
        };
        drop(journal);
        self.faults.point();
        r
    }
}
