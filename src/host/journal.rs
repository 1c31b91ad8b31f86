//! One append-only file per run: what was intended, learned and done, written ahead and synced.

pub mod rotation;
pub mod serial;

pub use rotation::{Rotation, is_finished};

use super::op::Op;
use super::undo::Undo;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    Run {
        id: String,
        time: String,
        /// Higher than that of any run that began before.
        #[serde(default)]
        serial: u64,
        script: String,
        argv: Vec<String>,
        user: String,
        version: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ceph_conf: Option<PathBuf>,
        ceph_id: String,
        /// The run that this one takes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undoes: Option<String>,
    },
    /// Recovery acts on this very cluster and this very hypervisor, or not at all.
    Cluster {
        fsid: String,
    },
    Hypervisor {
        uri: String,
        host_uuid: String,
    },
    Intent {
        seq: u64,
        frame: u64,
        time: String,
        op: Op,
        undo: Undo,
    },
    Learned {
        seq: u64,
        undo: Undo,
    },
    Done {
        seq: u64,
        undo: Undo,
        ms: u64,
    },
    Failed {
        seq: u64,
        error: Error,
    },
    Undone {
        seq: u64,
        said: String,
    },
    /// What this operation made stays, and a person was told so.
    Left {
        seq: u64,
        what: String,
        command: String,
    },
    /// Taking this operation back has failed: it stays open, whatever becomes of its frame.
    Stuck {
        seq: u64,
    },
    /// The operations of this frame are final, whatever becomes of the run.
    Commit {
        frame: u64,
        #[serde(default)]
        time: String,
    },
    /// This frame ended well; its operations now belong to `into`.
    Merge {
        frame: u64,
        into: u64,
    },
    End {
        ok: bool,
        ms: u64,
        #[serde(default)]
        time: String,
        /// Written by `zs recover`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        recovered: bool,
    },
}

/// The file of a run that is going on; its lock says that the run is alive.
pub struct Journal {
    file: File,
    pub id: String,
    /// Where before-images lie.
    pub before: PathBuf,
}

impl Journal {
    pub fn create(state: &Path, id: &str) -> Result<Journal> {
        let runs = runs_dir(state);
        DirBuilder::new().recursive(true).mode(0o700).create(&runs).map_err(|e| unwritable(e, &runs))?;
        let path = runs.join(format!("{id}.jsonl"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| unwritable(e, &path))?;
        file.lock().map_err(|e| unwritable(e, &path))?;
        // The name must survive a crash too, or recovery would not find the file.
        File::open(&runs).and_then(|d| d.sync_all()).map_err(|e| unwritable(e, &runs))?;
        Ok(Journal { file, id: id.into(), before: before_dir(state, id) })
    }

    /// Opens the journal of a dead run to finish it off; `None` when the run is alive.
    pub fn reopen(state: &Path, id: &str) -> Result<Option<Journal>> {
        let path = runs_dir(state).join(format!("{id}.jsonl"));
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| unwritable(e, &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(e)) => return Err(unwritable(e, &path)),
        }
        // The torn line of a crash must not swallow the next one.
        let mut j = Journal { file, id: id.into(), before: before_dir(state, id) };
        j.file.write_all(b"\n").map_err(|e| unwritable(e, &path))?;
        Ok(Some(j))
    }

    pub fn write(&mut self, line: &Line, sync: bool) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(|e| Error::failed(e.to_string()))?;
        text.push('\n');
        let before = self.file.metadata().map_err(|e| unwritable(e, Path::new(&self.id)))?.len();
        if let Err(e) = self.file.write_all(text.as_bytes()) {
            // Half a line would swallow the next one.
            let _ = self.file.set_len(before);
            return Err(unwritable(e, Path::new(&self.id)));
        }
        if sync {
            self.file.sync_data().map_err(|e| unwritable(e, Path::new(&self.id)))?;
        }
        Ok(())
    }

    /// Keeps `content` as it was before a change, for its undo. Returns the name to write into the undo.
    pub fn keep(&self, name: &str, content: &[u8]) -> Result<String> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.before).map_err(|e| unwritable(e, &self.before))?;
        let path = self.before.join(name);
        let mut f = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| unwritable(e, &path))?;
        f.write_all(content).and_then(|()| f.sync_all()).map_err(|e| unwritable(e, &path))?;
        Ok(name.into())
    }
}

/// Takes the lock of a run's journal; `None` while somebody else has it: the run itself, or who recovers it.
pub fn hold(state: &Path, id: &str) -> Result<Option<File>> {
    let path = runs_dir(state).join(format!("{id}.jsonl"));
    let file = File::open(&path).map_err(|e| Error::from(e).op("journal").subject(path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(Error::from(e).op("journal").subject(path.display())),
    }
}

fn unwritable(e: std::io::Error, path: &Path) -> Error {
    Error::from(e).op("journal").subject(path.display()).hint(
        "zs changes nothing that it cannot write down first: free space there, or name another place with ZS_STATE_DIR",
    )
}

/// Whether the run is going on: it holds the lock on its journal as long as it lives.
pub fn is_alive(state: &Path, id: &str) -> Result<bool> {
    let path = runs_dir(state).join(format!("{id}.jsonl"));
    let file = File::open(&path).map_err(|e| Error::from(e).op("journal").subject(path.display()))?;
    Ok(matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

pub fn runs_dir(state: &Path) -> PathBuf {
    state.join("runs")
}

pub fn before_dir(state: &Path, id: &str) -> PathBuf {
    runs_dir(state).join(format!("{id}.before"))
}

/// The lines of a run. A torn last line is what a crash leaves and no error.
pub fn read(state: &Path, id: &str) -> Result<Vec<Line>> {
    let path = runs_dir(state).join(format!("{id}.jsonl"));
    let file = File::open(&path).map_err(|e| Error::from(e).op("journal").subject(path.display()))?;
    let mut lines = Vec::new();
    for (n, text) in BufReader::new(file).split(b'\n').enumerate() {
        let text = text?;
        match serde_json::from_slice(&text) {
            Ok(line) => lines.push(line),
            // Torn by a crash in the middle of writing it: what it would have said has not happened yet.
            Err(e) if e.is_eof() => {}
            Err(e) => {
                if let Some(line) = behind_torn(&text) {
                    lines.push(line);
                    continue;
                }
                return Err(Error::failed(format!("line {} cannot be read: {e}", n + 1))
                    .op("journal")
                    .subject(path.display())
                    .hint("it was written by another version of zs: run `zs recover` of that one"));
            }
        }
    }
    Ok(lines)
}

/// The whole line behind one that a full disk has cut off. In a JSON string the quotes would be escaped.
fn behind_torn(text: &[u8]) -> Option<Line> {
    const BEGIN: &[u8] = b"{\"line\":\"";
    let last = text.windows(BEGIN.len()).rposition(|w| w == BEGIN).filter(|at| *at > 0)?;
    serde_json::from_slice(&text[last..]).ok()
}

/// The ids of all runs that have a journal, oldest first.
pub fn runs(state: &Path) -> Result<Vec<String>> {
    let dir = match std::fs::read_dir(runs_dir(state)) {
        Ok(d) => d,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::from(e).op("journal").subject(runs_dir(state).display())),
    };
    let mut found = Vec::new();
    for entry in dir {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(id) = name.strip_suffix(".jsonl") {
            let time = entry.metadata().and_then(|m| m.created().or_else(|_| m.modified())).ok();
            found.push((serial::of(&entry.path()), time, id.to_string()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, _, id)| id).collect())
}

/// An operation of a dead run that is neither undone nor final.
#[derive(Clone, Debug)]
pub struct Open {
    pub seq: u64,
    pub op: Op,
    pub undo: Undo,
    /// Its effect may or may not have happened.
    pub unknown: bool,
}

/// No frame has this number, so none makes its operations final.
const NO_FRAME: u64 = u64::MAX;

/// What of a run still has to be taken back, newest first.
pub fn open_operations(lines: &[Line]) -> Vec<Open> {
    let mut open: Vec<(u64, Open)> = Vec::new();
    for line in lines {
        match line {
            Line::Intent { seq, frame, op, undo, .. } => {
                open.push((*frame, Open { seq: *seq, op: op.clone(), undo: undo.clone(), unknown: true }));
            }
            Line::Learned { seq, undo } => {
                open.iter_mut().filter(|(_, o)| o.seq == *seq).for_each(|(_, o)| o.undo = undo.clone());
            }
            Line::Done { seq, undo, .. } => open.iter_mut().filter(|(_, o)| o.seq == *seq).for_each(|(_, o)| {
                o.undo = undo.clone();
                o.unknown = false;
            }),
            Line::Undone { seq, .. } | Line::Left { seq, .. } => open.retain(|(_, o)| o.seq != *seq),
            // Refused: there is nothing that a person would have to do by hand.
            Line::Failed { seq, error } => open.retain(|(_, o)| {
                o.seq != *seq
                    || error.kind.is_unsure()
                    || !matches!(o.undo, Undo::Impossible { .. } | Undo::Keep { .. })
            }),
            Line::Stuck { seq } => open.iter_mut().filter(|(_, o)| o.seq == *seq).for_each(|(f, _)| *f = NO_FRAME),
            Line::Commit { frame, .. } => open.retain(|(f, _)| f != frame),
            Line::Merge { frame, into } => {
                open.iter_mut().filter(|(f, _)| f == frame).for_each(|(f, _)| *f = *into);
            }
            Line::Run { .. } | Line::Cluster { .. } | Line::Hypervisor { .. } | Line::End { .. } => {}
        }
    }
    open.reverse();
    open.into_iter().map(|(_, o)| o).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::spec::ImageSpec;
    use crate::bindings::virsh::api::FileId;

    fn undos() -> Vec<Undo> {
        let image = ImageSpec::new("p", "i");
        vec![
            Undo::Nothing,
            Undo::Within { image: image.clone() },
            Undo::Keep { what: "w".into() },
            Undo::Impossible { command: "c".into() },
            Undo::RemoveImage { image: image.clone(), temp: image.sibling("t"), id: Some("i".into()), snaps: vec![7] },
            Undo::RemoveSnap {
                snap: image.at("s"),
                temp: image.at("t"),
                image_id: "i".into(),
                snap_id: Some(u64::MAX),
            },
            Undo::PutBack { snap: image.at("s"), temp: image.at("t"), image_id: "i".into(), snap_id: Some(u64::MAX) },
            Undo::RemoveTempDir { path: "/p".into() },
            Undo::RenameImage { now: image.clone(), was: image.sibling("w"), id: "i".into() },
            Undo::RenameSnap { now: image.at("s"), was: "w".into(), image_id: "i".into(), snap_id: 7 },
            Undo::RestoreTrash { image: image.clone(), id: "i".into() },
            Undo::MoveToTrash { image: image.clone(), id: "i".into(), expires: "e".into() },
            Undo::SetMeta { image: image.clone(), image_id: "i".into(), key: "k".into(), was: None },
            Undo::Undefine { name: "n".into(), uuid: "u".into() },
            Undo::Redefine { name: "n".into(), uuid: "u".into(), before: "b".into() },
            Undo::Stop { name: "n".into(), uuid: "u".into(), id: Some(7) },
            Undo::Start { name: "n".into(), uuid: "u".into(), asked: None },
            Undo::Autostart { name: "n".into(), uuid: "u".into(), was: true },
            Undo::RemoveHostFile {
                path: "/p".into(),
                temp: "/t".into(),
                id: Some(FileId { dev: 1, ino: u64::MAX, born: 1_795_493_933_655_928_196, size: 9 }),
            },
            Undo::DefineAgain {
                name: "n".into(),
                uuid: "u".into(),
                before: "b".into(),
                nvram: Some(("/p".into(), "f".into())),
                autostart: false,
            },
            Undo::RemoveLines { path: "/p".into(), text: "a\n".into() },
            Undo::GuestEdits { image, image_id: "i".into(), before: "b".into() },
        ]
    }

    /// Serde cannot read all that it writes once a type is tagged: 128-bit numbers, say.
    #[test]
    fn each_undo_survives_a_crash() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut j = Journal::create(dir.path(), "r").expect("a journal");
        for (seq, undo) in (1..).zip(undos()) {
            let op = Op::change("rbd.clone", "p/i");
            let before = Undo::Nothing;
            j.write(&Line::Intent { seq, frame: 1, time: String::new(), op, undo: before }, false).expect("intent");
            j.write(&Line::Learned { seq, undo }, false).expect("learned");
        }
        drop(j);
        let lines = read(dir.path(), "r").expect("read");
        let mut found: Vec<Undo> = open_operations(&lines).into_iter().map(|o| o.undo).collect();
        found.reverse();
        assert_eq!(found, undos());
    }

    #[test]
    fn a_torn_line_is_none_and_a_strange_one_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut j = Journal::create(dir.path(), "r").expect("a journal");
        j.write(&Line::Commit { frame: 1, time: String::new() }, false).expect("written");
        j.file.write_all(b"{\"line\":\"commit\",\"fra").expect("torn");
        drop(j);
        let mut j = Journal::reopen(dir.path(), "r").expect("reopened").expect("dead");
        j.write(&Line::End { ok: false, ms: 0, time: String::new(), recovered: true }, false).expect("written");
        assert_eq!(read(dir.path(), "r").expect("read").len(), 2);
        j.file.write_all(b"{\"line\":\"of the future\"}\n").expect("strange");
        assert!(read(dir.path(), "r").is_err());
    }

    #[test]
    fn a_line_behind_a_torn_one_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut j = Journal::create(dir.path(), "r").expect("a journal");
        j.file.write_all(b"{\"line\":\"undone\",\"seq\":1,\"said\":\"remo").expect("torn");
        j.write(&Line::Commit { frame: 7, time: String::new() }, false).expect("written");
        assert!(matches!(read(dir.path(), "r").expect("read")[..], [Line::Commit { frame: 7, .. }]));
    }
}
