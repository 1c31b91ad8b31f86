//! The time zone of a guest.

use super::super::api::Edit;
use super::{Files, read_text, remove, write, write_bytes};
use crate::error::{Error, Result};

const ZONES: &str = "/usr/share/zoneinfo";

/// Sets `/etc/localtime`, and Debian's and Red Hat's own files of it where they are.
///
/// # Errors
/// `invalid` for what is no name of a zone; `not_found` for a zone that the guest does not know.
///
/// # Example
/// `set_timezone(f, "Asia/Shanghai")`.
pub fn set_timezone(f: &mut dyn Files, zone: &str) -> Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if zone.is_empty() || !zone.chars().all(is_name) || zone.starts_with('/') || zone.ends_with('/') {
        return Err(Error::invalid("is not the name of a time zone")
            .subject(zone)
            .hint("as \"Asia/Shanghai\", \"UTC\""));
    }
    let file = format!("{ZONES}/{zone}");
    if f.read(&file).ok().flatten().is_none() {
        let hint = match f.stat(ZONES)? {
            None => "it has no package tzdata".into(),
            Some(_) => format!("`ls {ZONES}` in the guest shows those it knows"),
        };
        return Err(Error::not_found("the guest does not know this time zone").subject(zone).hint(hint));
    }
    let target = format!("..{file}");
    if f.stat("/etc/localtime")?.is_none_or(|s| s.target.as_deref() != Some(&target)) {
        remove(f, "/etc/localtime")?;
        f.stage(Edit::Symlink { path: "/etc/localtime".into(), target })?;
    }
    if f.stat("/etc/timezone")?.is_some() {
        write_bytes(f, "/etc/timezone", format!("{zone}\n").into_bytes(), None, None)?;
    }
    // Enterprise Linux 6 and before, and SUSE.
    if let Some(t) = read_text(f, "/etc/sysconfig/clock")? {
        let key = |l: &str| ["ZONE=", "TIMEZONE="].into_iter().find(|k| l.starts_with(k));
        let line = |l: &str| key(l).map_or_else(|| l.to_string(), |k| format!("{k}\"{zone}\"\n"));
        write(f, "/etc/sysconfig/clock", &t.with(t.s.split_inclusive('\n').map(line).collect()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;
    use crate::error::Kind;

    #[test]
    fn on_each_system() {
        let mut m = Mem::of(&[
            ("/usr/share/zoneinfo/Asia/Shanghai", "TZif"),
            ("/etc/timezone", "Etc/UTC\n"),
            ("/etc/sysconfig/clock", "# zone\nZONE=\"UTC\"\nUTC=true\n"),
        ]);
        m.link("/etc/localtime", "/usr/share/zoneinfo/UTC");
        set_timezone(&mut m, "Asia/Shanghai").expect("set");
        let link = m.stat("/etc/localtime").expect("stat").expect("there");
        assert_eq!(link.target.as_deref(), Some("../usr/share/zoneinfo/Asia/Shanghai"));
        assert_eq!(m.text("/etc/localtime"), "TZif");
        assert_eq!(m.text("/etc/timezone"), "Asia/Shanghai\n");
        assert_eq!(m.text("/etc/sysconfig/clock"), "# zone\nZONE=\"Asia/Shanghai\"\nUTC=true\n");
        let done = m.edits.len();
        set_timezone(&mut m, "Asia/Shanghai").expect("again");
        assert_eq!(m.edits.len(), done, "nothing to change");
        for (zone, kind) in [
            ("Asia/Atlantis", Kind::NotFound),
            ("Asia", Kind::NotFound),
            ("../../../etc/passwd", Kind::Invalid),
            ("", Kind::Invalid),
        ] {
            assert_eq!(set_timezone(&mut m, zone).expect_err(zone).kind, kind, "{zone}");
        }
    }
}
