//! What edits change: the edits that take them back, and the difference for people.

use super::api::Edit;
use super::identity::Files;
use crate::error::Result;

/// Edits that put back what `edits` would change, in the order to do them. `files` is the guest before.
pub fn opposite(edits: &[Edit], files: &mut dyn Files) -> Result<Vec<Edit>> {
    let mut back = Vec::new();
    for edit in edits {
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
                }
            }
            Edit::Rename { path, to } => {
                of_this.push(Edit::Rename { path: to.clone(), to: path.clone() });
                keep(to, files, &mut of_this)?;
            }
            Edit::Copy { to, .. } => {
                of_this.push(Edit::Remove { path: to.clone(), recursive: true });
                keep(to, files, &mut of_this)?;
            }
            Edit::Write { path, .. } | Edit::Mkdir { path, .. } | Edit::Symlink { path, .. } => {
                if files.stat(path)?.is_none() {
                    of_this.push(Edit::Remove { path: path.clone(), recursive: true });
                }
                keep(path, files, &mut of_this)?;
            }
            Edit::Remove { path, .. } => keep(path, files, &mut of_this)?,
        }
        // The latest change is taken back first; the parts of one change stand in the order in which they are made.
        back.splice(0..0, of_this);
    }
    Ok(back)
}

/// Logs beyond this many bytes are not worth keeping: they are not what a change of a guest is about.
const LARGEST_LOG: u64 = 1 << 20;

/// Adds the edits that make `path` what it is now.
fn keep(path: &str, files: &mut dyn Files, back: &mut Vec<Edit>) -> Result<()> {
    let Some(stat) = files.stat(path)? else { return Ok(()) };
    let (path, owner) = (path.to_string(), (stat.uid, stat.gid));
    match stat.kind.as_str() {
        "directory" => {
            back.push(Edit::Mkdir { path: path.clone(), mode: stat.mode });
            back.push(Edit::Chown { path: path.clone(), uid: stat.uid, gid: stat.gid });
            for name in files.ls(&path)? {
                keep(&format!("{path}/{name}"), files, back)?;
            }
        }
        "symlink" => {
            // Written through, the file behind it changes.
            if let Some(content) = files.read(&path).ok().flatten() {
                back.push(Edit::Write { path: path.clone(), content, mode: None, owner: None });
            }
            back.push(Edit::Symlink { path, target: stat.target.unwrap_or_default() });
        }
        "file" if path.starts_with("/var/log/") && stat.size > LARGEST_LOG => {}
        "file" => {
            let content = files.read(&path)?.unwrap_or_default();
            back.push(Edit::Write { path, content, mode: Some(stat.mode), owner: Some(owner) });
        }
        _ => {}
    }
    Ok(())
}

/// The edits as a unified diff. What others than the owner cannot read in the guest is not shown here either.
pub fn diff(edits: &[Edit], files: &mut dyn Files) -> Result<String> {
    let mut text = String::new();
    for edit in edits {
        match edit {
            Edit::Write { path, content, mode, .. } => {
                let stat = files.stat(path)?;
                let mode = mode.or(stat.as_ref().map(|s| s.mode)).unwrap_or(0o644);
                let old = if stat.is_some() { files.read(path)?.unwrap_or_default() } else { Vec::new() };
                match (std::str::from_utf8(&old), std::str::from_utf8(content)) {
                    (Ok(old), Ok(new)) if mode & 0o004 != 0 && !new.contains('\0') => {
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
    }
    Ok(text)
}
