//! What edits change: the edits that take them back, how these are done, and the difference for people.

use super::api::{Edit, GuestId, Stat, Write};
use super::identity::Files;
use crate::bindings::spec::{ImageSpec, Progress};
use crate::error::{Error, Kind, Result};

/// Edits that put back what `edits` would change, in the order in which [`put_back`] is to do them. `files` is the
/// guest before; afterwards `edits`, whose paths are resolved, are staged on it.
pub fn opposite(edits: &[Edit], files: &mut dyn Files) -> Result<Vec<Edit>> {
    let mut back = Vec::new();
    let mut room = LARGEST_KEPT;
    for (i, edit) in edits.iter().enumerate() {
        let mut of_this = Vec::new();
        match edit {
            Edit::Chmod { path, .. } => {
                if let Some(s) = files.stat(path)? {
                    of_this.push(Edit::Chmod { path: path.clone(), mode: s.mode });
                }
            }
            Edit::Chown { path, .. } => {
                if let Some(s) = files.stat(path)? {
                    of_this.push(Edit::Chown { path: path.clone(), uid: s.uid, gid: s.gid });
                    // chown takes set-user-id bits away.
                    of_this.push(Edit::Chmod { path: path.clone(), mode: s.mode });
                }
            }
            Edit::Rename { path, to } => {
                if files.stat(path)?.is_some() {
                    of_this.push(Edit::Rename { path: to.clone(), to: path.clone() });
                }
                // Taking back a later change there, that never was, ends what was not yet renamed, or makes what would
                // have been.
                let again = |path: &str| edits[i + 1..].iter().any(|e| e.path() == path || copies_to(e, path));
                if again(path) {
                    keep(path, files, &mut of_this, &mut room)?;
                }
                if again(to) && files.stat(to)?.is_none() {
                    of_this.push(Edit::Remove { path: to.clone(), recursive: true });
                }
                keep(to, files, &mut of_this, &mut room)?;
            }
            Edit::Write { path, .. }
            | Edit::Mkdir { path, .. }
            | Edit::Symlink { path, .. }
            | Edit::Copy { to: path, .. } => {
                if files.stat(path)?.is_none() {
                    of_this.push(Edit::Remove { path: path.clone(), recursive: true });
                }
                keep(path, files, &mut of_this, &mut room)?;
            }
            Edit::Remove { path, .. } => keep(path, files, &mut of_this, &mut room)?,
        }
        // The latest change is taken back first; the parts of one change stand in the order in which they are made.
        back.splice(0..0, of_this);
        files.stage(edit.clone())?;
    }
    Ok(back)
}

fn copies_to(edit: &Edit, path: &str) -> bool {
    matches!(edit, Edit::Copy { to, .. } | Edit::Rename { to, .. } if to == path)
}

/// Logs beyond this many bytes are not worth keeping: they are not what a change of a guest is about.
const LARGEST_LOG: u64 = 1 << 20;

/// All that one operation may keep: the journal holds it, and so does memory.
const LARGEST_KEPT: u64 = 64 << 20;

/// Adds the edits that make `path`, of which no symlink is followed, what it is now.
fn keep(path: &str, files: &mut dyn Files, back: &mut Vec<Edit>, room: &mut u64) -> Result<()> {
    let Some(stat) = files.stat(path)? else { return Ok(()) };
    let (path, owner) = (path.to_string(), (stat.uid, stat.gid));
    match stat.kind.as_str() {
        "directory" => {
            back.push(Edit::Mkdir { path: path.clone(), mode: stat.mode });
            back.push(Edit::Chown { path: path.clone(), uid: stat.uid, gid: stat.gid });
            for name in files.ls(&path)? {
                keep(&format!("{path}/{name}"), files, back, room)?;
            }
        }
        "symlink" => back.push(Edit::Symlink { path, target: stat.target.unwrap_or_default() }),
        "file" if path.starts_with("/var/log/") && stat.size > LARGEST_LOG => {}
        "file" => {
            *room = room.checked_sub(stat.size).ok_or_else(|| {
                Error::unsupported("taking this back would mean to keep more than 64 MiB of it")
                    .subject(&path)
                    .code(libc::EFBIG)
                    .hint("do it in a copy of the image that this run makes, or in parts")
            })?;
            let content = files.read(&path)?.unwrap_or_default();
            back.push(Edit::Write { path, content, mode: Some(stat.mode), owner: Some(owner) });
        }
        _ => {}
    }
    Ok(())
}

/// Does the edits of [`opposite`], of which some may be done already, and some may be of changes that never were:
/// after a crash nobody knows how far an operation came. Gives the paths whose directory is not there any more.
pub fn put_back(w: &(impl Write + ?Sized), g: GuestId, edits: &[Edit]) -> Result<Vec<String>> {
    let mut lost: Vec<String> = Vec::new();
    for edit in edits {
        if let Edit::Remove { path, .. } | Edit::Rename { path, .. } = edit {
            // What was to be put back there came with the change that ends here, or with one that never was.
            lost.retain(|l| !l.strip_prefix(path.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/')));
        }
        if stands_in_the_way(edit, w.stat(g, edit.path())?) {
            w.edit(g, &[Edit::Remove { path: edit.path().into(), recursive: true }])?;
        }
        if is_done(w, g, edit)? {
            continue;
        }
        match w.edit(g, std::slice::from_ref(edit)) {
            Err(e) if e.kind == Kind::NotFound => lost.push(edit.path().to_string()),
            r => r?,
        }
    }
    Ok(lost)
}

/// [`put_back`] by the guest that is open for writing on `image`, or by one of its own, which stays open for the next
/// such list: who takes back a whole run starts one appliance and not one per operation. `wait` ends when nobody has
/// the image open, or says who has.
pub fn put_back_on(
    w: &(impl Write + ?Sized),
    image: &ImageSpec,
    edits: &[Edit],
    wait: &dyn Fn() -> Result<()>,
) -> Result<Vec<String>> {
    let on = |g| {
        let done = put_back(w, g, edits).and_then(|lost| w.sync(g).map(|()| lost));
        done.inspect_err(|_| {
            let _ = w.close(g);
        })
    };
    match w.open_on(image).map(on) {
        Some(Ok(lost)) => return Ok(lost),
        // Its appliance may have died of what is to be taken back.
        Some(Err(_)) | None => wait()?,
    }
    on(w.open_rw(image, &Progress::none())?)
}

/// Whether something of another sort has come to where the edit puts back what was.
fn stands_in_the_way(edit: &Edit, now: Option<Stat>) -> bool {
    let Some(now) = now else { return false };
    match edit {
        Edit::Write { .. } => now.kind != "file",
        Edit::Mkdir { .. } => now.kind != "directory",
        Edit::Symlink { target, .. } => now.target.as_deref() != Some(target),
        _ => false,
    }
}

fn is_done(w: &(impl Write + ?Sized), g: GuestId, edit: &Edit) -> Result<bool> {
    Ok(match edit {
        // Where both are there, or the first is not, the rename never was, or was taken back.
        Edit::Rename { path, to } => w.stat(g, path)?.is_none() || w.stat(g, to)?.is_some(),
        Edit::Symlink { path, .. } => w.stat(g, path)?.is_some(),
        Edit::Remove { path, .. } => w.stat(g, path)?.is_none(),
        // What refused the change would refuse this, too.
        Edit::Write { path, content, mode, owner } => {
            w.stat(g, path)?.is_some_and(|s| is_dressed(&s, *mode, *owner) && s.size == content.len() as u64)
                && w.read(g, path)? == *content
        }
        Edit::Chmod { path, mode } => w.stat(g, path)?.is_some_and(|s| is_dressed(&s, Some(*mode), None)),
        Edit::Chown { path, uid, gid } => w.stat(g, path)?.is_some_and(|s| is_dressed(&s, None, Some((*uid, *gid)))),
        _ => false,
    })
}

/// Whether this is no symlink, and has the mode and owner.
fn is_dressed(s: &Stat, mode: Option<u32>, owner: Option<(u32, u32)>) -> bool {
    s.kind != "symlink" && mode.is_none_or(|m| m & 0o7777 == s.mode) && owner.is_none_or(|o| o == (s.uid, s.gid))
}

/// Beyond this a file is no text that a person would read a difference of.
const LARGEST_SHOWN: u64 = 1 << 20;

/// The edits as a unified diff. What others than the owner could not read in the guest, before or after, is not shown
/// here either. Afterwards `edits`, whose paths are resolved, are staged on `files`.
pub fn diff(edits: &[Edit], files: &mut dyn Files) -> Result<String> {
    let mut text = String::new();
    for edit in edits {
        match edit {
            Edit::Write { path, content, mode, .. } => {
                let stat = files.stat(path)?;
                let old_mode = stat.as_ref().map_or(0o644, |s| s.mode);
                let is_small = stat.as_ref().map_or(0, |s| s.size).max(content.len() as u64) <= LARGEST_SHOWN;
                let is_open = old_mode & mode.unwrap_or(old_mode) & 0o004 != 0;
                let old = match is_small && is_open && stat.is_some() {
                    true => files.read(path)?.unwrap_or_default(),
                    false => Vec::new(),
                };
                match (std::str::from_utf8(&old), std::str::from_utf8(content)) {
                    (Ok(old), Ok(new)) if is_small && is_open && !new.contains('\0') && !old.contains('\0') => {
                        let from = if stat.is_some() { format!("a{path}") } else { "/dev/null".into() };
                        let d = similar::TextDiff::from_lines(old, new);
                        text += &d.unified_diff().context_radius(1).header(&from, &format!("b{path}")).to_string();
                    }
                    _ => text += &format!("write {path} ({} bytes, not shown)\n", content.len()),
                }
            }
            Edit::Mkdir { path, mode } => text += &format!("mkdir {path} {mode:04o}\n"),
            Edit::Symlink { path, target } => text += &format!("ln -s {target} {path}\n"),
            Edit::Remove { path, recursive } => {
                text += &format!("rm {}{path}\n", if *recursive { "-r " } else { "" });
            }
            Edit::Rename { path, to } => text += &format!("mv {path} {to}\n"),
            Edit::Copy { path, to } => text += &format!("cp -a {path} {to}\n"),
            Edit::Chmod { path, mode } => text += &format!("chmod {mode:04o} {path}\n"),
            Edit::Chown { path, uid, gid } => text += &format!("chown {uid}:{gid} {path}\n"),
        }
        files.stage(edit.clone())?;
    }
    Ok(text)
}
