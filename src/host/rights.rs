//! What a run may change: `NAMESPACE[.FUNCTION][=SUBJECT-GLOB]`.

use crate::error::{Error, Result};
use globset::{GlobBuilder, GlobMatcher};

#[derive(Clone, Debug)]
struct Right {
    name: String,
    subject: Option<GlobMatcher>,
}

impl Right {
    fn parse(text: &str) -> Result<Right> {
        let (name, subject) = match text.split_once('=') {
            Some((n, s)) => (n, Some(glob(s)?)),
            None => (text, None),
        };
        let word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !name.split('.').all(word) {
            return Err(Error::invalid("is not a right")
                .subject(text)
                .hint("rights are NAMESPACE[.FUNCTION][=SUBJECT-GLOB], as `rbd.clone=libvirt-pool/z-k8s-*`")
                .usage());
        }
        Ok(Right { name: name.into(), subject })
    }

    fn covers(&self, op: &str, subject: &str) -> bool {
        let named = op == self.name || op.strip_prefix(&self.name).is_some_and(|rest| rest.starts_with('.'));
        named && self.subject.as_ref().is_none_or(|g| g.is_match(subject))
    }
}

/// The snapshot `zs` of a template, and its older generations `zs-ID`: all that a clone changes of it, and nothing that a
/// protected VM would notice.
fn is_shared_snapshot(op: &str, subject: &str) -> bool {
    let snap = subject.split_once('@').map_or("", |(_, snap)| snap);
    let older = snap.strip_prefix("zs-").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    op.starts_with("rbd.snap_") && (snap == "zs" || older)
}

fn glob(text: &str) -> Result<GlobMatcher> {
    GlobBuilder::new(text)
        .literal_separator(false)
        .build()
        .map(|g| g.compile_matcher())
        .map_err(|e| Error::invalid(e.to_string()).subject(text).usage())
}

#[derive(Clone, Debug, Default)]
pub struct Rights {
    pub read_only: bool,
    allow: Vec<Right>,
    deny: Vec<Right>,
    protected: Vec<(String, GlobMatcher)>,
}

impl Rights {
    pub fn new(read_only: bool, allow: &[String], deny: &[String], protected: &[String]) -> Result<Rights> {
        Ok(Rights {
            read_only,
            allow: allow.iter().map(|r| Right::parse(r)).collect::<Result<_>>()?,
            deny: deny.iter().map(|r| Right::parse(r)).collect::<Result<_>>()?,
            protected: protected.iter().map(|p| Ok((p.clone(), glob(p)?))).collect::<Result<_>>()?,
        })
    }

    /// May `op` change `subject`?
    pub fn check(&self, op: &str, subject: &str) -> Result<()> {
        let denied = |why: String| Error::denied(why).op(op).subject(subject);
        if self.read_only {
            return Err(denied("this run is --read-only".into()));
        }
        if let Some(name) = self.protecting(subject).filter(|_| !is_shared_snapshot(op, subject)) {
            return Err(denied(format!("`{name}` is protected in zs.toml"))
                .hint("protected names are changed by hand, or after a change of [rights] protected"));
        }
        self.check_lists(op, subject)
    }

    /// The two lists alone: for reads of host files, processes and the network.
    pub fn check_lists(&self, op: &str, subject: &str) -> Result<()> {
        let denied = |why: String| Error::denied(why).op(op).subject(subject);
        if let Some(r) = self.deny.iter().find(|r| r.covers(op, subject)) {
            return Err(denied(format!("refused by --deny {}", r.name)));
        }
        if !self.allow.is_empty() && !self.allow.iter().any(|r| r.covers(op, subject)) {
            return Err(denied("no --allow covers it".into()).hint(format!("--allow '{op}={subject}'")));
        }
        Ok(())
    }

    /// Names are matched whole, and as the image part of `pool/image`, `pool/image@snap` and `pool/image:/path`.
    fn protecting(&self, subject: &str) -> Option<&str> {
        let object = subject.split([':', '@']).next().unwrap_or(subject);
        let last = object.rsplit('/').next().unwrap_or(object);
        self.protected.iter().find(|(_, g)| g.is_match(object) || g.is_match(last)).map(|(n, _)| n.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(allow: &[&str], deny: &[&str], protected: &[&str]) -> Rights {
        let v = |l: &[&str]| l.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        Rights::new(false, &v(allow), &v(deny), &v(protected)).expect("rights that parse")
    }

    #[test]
    fn allow_is_a_closed_list() {
        let r = rights(&["rbd.clone=p/z-*", "virsh"], &[], &[]);
        assert!(r.check("rbd.clone", "p/z-1").is_ok());
        assert!(r.check("rbd.clone", "p/y").is_err());
        assert!(r.check("rbd.clone_all", "p/z-1").is_err());
        assert!(r.check("virsh.define", "anything").is_ok());
        assert!(r.check("virshx.define", "anything").is_err());
    }

    #[test]
    fn deny_and_protected_win() {
        let r = rights(&[], &["rbd.remove"], &["z-ubuntu20-rbd"]);
        assert!(r.check("rbd.remove", "p/a").is_err());
        assert!(r.check("rbd.snap_create", "p/z-ubuntu20-rbd@mine").is_err());
        assert!(r.check("rbd.snap_rm", "p/z-ubuntu20-rbd@zs-mine").is_err());
        assert!(r.check("rbd.snap_create", "p/z-ubuntu20-rbd@zs").is_ok(), "what clones share");
        assert!(r.check("rbd.snap_rename", "p/z-ubuntu20-rbd@zs-17").is_ok());
        assert!(r.check("guestfs.write", "p/z-ubuntu20-rbd:/etc/hostname").is_err());
        assert!(r.check("rbd.create", "p/z-ubuntu20-rbd-2").is_ok());
        assert!(Rights::new(false, &["a b".into()], &[], &[]).is_err());
    }
}
