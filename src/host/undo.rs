//! How to take an operation back: data, so that another process can do it after a crash.
//!
//! Each undo names what it may touch by identity (image id, domain uuid, inode), never by name alone, and finding it
//! gone already is success.

mod command;
mod images;
mod network;
mod put_back;
mod start;
mod volumes;

pub use network::NetworkBack;
pub use put_back::remove_temp_dir;
pub use volumes::VolumeId;

use crate::bindings::rbd::api::Snap;
use crate::bindings::spec::{ImageSpec, SnapSpec};
use crate::bindings::virsh::api::{FileId, Snapshot, UndefineOpts};
use crate::bindings::{World, guestfs};
use crate::error::{Error, Kind, Result};
use crate::helpers::files;
use command::there;
pub use images::finish_snap_removal;
use images::{is_image, remove_image, remove_snaps, roll_back, wait_for_watchers};
use serde::{Deserialize, Serialize};
use start::start_again;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the run keeps what was there before its changes: files beside its journal, or, in a plan, memory.
pub enum Before<'a> {
    Files(&'a Path),
    Memory(&'a HashMap<String, Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// Changes nothing that outlives the run.
    Nothing,
    /// Lies in an image that this run made: goes with it.
    Within {
        image: ImageSpec,
    },
    /// Set-up shared by many runs: the next run finds it and goes on from there.
    Keep {
        what: String,
    },
    /// The command a person would type.
    Impossible {
        command: String,
    },
    /// `temp` is a name only this run can have; under `image` it is ours only if the id is `id`. `snaps` are the
    /// snapshots that it came with, by their ids.
    RemoveImage {
        image: ImageSpec,
        temp: ImageSpec,
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        snaps: Vec<u64>,
    },
    /// `temp` is a name only this run can have; under `snap` it is ours only if the id is `snap_id`.
    RemoveSnap {
        snap: SnapSpec,
        temp: SnapSpec,
        image_id: String,
        snap_id: Option<u64>,
    },
    /// Puts an image that a diff was written into back to the snapshot that the diff started from. `end` is the snapshot
    /// at its end, with its id once it is known; `temp` is its name before.
    RollBack {
        image: ImageSpec,
        image_id: String,
        base: String,
        base_id: u64,
        temp: SnapSpec,
        end: Option<(SnapSpec, Option<u64>)>,
    },
    /// The image with this id is called `now`; it was called `was`.
    RenameImage {
        now: ImageSpec,
        was: ImageSpec,
        id: String,
    },
    /// Puts an image back to a snapshot of this run; names and ids as of `RemoveSnap`.
    PutBack {
        snap: SnapSpec,
        temp: SnapSpec,
        image_id: String,
        snap_id: Option<u64>,
    },
    /// The snapshot with this id is called `now`; it was called `was`.
    RenameSnap {
        now: SnapSpec,
        was: String,
        image_id: String,
        snap_id: u64,
    },
    RestoreTrash {
        image: ImageSpec,
        id: String,
    },
    /// The image with this id came out of the trash, where it would have stayed until `expires`.
    MoveToTrash {
        image: ImageSpec,
        id: String,
        expires: String,
    },
    SetMeta {
        image: ImageSpec,
        image_id: String,
        key: String,
        was: Option<String>,
    },
    Undefine {
        name: String,
        uuid: String,
    },
    /// `before` is the file beside the journal that holds the former XML.
    Redefine {
        name: String,
        uuid: String,
        before: String,
    },
    /// Stops a domain that this run started: the process with this `id`. While none is known, a domain of this run is
    /// paused: it is let run only once its id is written down, so one that runs is somebody else's.
    Stop {
        name: String,
        uuid: String,
        #[serde(default)]
        id: Option<u32>,
    },
    /// Starts a domain that this run stopped, or `asked` to shut down while it was the process with this id.
    Start {
        name: String,
        uuid: String,
        #[serde(default)]
        asked: Option<u32>,
    },
    /// Thaws the filesystems of a domain that this run has frozen, while it is the process with this id. Comes before
    /// all others.
    Thaw {
        name: String,
        uuid: String,
        id: Option<u32>,
    },
    Autostart {
        name: String,
        uuid: String,
        was: bool,
    },
    /// `temp` is a name only this run can have; `path` is ours only if it is the file `id`.
    RemoveHostFile {
        path: String,
        temp: String,
        id: Option<FileId>,
    },
    /// A file of the hypervisor that this run removed.
    RestoreHostFile {
        path: String,
        before: String,
    },
    /// A domain that this run undefined, with the NVRAM file that went with it.
    DefineAgain {
        name: String,
        uuid: String,
        before: String,
        nvram: Option<(String, String)>,
        autostart: bool,
    },
    /// What a domain's definition says under this namespace.
    SetMetadata {
        name: String,
        uuid: String,
        uri: String,
        key: String,
        was: Option<String>,
    },
    /// A snapshot of a domain, known by the second at which it was taken; unknown, it is one that was not there before.
    RemoveSnapshot {
        name: String,
        uuid: String,
        snapshot: String,
        created: Option<i64>,
    },
    /// A volume, ours only if it is this image or this file of the hypervisor.
    DeleteVolume {
        storage_pool: String,
        volume: String,
        is: VolumeId,
    },
    /// On another hypervisor than the run's own. `host_uuid` is empty where libvirt tells none.
    OnHost {
        uri: String,
        host_uuid: String,
        then: Box<Undo>,
    },
    /// A network, known by its uuid, as it was before.
    Network {
        name: String,
        uuid: String,
        back: NetworkBack,
    },
    /// A file of this host. `temp` is a name only this run can have; `path` is ours only if it is the file `id`.
    RemoveFile {
        path: PathBuf,
        temp: PathBuf,
        id: Option<FileId>,
    },
    /// A file of this host that this run has written over (`id`: what is there now) or removed (`None`). `before` is the
    /// file beside the journal with what it held.
    RestoreFile {
        path: PathBuf,
        temp: PathBuf,
        id: Option<FileId>,
        before: String,
        mode: u32,
        owner: (u32, u32),
    },
    /// The file of this host with this id is called `now`; it was called `was`.
    RenameFile {
        now: PathBuf,
        was: PathBuf,
        id: FileId,
    },
    /// A directory of this host with those in it that came with it, as far as they are empty.
    RemoveDir {
        path: PathBuf,
        temp: PathBuf,
        id: Option<FileId>,
        inner: Vec<PathBuf>,
    },
    /// Lines that this run has put at the end of a file of this host.
    RemoveLines {
        path: String,
        text: String,
    },
    /// A directory of a name that only this run can have, with all that is in it.
    RemoveTempDir {
        path: String,
    },
    /// Edits that put a guest's files back as they were.
    GuestEdits {
        image: ImageSpec,
        image_id: String,
        before: String,
    },
}

/// What became of an undo.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done, in words.
    Done(String),
    /// Nothing to do: gone already, or never came to be.
    Gone,
    /// Stays, rightly.
    Kept(String),
    /// Stays, and a person has to look at it: the command.
    Left { what: String, command: String },
}

impl Undo {
    /// Within an image that goes anyway, or nothing at all: no need to sync the intent to disk.
    pub fn is_cheap(&self) -> bool {
        matches!(self, Undo::Nothing | Undo::Within { .. })
    }

    /// A guest stands still meanwhile: this is taken back before all else.
    pub fn is_urgent(&self) -> bool {
        matches!(self.plain(), Undo::Thaw { .. })
    }

    /// Makes it one of another hypervisor; what names no object of libvirt stays as it is.
    pub fn on_host(self, uri: &str, host_uuid: &str) -> Undo {
        match self {
            Undo::Nothing | Undo::Within { .. } | Undo::Keep { .. } | Undo::OnHost { .. } => self,
            Undo::Impossible { command } => Undo::Impossible { command: there(&command, uri) },
            _ => Undo::OnHost { uri: uri.into(), host_uuid: host_uuid.into(), then: Box::new(self) },
        }
    }

    /// Without the hypervisor that it is on.
    pub fn plain(&self) -> &Undo {
        if let Undo::OnHost { then, .. } = self { then } else { self }
    }
}

/// Takes an operation back in `world`.
pub fn apply(undo: &Undo, world: &dyn World, before: &Before, notice: &dyn Fn(&str)) -> Result<Outcome> {
    match undo {
        Undo::Nothing | Undo::Within { .. } => Ok(Outcome::Gone),
        Undo::Keep { what } => Ok(Outcome::Kept(what.clone())),
        Undo::Impossible { command } => {
            Ok(Outcome::Left { what: "cannot be taken back by zs".into(), command: command.clone() })
        }
        Undo::RemoveImage { image, temp, id, snaps } => remove_image(world, image, temp, id.as_deref(), snaps, notice),
        Undo::RemoveSnap { snap, temp, image_id, snap_id } => {
            if !is_image(world, &snap.image, image_id)? {
                return Ok(Outcome::Gone);
            }
            let ours = |s: &Snap| s.name == temp.snap || s.name == snap.snap && Some(s.id) == *snap_id;
            match remove_snaps(world, &snap.image, ours)? {
                0 => Ok(Outcome::Gone),
                _ => Ok(Outcome::Done(format!("removed snapshot {snap}"))),
            }
        }
        Undo::PutBack { snap, temp, image_id, snap_id } => {
            put_back::roll_back(world, snap, temp, image_id, *snap_id, notice)
        }
        Undo::RollBack { image, image_id, base, base_id, temp, end } => {
            if !is_image(world, image, image_id)? {
                return Ok(Outcome::Gone);
            }
            roll_back(world, image, (base, *base_id), temp, end.as_ref(), notice)
        }
        Undo::RenameImage { now, was, id } => images::rename_back(world, now, was, id),
        Undo::RenameSnap { now, was, image_id, snap_id } => {
            let is_it = |s: &Snap| s.name == now.snap && s.id == *snap_id;
            if !is_image(world, &now.image, image_id)? || !world.rbd().snap_ls(&now.image, false)?.iter().any(is_it) {
                return Ok(Outcome::Gone);
            }
            gone_is_fine(world.snap_rename(now, was), format!("renamed {now} back to @{was}"))
        }
        Undo::RestoreTrash { image, id } => {
            let trashed = world.trash_ls(&image.pool, &image.namespace)?.iter().any(|t| &t.id == id);
            if !trashed {
                return Ok(Outcome::Gone);
            }
            world.trash_restore(&image.pool, &image.namespace, id, &image.image)?;
            Ok(Outcome::Done(format!("took {image} back out of the trash")))
        }
        Undo::MoveToTrash { image, id, expires } => images::move_to_trash(world, image, id, expires, notice),
        Undo::SetMeta { image, image_id, key, was } => {
            if !is_image(world, image, image_id)? {
                return Ok(Outcome::Gone);
            }
            let r = match was {
                Some(value) => world.meta_set(image, key, value),
                None => world.meta_rm(image, key),
            };
            gone_is_fine(r, format!("put metadata {key} of {image} back"))
        }
        Undo::Undefine { name, uuid } => {
            let Some(domain) = find(world.virsh().dominfo(uuid))? else { return Ok(Outcome::Gone) };
            if domain.active() {
                return Ok(Outcome::Left {
                    what: format!("domain {name} was started since"),
                    command: format!("virsh destroy {name}; virsh undefine --nvram {name}"),
                });
            }
            // The NVRAM file has an undo of its own, which knows whose file it is.
            let o = UndefineOpts {
                keep_nvram: true,
                managed_save: true,
                snapshots_metadata: true,
                checkpoints_metadata: true,
                ..Default::default()
            };
            gone_is_fine(world.undefine(uuid, &o), format!("undefined domain {name}"))
        }
        Undo::Redefine { name, uuid, before: file } => {
            if find(world.virsh().dominfo(uuid))?.is_none() {
                return Ok(Outcome::Gone);
            }
            world.define(&read_before(before, file)?, false)?;
            Ok(Outcome::Done(format!("gave domain {name} its former definition back")))
        }
        Undo::Stop { name, uuid, id } => {
            let Some(domain) = find(world.virsh().dominfo(uuid))? else { return Ok(Outcome::Gone) };
            let ours = match id {
                Some(_) => domain.id == *id,
                None => domain.active() && domain.state == "paused",
            };
            if !ours {
                return Ok(Outcome::Gone);
            }
            gone_is_fine(world.destroy(uuid), format!("stopped domain {name}"))
        }
        Undo::Start { name, uuid, asked } => start_again(world, name, uuid, *asked, notice),
        Undo::Thaw { name, uuid, id } => match find(world.virsh().dominfo(uuid))? {
            Some(domain) if domain.active() && domain.id == *id => Ok(match world.domfsthaw(uuid)? {
                0 => Outcome::Gone,
                n => Outcome::Done(format!("thawed {n} filesystems of {name}")),
            }),
            _ => Ok(Outcome::Gone),
        },
        Undo::Autostart { name, uuid, was } => gone_is_fine(
            world.autostart(uuid, *was),
            format!("switched autostart of {name} back {}", if *was { "on" } else { "off" }),
        ),
        Undo::RemoveHostFile { path, temp, id } => {
            let mut removed = false;
            if let Some(file) = world.virsh().host_file(temp)? {
                removed |= world.host_file_remove(temp, &file)?;
            }
            if let Some(id) = id {
                removed |= world.host_file_remove(path, id)?;
            }
            Ok(if removed { Outcome::Done(format!("removed {path}")) } else { Outcome::Gone })
        }
        Undo::RestoreHostFile { path, before: file } => {
            if world.virsh().host_file(path)?.is_some() {
                return Ok(Outcome::Gone);
            }
            world.host_file_restore(path, &read_before_bytes(before, file)?)?;
            Ok(Outcome::Done(format!("put {path} back")))
        }
        Undo::DefineAgain { name, uuid, before: file, nvram, autostart } => {
            if find(world.virsh().dominfo(uuid))?.is_none() {
                world.define(&read_before(before, file)?, false)?;
            }
            if let Some((path, content)) = nvram
                && world.virsh().host_file(path)?.is_none()
            {
                world.host_file_restore(path, &read_before_bytes(before, content)?)?;
            }
            if *autostart {
                world.autostart(uuid, true)?;
            }
            Ok(Outcome::Done(format!("defined domain {name} again")))
        }
        // A plan has touched no file of this host.
        Undo::RemoveFile { .. }
        | Undo::RestoreFile { .. }
        | Undo::RenameFile { .. }
        | Undo::RemoveDir { .. }
        | Undo::RemoveLines { .. }
            if !world.is_live() =>
        {
            Ok(Outcome::Gone)
        }
        Undo::SetMetadata { name, uuid, uri, key, was } => gone_is_fine(
            world.set_metadata(uuid, uri, key, was.as_deref()),
            format!("put metadata {uri} of domain {name} back"),
        ),
        Undo::RemoveSnapshot { name, uuid, snapshot, created } => {
            let Some(all) = find(world.virsh().snapshot_list(uuid))? else { return Ok(Outcome::Gone) };
            let ours = |s: &Snapshot| &s.name == snapshot && created.is_none_or(|t| t == s.creation_time);
            if !all.iter().any(ours) {
                return Ok(Outcome::Gone);
            }
            gone_is_fine(world.snapshot_delete(uuid, snapshot, false), format!("removed snapshot {snapshot} of {name}"))
        }
        Undo::DeleteVolume { storage_pool, volume, is } => volumes::delete(world, storage_pool, volume, is),
        Undo::OnHost { uri, host_uuid, then } => {
            let other = world.at(uri)?;
            let is = if host_uuid.is_empty() { String::new() } else { other.virsh().host_uuid()? };
            if &is != host_uuid {
                return Err(Error::invalid(format!("is host {is} now, and was {host_uuid}")).subject(uri));
            }
            apply(then, &*other, before, notice)
        }
        Undo::Network { name, uuid, back } => network::take_back(world, name, uuid, back, before),
        Undo::RemoveFile { path, temp, id } => Ok(match files::take_away(path, temp, id.as_ref())? {
            true => Outcome::Done(format!("removed {}", path.display())),
            false => Outcome::Gone,
        }),
        Undo::RestoreFile { path, temp, id, before: file, mode, owner } => {
            files::change::restore(path, temp, id.as_ref(), &read_before_bytes(before, file)?, *mode, *owner)
        }
        Undo::RenameFile { now, was, id } => files::change::rename_back(now, was, id),
        Undo::RemoveDir { path, temp, id, inner } => files::change::remove_dirs(path, temp, id.as_ref(), inner),
        Undo::RemoveLines { path, text } => {
            // Others may have added theirs since.
            let Some(now) = find(std::fs::read_to_string(path).map_err(Error::from))? else { return Ok(Outcome::Gone) };
            let Some(at) = now.rfind(text.as_str()) else { return Ok(Outcome::Gone) };
            std::fs::write(path, format!("{}{}", &now[..at], &now[at + text.len()..]))?;
            Ok(Outcome::Done(format!("took {} lines out of {path}", text.lines().count())))
        }
        Undo::RemoveTempDir { .. } if !world.is_live() => Ok(Outcome::Gone),
        Undo::RemoveTempDir { path } => {
            Ok(if remove_temp_dir(path)? { Outcome::Done(format!("removed {path}")) } else { Outcome::Gone })
        }
        Undo::GuestEdits { image, image_id, before: file } => {
            if !is_image(world, image, image_id)? {
                return Ok(Outcome::Gone);
            }
            let edits: Vec<guestfs::api::Edit> =
                serde_json::from_str(&read_before(before, file)?).map_err(|e| Error::failed(e.to_string()))?;
            let wait = || wait_for_watchers(world, image, notice).map_err(|e| Error { op: "guestfs.open".into(), ..e });
            for path in guestfs::before::put_back_on(world, image, &edits, &wait)? {
                notice(&format!("{image}:{path} is not put back: its directory is gone"));
            }
            Ok(Outcome::Done(format!("put files inside {image} back as they were")))
        }
    }
}

fn read_before_bytes(before: &Before, file: &str) -> Result<Vec<u8>> {
    match before {
        Before::Files(dir) => {
            let path = dir.join(file);
            std::fs::read(&path).map_err(|e| Error::from(e).subject(path.display()))
        }
        Before::Memory(kept) => kept.get(file).cloned().ok_or_else(|| Error::not_found("was not kept").subject(file)),
    }
}

fn read_before(before: &Before, file: &str) -> Result<String> {
    String::from_utf8(read_before_bytes(before, file)?).map_err(|e| Error::failed(e.to_string()).subject(file))
}

fn find<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(t) => Ok(Some(t)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn gone_is_fine(r: Result<()>, said: String) -> Result<Outcome> {
    Ok(if find(r)?.is_some() { Outcome::Done(said) } else { Outcome::Gone })
}
