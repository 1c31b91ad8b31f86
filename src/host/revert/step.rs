//! One step of an undo: an operation, and how to take it back again.

use crate::bindings::World;
use crate::error::{Error, Result};
use crate::host::gate::Gate;
use crate::host::history::Operation;
use crate::host::op::{ON_HOST, Op};
use crate::host::undo::{self, Before, Outcome, Undo};
use std::time::Duration;

/// How long an image of an undone run stays in the trash, at least.
const IN_TRASH: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    undo: Undo,
}

impl Step {
    pub fn of(operation: &Operation) -> Step {
        let op = operation_of(operation.undo.plain());
        let op = match &operation.undo {
            Undo::OnHost { uri, .. } => op.with(ON_HOST, uri),
            _ => op,
        };
        Step { op: op.with("undoes", &operation.op.op), undo: operation.undo.clone() }
    }

    /// Stops a domain that runs, whoever has started it.
    pub fn stop(name: &str, uuid: &str) -> Step {
        let undo = Undo::Stop { name: name.into(), uuid: uuid.into(), id: None };
        Step { op: operation_of(&undo), undo }
    }

    pub fn perform(&self, gate: &Gate, before: &Before) -> Result<()> {
        let world = gate.world();
        let back = match &self.undo {
            Undo::OnHost { uri, host_uuid, then } => inverse(then, gate, &*world.at(uri)?)?.on_host(uri, host_uuid),
            plain => inverse(plain, gate, world)?,
        };
        let events = gate.events.clone();
        let said = gate.change(self.op.clone(), Undo::Nothing, |w, step| {
            let outcome = step.effect(back.clone(), || match self.undo.plain() {
                Undo::Stop { name, uuid, .. } => match &self.undo {
                    Undo::OnHost { uri, .. } => stop(&*w.at(uri)?, name, uuid),
                    _ => stop(w, name, uuid),
                },
                Undo::RemoveImage { image, id, .. } => to_trash(w, image, id.as_deref()),
                _ => undo::apply(&self.undo, w, before, &|text| events.log("info", text)),
            })?;
            match outcome {
                Outcome::Done(said) => Ok((Some(said), settled(&back, w)?)),
                Outcome::Gone | Outcome::Kept(_) => Ok((None, Undo::Nothing)),
                Outcome::Left { what, command } => Err(Error::busy(what).hint(command)),
            }
        })?;
        if let (Some(said), false) = (said, gate.planning()) {
            gate.events.undo(&self.op, &said);
        }
        Ok(())
    }
}

/// A disk of a run that was a mistake is still wanted back now and then.
fn to_trash(world: &dyn World, image: &crate::bindings::spec::ImageSpec, id: Option<&str>) -> Result<Outcome> {
    match world.rbd().info(image) {
        Ok(i) if Some(i.id.as_str()) == id => {}
        Ok(_) => return Ok(Outcome::Gone),
        Err(e) if e.kind == crate::error::Kind::NotFound => return Ok(Outcome::Gone),
        Err(e) => return Err(e),
    }
    wait_until_closed(world, image)?;
    world.trash_mv(image, IN_TRASH)?;
    Ok(Outcome::Done(format!("moved {image} to the trash, for 7 days")))
}

/// A domain that has just been stopped lets go of its disk a moment later.
fn wait_until_closed(world: &dyn World, image: &crate::bindings::spec::ImageSpec) -> Result<()> {
    for _ in 0..160 {
        if !world.is_live() || world.rbd().watchers(image)?.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

/// Whichever process it is by now: that it runs, somebody was told, and has said `--force`.
fn stop(world: &dyn World, name: &str, uuid: &str) -> Result<Outcome> {
    if !world.virsh().dominfo(uuid)?.active() {
        return Ok(Outcome::Gone);
    }
    world.destroy(uuid)?;
    Ok(Outcome::Done(format!("stopped domain {name}")))
}

/// The step in the backends' words.
fn operation_of(undo: &Undo) -> Op {
    match undo {
        Undo::MoveToTrash { image, .. } => Op::destroy("rbd.trash_mv", image),
        Undo::RemoveImage { image, .. } => Op::destroy("rbd.trash_mv", image).with("expires_in", "7d"),
        Undo::RemoveSnap { snap, .. } => Op::destroy("rbd.snap_rm", snap),
        Undo::PutBack { snap, .. } => Op::destroy("rbd.snap_rollback", snap),
        Undo::RollBack { image, base, .. } => Op::destroy("rbd.snap_rollback", image.at(base)),
        Undo::RenameImage { now, was, .. } => Op::change("rbd.rename", now).with("to", was.to_string()),
        Undo::RenameSnap { now, was, .. } => Op::change("rbd.snap_rename", now).with("to", was),
        Undo::RestoreTrash { image, id } => Op::change("rbd.trash_restore", image).with("id", id),
        Undo::SetMeta { image, key, was: Some(_), .. } => Op::change("rbd.meta_set", image).with("key", key),
        Undo::SetMeta { image, key, was: None, .. } => Op::change("rbd.meta_rm", image).with("key", key),
        Undo::Undefine { name, .. } => Op::destroy("virsh.undefine", name),
        Undo::Redefine { name, .. } | Undo::DefineAgain { name, .. } => Op::change("virsh.define", name),
        Undo::Stop { name, .. } => Op::destroy("virsh.destroy", name),
        Undo::Start { name, .. } => Op::change("virsh.start", name),
        Undo::Thaw { name, .. } => Op::change("virsh.domfsthaw", name),
        Undo::Autostart { name, was, .. } => Op::change("virsh.autostart", name).with("on", was),
        Undo::RemoveHostFile { path, .. } => Op::destroy("virsh.nvram_remove", path),
        Undo::RestoreHostFile { path, .. } => Op::change("virsh.nvram_copy", path),
        Undo::SetMetadata { name, uri, .. } => Op::change("virsh.set_metadata", name).with("uri", uri),
        Undo::RemoveSnapshot { name, snapshot, .. } => {
            Op::destroy("virsh.snapshot_delete", format!("{name}@{snapshot}"))
        }
        Undo::DeleteVolume { storage_pool, volume, .. } => {
            Op::destroy("virsh.vol_delete", format!("{storage_pool}/{volume}"))
        }
        Undo::Network { name, .. } => Op::change("virsh.net_define", name),
        Undo::RemoveFile { path, .. } => Op::destroy("fs.rm", path.display()),
        Undo::RestoreFile { path, .. } => Op::change("fs.write", path.display()),
        Undo::RenameFile { now, was, .. } => {
            Op::change("fs.rename", now.display()).with("to", was.display().to_string())
        }
        Undo::RemoveDir { path, .. } => Op::destroy("fs.rm", path.display()),
        Undo::RemoveLines { path, .. } => Op::change("fs.write", path),
        Undo::RemoveTempDir { path } => Op::destroy("fs.rm", path),
        Undo::GuestEdits { image, .. } => Op::change("guestfs.write", image),
        Undo::OnHost { then, .. } => operation_of(then),
        Undo::Nothing | Undo::Within { .. } | Undo::Keep { .. } | Undo::Impossible { .. } => Op::change("undo", ""),
    }
}

/// What brings back the state before the step.
fn inverse(undo: &Undo, gate: &Gate, world: &dyn World) -> Result<Undo> {
    let none = |command: String| Ok(Undo::Impossible { command });
    let definition =
        |uuid: &str| -> Result<String> { gate.keep("domain.xml", world.virsh().dumpxml(uuid, true, true)?.as_bytes()) };
    Ok(match undo {
        Undo::RemoveImage { image, id: Some(id), .. } => Undo::RestoreTrash { image: image.clone(), id: id.clone() },
        Undo::RenameImage { now, was, id } => Undo::RenameImage { now: was.clone(), was: now.clone(), id: id.clone() },
        Undo::RenameSnap { now, was, image_id, snap_id } => Undo::RenameSnap {
            now: now.image.at(was),
            was: now.snap.clone(),
            image_id: image_id.clone(),
            snap_id: *snap_id,
        },
        Undo::SetMeta { image, image_id, key, .. } => Undo::SetMeta {
            image: image.clone(),
            image_id: image_id.clone(),
            key: key.clone(),
            was: world.rbd().meta_get(image, key)?,
        },
        Undo::Undefine { name, uuid } => Undo::DefineAgain {
            name: name.clone(),
            uuid: uuid.clone(),
            before: definition(uuid)?,
            nvram: None,
            autostart: world.virsh().dominfo(uuid)?.autostart,
        },
        Undo::Redefine { name, uuid, .. } => {
            Undo::Redefine { name: name.clone(), uuid: uuid.clone(), before: definition(uuid)? }
        }
        Undo::DefineAgain { name, uuid, .. } => Undo::Undefine { name: name.clone(), uuid: uuid.clone() },
        Undo::Stop { name, uuid, .. } => Undo::Start { name: name.clone(), uuid: uuid.clone(), asked: None },
        Undo::Start { name, uuid, .. } => Undo::Stop { name: name.clone(), uuid: uuid.clone(), id: None },
        Undo::Autostart { name, uuid, .. } => {
            Undo::Autostart { name: name.clone(), uuid: uuid.clone(), was: world.virsh().dominfo(uuid)?.autostart }
        }
        Undo::RemoveHostFile { path, .. } => Undo::RestoreHostFile {
            path: path.clone(),
            before: gate.keep("nvram.fd", &world.virsh().host_file_read(path)?)?,
        },
        Undo::RenameFile { now, was, id } => Undo::RenameFile { now: was.clone(), was: now.clone(), id: id.clone() },
        Undo::MoveToTrash { image, id, .. } => Undo::RestoreTrash { image: image.clone(), id: id.clone() },
        Undo::RestoreTrash { image, id } => {
            let trashed = world.trash_ls(&image.pool, &image.namespace)?.into_iter().find(|t| &t.id == id);
            let expires = trashed.map(|t| t.deferment_end).unwrap_or_default();
            Undo::MoveToTrash { image: image.clone(), id: id.clone(), expires }
        }
        Undo::RestoreHostFile { path, .. } => {
            Undo::RemoveHostFile { path: path.clone(), temp: temp_beside(path, &gate.unique()), id: None }
        }
        other => return none(format!("(what undid this is final: {})", other.command().unwrap_or_default())),
    })
}

/// The same, once the step is done and its identities are known.
fn settled(back: &Undo, world: &dyn World) -> Result<Undo> {
    Ok(match back {
        Undo::Stop { name, uuid, id: None } => {
            let id = world.virsh().dominfo(uuid)?.id;
            Undo::Stop { name: name.clone(), uuid: uuid.clone(), id }
        }
        Undo::RemoveHostFile { path, temp, id: None } => {
            let id = world.virsh().host_file(path)?;
            Undo::RemoveHostFile { path: path.clone(), temp: temp.clone(), id }
        }
        other => other.clone(),
    })
}

/// A name beside a file that only this run can have.
fn temp_beside(path: &str, unique: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    format!("{dir}/.{name}.zs-{unique}")
}
