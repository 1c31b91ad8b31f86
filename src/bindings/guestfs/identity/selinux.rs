//! What is new in a guest gets the label of its directory. Where the policy wants another one, the guest itself must
//! give it: the appliance has no policy.

use super::{Files, read_text, write_bytes};
use crate::error::Result;

const FLAG: &str = "/.autorelabel";

/// Has a guest that uses SELinux label its files anew when it starts, which takes it a second boot.
pub fn relabel(f: &mut dyn Files) -> Result<()> {
    let Some(config) = read_text(f, "/etc/selinux/config")? else { return Ok(()) };
    let mode = config.s.lines().filter_map(|l| l.trim().strip_prefix("SELINUX=")).next_back();
    if mode.is_none_or(|m| m.trim() == "disabled") || f.stat(FLAG)?.is_some() {
        return Ok(());
    }
    write_bytes(f, FLAG, Vec::new(), None, None)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    #[test]
    fn where_it_is_used() {
        for (config, wanted) in [
            ("# SELINUX= can be\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", true),
            ("SELINUX=permissive\n", true),
            ("SELINUX=disabled\n", false),
        ] {
            let mut m = Mem::of(&[("/etc/selinux/config", config)]);
            relabel(&mut m).expect("flag");
            assert_eq!(m.stat(FLAG).expect("stat").is_some(), wanted, "{config}");
        }
        let mut m = Mem::of(&[("/etc/hostname", "a\n")]);
        relabel(&mut m).expect("flag");
        assert!(m.edits.is_empty());
    }
}
