//! What others have done since a run to what it made.

use crate::bindings::World;
use crate::bindings::spec::{ImageSpec, SourceSpec};
use crate::error::{Error, Kind, Result};
use crate::host::undo::Undo;
use serde::Serialize;
use std::os::unix::fs::MetadataExt;

/// Something that is not as the run has left it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The object: its name for `--force` too.
    pub subject: String,
    pub what: String,
    /// Undoing would destroy what somebody may need: only with `--force NAME`.
    pub is_blocking: bool,
    /// No force helps.
    pub is_hard: bool,
    /// There is nothing to take back.
    #[serde(skip)]
    pub is_gone: bool,
}

impl Finding {
    fn new(subject: impl ToString, what: impl Into<String>) -> Finding {
        Finding { subject: subject.to_string(), what: what.into(), is_blocking: false, is_hard: false, is_gone: false }
    }

    fn gone(subject: impl ToString, what: impl Into<String>) -> Finding {
        Finding { is_gone: true, ..Finding::new(subject, what) }
    }

    pub(super) fn blocking(subject: impl ToString, what: impl Into<String>) -> Finding {
        Finding { is_blocking: true, ..Finding::new(subject, what) }
    }

    fn hard(subject: impl ToString, what: impl Into<String>) -> Finding {
        Finding { is_hard: true, is_blocking: true, ..Finding::new(subject, what) }
    }

    /// Whole, or as people call the VM: the image part of `pool/image`, what the NVRAM file is named after.
    pub fn is_named(&self, name: &str) -> bool {
        self.subject == name || self.short() == name
    }

    /// What `--force` is given in hints.
    pub fn short(&self) -> &str {
        let last = self.subject.rsplit('/').next().unwrap_or(&self.subject);
        last.strip_suffix("_VARS.fd").unwrap_or(last)
    }
}

fn find<T>(r: Result<T>) -> Result<Option<T>> {
    match r {
        Ok(t) => Ok(Some(t)),
        Err(e) if e.kind == Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Seconds since 1970 of a time in the journal.
fn seconds(time: &str) -> i64 {
    time.parse::<jiff::Timestamp>().map_or(0, |t| t.as_second())
}

fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string())
}

/// What has happened since `time` to that which this undo would take back.
pub fn since(undo: &Undo, world: &dyn World, time: &str) -> Result<Vec<Finding>> {
    let time = seconds(time);
    match undo {
        Undo::OnHost { uri, then, .. } => since_in(then, &*world.at(uri)?, time),
        _ => since_in(undo, world, time),
    }
}

fn since_in(undo: &Undo, world: &dyn World, time: i64) -> Result<Vec<Finding>> {
    Ok(match undo {
        Undo::RemoveImage { image, id, snaps, .. } => {
            let mut found = image_since(world, image, id.as_deref(), time)?;
            if !found.iter().any(|f| f.is_gone) {
                found.extend(hanging_on(world, image, snaps)?);
            }
            found
        }
        Undo::MoveToTrash { image, id, .. } => {
            let mut found = image_since(world, image, Some(id), time)?;
            if !found.iter().any(|f| f.is_gone) {
                found.extend(clones(world, image, None)?);
            }
            found
        }
        Undo::GuestEdits { image, image_id, .. } => image_since(world, image, Some(image_id), time)?,
        Undo::RollBack { image, image_id, .. } => image_since(world, image, Some(image_id), time)?,
        Undo::PutBack { snap, image_id, .. } => image_since(world, &snap.image, Some(image_id), time)?,
        Undo::RemoveSnap { snap, image_id, snap_id, .. } => {
            let there = find(world.rbd().info(&snap.image))?.is_some_and(|i| &i.id == image_id)
                && world.rbd().snap_ls(&snap.image, false)?.iter().any(|s| Some(s.id) == *snap_id);
            match there {
                false => vec![Finding::gone(snap, "is gone")],
                true => clones(world, &snap.image, Some(&snap.snap))?,
            }
        }
        Undo::RestoreTrash { image, id } => {
            if !world.trash_ls(&image.pool, &image.namespace)?.iter().any(|t| &t.id == id) {
                return Ok(vec![match find(world.rbd().info(image))? {
                    Some(i) if &i.id == id => Finding::gone(image, "was taken out of the trash already"),
                    _ => Finding::hard(image, "is no longer in the trash: its data are gone"),
                }]);
            }
            match find(world.rbd().info(image))? {
                Some(_) => vec![Finding::hard(image, "there is another image of this name now")],
                None => vec![],
            }
        }
        Undo::RenameImage { now, was, id } => match find(world.rbd().info(now))? {
            Some(i) if &i.id == id => match find(world.rbd().info(was))? {
                Some(_) => vec![Finding::hard(was, "there is another image of this name now")],
                None => vec![],
            },
            _ => vec![Finding::gone(now, "is gone, or another one now")],
        },
        Undo::Undefine { name, uuid } => match find(world.virsh().dominfo(uuid))? {
            None => vec![Finding::gone(name, "is no longer defined")],
            Some(d) if d.active() => vec![Finding::blocking(name, format!("the domain is {}", d.state))],
            Some(d) if &d.name != name => vec![Finding::blocking(name, format!("is called {} now", d.name))],
            Some(d) if d.managed_save => vec![Finding::blocking(name, "has a managed save")],
            Some(_) => vec![],
        },
        Undo::Redefine { name, uuid, .. }
        | Undo::SetMetadata { name, uuid, .. }
        | Undo::Autostart { name, uuid, .. } => match find(world.virsh().dominfo(uuid))? {
            None => vec![Finding::gone(name, "is no longer defined")],
            Some(_) => vec![],
        },
        Undo::DefineAgain { name, uuid, .. } => match find(world.virsh().dominfo(name))? {
            Some(d) if &d.uuid == uuid => vec![Finding::gone(name, "is defined again already")],
            Some(d) => vec![Finding::hard(name, format!("there is another domain of this name now, {}", d.uuid))],
            None => vec![],
        },
        Undo::Stop { name, uuid, id } => match find(world.virsh().dominfo(uuid))? {
            Some(d) if d.active() && d.id == *id => {
                vec![Finding::blocking(name, format!("the domain is {} since the run", d.state))]
            }
            Some(d) if d.active() => vec![Finding::blocking(name, "was started again since the run")],
            _ => vec![Finding::gone(name, "was stopped since")],
        },
        Undo::Start { name, uuid, .. } => match find(world.virsh().dominfo(uuid))? {
            Some(d) if d.active() => vec![Finding::gone(name, "runs again")],
            _ => vec![],
        },
        Undo::RemoveHostFile { path, id: Some(id), .. } => match world.virsh().host_file(path)? {
            Some(now) if (now.dev, now.ino) == (id.dev, id.ino) => match std::fs::metadata(path) {
                // Starting a domain gives its files an owner, and the firmware writes.
                Ok(m) if m.ctime() > time || m.mtime() > time => {
                    let at = shown(m.ctime().max(m.mtime()));
                    vec![Finding::blocking(path, format!("was written since, at {at}: its domain was started"))]
                }
                _ => vec![],
            },
            _ => vec![Finding::gone(path, "is gone, or another file now")],
        },
        Undo::SetMeta { image, image_id, .. } => match find(world.rbd().info(image))? {
            Some(i) if &i.id == image_id => vec![],
            _ => vec![Finding::gone(image, "is gone, or another one now")],
        },
        Undo::RestoreFile { path, .. } => match std::fs::symlink_metadata(path) {
            Ok(m) if m.mtime() > time => vec![Finding::blocking(path.display(), "was written since")],
            _ => vec![],
        },
        Undo::RemoveFile { path, .. } => match std::fs::symlink_metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => vec![Finding::gone(path.display(), "is gone")],
            Ok(m) if m.mtime() > time => vec![Finding::blocking(path.display(), "was written since")],
            _ => vec![],
        },
        _ => vec![],
    })
}

/// Whether an image is still the run's, and whether somebody has opened it for writing since.
fn image_since(world: &dyn World, image: &ImageSpec, id: Option<&str>, time: i64) -> Result<Vec<Finding>> {
    let Some(now) = find(world.rbd().info(image))? else { return Ok(vec![Finding::gone(image, "is gone")]) };
    if Some(now.id.as_str()) != id {
        return Ok(vec![Finding::gone(image, format!("is another image now, id {}", now.id))]);
    }
    if let Some(w) = world.rbd().watchers(image)?.first() {
        return Ok(vec![Finding::blocking(image, format!("is open by client.{} at {}", w.client, w.address))]);
    }
    let last = seconds(&now.modify_timestamp).max(world.rbd().touched(image)?.unwrap_or(0));
    if last > time {
        let what = format!("was opened for writing, or changed, since: at {}", shown(last));
        return Ok(vec![Finding::blocking(image, what)]);
    }
    Ok(vec![])
}

/// What would be lost or orphaned with an image.
fn hanging_on(world: &dyn World, image: &ImageSpec, ours: &[u64]) -> Result<Vec<Finding>> {
    let mut found = clones(world, image, None)?;
    let snaps = world.rbd().snap_ls(image, false)?;
    let others: Vec<_> = snaps.iter().filter(|s| !ours.contains(&s.id)).map(|s| s.name.as_str()).collect();
    if !others.is_empty() {
        let what = format!("has snapshots that the run did not make: {}", others.join(", "));
        found.push(Finding::blocking(image, what));
    }
    Ok(found)
}

fn clones(world: &dyn World, image: &ImageSpec, snap: Option<&str>) -> Result<Vec<Finding>> {
    let of = SourceSpec { image: image.clone(), snap: snap.map(String::from) };
    let names: Vec<String> = world.rbd().children(&of)?.iter().map(|c| format!("{}/{}", c.pool, c.image)).collect();
    Ok(match names.is_empty() {
        true => vec![],
        false => {
            vec![Finding::hard(of, format!("is the parent of {}: flatten or remove them first", names.join(", ")))]
        }
    })
}

/// The error of an undo that is refused, with the way to do it all the same.
pub fn refusal(run: &str, against: &[&Finding]) -> Error {
    let hard = against.iter().any(|f| f.is_hard);
    let first: Vec<String> = against.iter().map(|f| format!("{} {}", f.subject, f.what)).collect();
    let mut names: Vec<&str> = against.iter().map(|f| f.short()).collect();
    names.sort_unstable();
    names.dedup();
    let e = Error::denied(format!("changed since the run: {}", first.join("; "))).op("undo").subject(run);
    match hard {
        true => e.hint("what is in the way has to go first"),
        false => e.hint(format!(
            "where it may go all the same: zs undo {run} {}",
            names.iter().map(|n| format!("--force {n}")).collect::<Vec<_>>().join(" ")
        )),
    }
}
