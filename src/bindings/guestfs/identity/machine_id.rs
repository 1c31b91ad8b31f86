//! The machine id, and what is named by it.

use super::super::api::Edit;
use super::{Files, OnThisDisk, files_in, read_text, remove, write, write_bytes};
use crate::error::{Error, Result};

fn is_id(s: &str) -> bool {
    s.len() == 32 && s.bytes().all(|b| b.is_ascii_hexdigit()) && s.bytes().any(|b| b != b'0')
}

/// Gives the guest another machine id: /etc/machine-id, D-Bus's file where it is no link to that, and what is named by
/// the old id (boot loader entries and GRUB's default among them). The old id's journal goes: under the new one nobody
/// could read it.
///
/// A concrete id, not an empty file: with that, systemd takes the boot for the first and applies its presets.
///
/// # Errors
/// `invalid`: not 32 hexadecimal digits (a uuid's dashes are taken out), or all zeros.
///
/// # Example
/// `reset_machine_id(f, "0b2f6c3e-4f1d-4a86-9d50-3f0f3a9a7c11")` writes `0b2f6c3e4f1d4a869d503f0f3a9a7c11`.
pub fn reset_machine_id(f: &mut dyn Files, id: &str) -> Result<()> {
    let new = id.replace('-', "").to_ascii_lowercase();
    if !is_id(&new) {
        return Err(Error::invalid(format!("`{id}` is no machine id"))
            .op("guestfs.reset_machine_id")
            .hint("32 hexadecimal digits, as in a uuid"));
    }
    let mut old_ids = Vec::new();
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        let stat = f.stat(path)?;
        let kind = stat.map(|s| s.kind).unwrap_or_default();
        let old = match kind.as_str() {
            "" => None,
            _ => read_text(f, path)?.map(|t| t.s.trim().to_ascii_lowercase()),
        };
        if let Some(old) = old.filter(|o| is_id(o) && *o != new && !old_ids.contains(o)) {
            old_ids.push(old);
        }
        let content = format!("{new}\n").into_bytes();
        match (path, kind.as_str()) {
            // A link that leads nowhere leads to what the guest makes at its start.
            ("/etc/machine-id", "symlink") if f.read(path)?.is_none() => {
                write_bytes(f, path, content, Some(0o444), Some((0, 0)))?;
            }
            ("/etc/machine-id", "") => write_bytes(f, path, content, Some(0o444), Some((0, 0)))?,
            ("/etc/machine-id", _) | (_, "file") => write_bytes(f, path, content, None, None)?,
            _ => {}
        }
    }
    for old in &old_ids {
        forget_journal(f, old)?;
        rename_entries(f, old, &new)?;
    }
    Ok(())
}

fn forget_journal(f: &mut dyn Files, old: &str) -> Result<()> {
    // Where that is another disk's, the clone does not have the old journal either.
    for name in OnThisDisk::new(f).ls("/var/log/journal")? {
        // Namespaces of the journal are `ID.NAME`.
        if name.strip_prefix(old).is_some_and(|r| r.is_empty() || r.starts_with('.')) {
            remove(f, &format!("/var/log/journal/{name}"))?;
        }
    }
    Ok(())
}

/// Boot loader entries are found by the machine id: kernel updates stop taking effect when it changes under them.
fn rename_entries(f: &mut dyn Files, old: &str, new: &str) -> Result<()> {
    for dir in ["/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries"] {
        for path in files_in(f, dir, |n| n.starts_with(&format!("{old}-")) && n.ends_with(".conf"))? {
            if let Some(t) = read_text(f, &path)? {
                let mut out = String::new();
                for line in t.s.split_inclusive('\n') {
                    let mine = line.split_whitespace().next() == Some("machine-id");
                    out.push_str(&if mine { line.replace(old, new) } else { line.into() });
                }
                if out != t.s {
                    write(f, &path, &t.with(out))?;
                }
            }
            let to = path.replacen(&format!("/{old}-"), &format!("/{new}-"), 1);
            f.stage(Edit::Rename { path, to })?;
        }
    }
    let mut holders = vec!["/boot/grub2/grubenv".to_string()];
    for vendor in f.ls("/boot/efi/EFI")? {
        holders.push(format!("/boot/efi/EFI/{vendor}/grubenv"));
    }
    for path in holders {
        // The default entry by its name; the block must keep its 1024 bytes, and ids are of one length.
        if let Some(t) = read_text(f, &path)?.filter(|t| t.s.contains(old)) {
            write(f, &path, &t.with(t.s.replace(old, new)))?;
        }
    }
    if let Some(t) = read_text(f, "/etc/kernel/entry-token")?.filter(|t| t.s.trim() == old) {
        write(f, "/etc/kernel/entry-token", &t.with(t.s.replace(old, new)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    const OLD: &str = "0123456789abcdef0123456789abcdef";
    const NEW: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn debian() {
        let mut m = Mem::of(&[
            ("/etc/machine-id", &format!("{OLD}\n")),
            (&format!("/var/log/journal/{OLD}/system.journal"), "x"),
        ]);
        m.chmod("/etc/machine-id", 0o444);
        m.link("/var/lib/dbus/machine-id", "/etc/machine-id");
        reset_machine_id(&mut m, "FEDCBA98-7654-3210-fedc-ba9876543210").expect("reset");
        assert_eq!(m.text("/etc/machine-id"), format!("{NEW}\n"));
        assert_eq!(m.mode("/etc/machine-id"), 0o444);
        assert_eq!(m.stat("/var/lib/dbus/machine-id").expect("stat").expect("there").kind, "symlink");
        assert!(m.ls("/var/log/journal").expect("ls").is_empty());
        m.edits.clear();
        reset_machine_id(&mut m, NEW).expect("again");
        assert!(m.edits.is_empty());
    }

    #[test]
    fn enterprise_linux() {
        let entry = format!("/boot/loader/entries/{OLD}-5.14.0.conf");
        let mut m = Mem::of(&[
            ("/etc/machine-id", &format!("{OLD}\n")),
            ("/var/lib/dbus/machine-id", &format!("{OLD}\n")),
            (&entry, &format!("title x\nmachine-id {OLD}\nlinux /vmlinuz-0-rescue-{OLD}\n")),
            ("/boot/loader/entries/other.conf", "title y\n"),
            ("/boot/grub2/grubenv", &format!("# GRUB\nsaved_entry={OLD}-5.14.0\n####")),
            ("/etc/kernel/entry-token", &format!("{OLD}\n")),
        ]);
        reset_machine_id(&mut m, NEW).expect("reset");
        assert_eq!(m.text("/var/lib/dbus/machine-id"), format!("{NEW}\n"));
        let want = format!("title x\nmachine-id {NEW}\nlinux /vmlinuz-0-rescue-{OLD}\n");
        assert_eq!(m.text(&format!("/boot/loader/entries/{NEW}-5.14.0.conf")), want);
        assert!(m.read(&entry).expect("read").is_none());
        assert_eq!(m.text("/boot/grub2/grubenv"), format!("# GRUB\nsaved_entry={NEW}-5.14.0\n####"));
        assert_eq!(m.text("/etc/kernel/entry-token"), format!("{NEW}\n"));
    }

    #[test]
    fn a_link_to_memory_becomes_a_file() {
        let mut m = Mem::of(&[("/etc/fstab", "")]);
        m.link("/etc/machine-id", "/run/machine-id");
        reset_machine_id(&mut m, NEW).expect("reset");
        let stat = m.stat("/etc/machine-id").expect("stat").expect("there");
        assert_eq!((stat.kind.as_str(), stat.mode, m.text("/etc/machine-id")), ("file", 0o444, format!("{NEW}\n")));
    }

    #[test]
    fn empty_and_missing() {
        for text in ["", "uninitialized\n"] {
            let mut m = Mem::of(&[("/etc/machine-id", text)]);
            reset_machine_id(&mut m, NEW).expect("reset");
            assert_eq!(m.text("/etc/machine-id"), format!("{NEW}\n"));
        }
        let mut m = Mem::of(&[("/etc/fstab", "")]);
        reset_machine_id(&mut m, NEW).expect("reset");
        assert_eq!(m.mode("/etc/machine-id"), 0o444);
        assert!(m.stat("/var/lib/dbus/machine-id").expect("stat").is_none());
        for bad in ["", "x", &"0".repeat(32), &"g".repeat(32)] {
            assert!(reset_machine_id(&mut m, bad).is_err());
        }
    }
}
