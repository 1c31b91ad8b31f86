//! What a run may change: `NAMESPACE[.FUNCTION][=SUBJECT-GLOB]`.

mod files;
pub mod names;

use crate::error::{Error, Result};
use globset::{GlobBuilder, GlobMatcher};

#[derive(Clone, Debug)]
struct Right {
    /// As it was given.
    text: String,
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
        Ok(Right { text: text.into(), name: names::canonical(name)?, subject })
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
    // Rolling back to one, or removing all of them, is no part of a clone.
    const BY_CLONES: [&str; 5] =
        ["rbd.snap_create", "rbd.snap_rm", "rbd.snap_rename", "rbd.snap_protect", "rbd.snap_unprotect"];
    let older = snap.strip_prefix("zs-").is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    BY_CLONES.contains(&op) && (snap == "zs" || older)
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
            return Err(denied("this run is --read-only".into()).hint("without --read-only it may"));
        }
        if let Some(name) = self.protecting(op, subject).filter(|_| !is_shared_snapshot(op, subject)) {
            return Err(denied(format!("`{name}` is protected in zs.toml"))
                .hint("protected names are changed by hand, or after a change of [rights] protected"));
        }
        self.check_lists(op, subject)
    }

    /// The two lists alone: for reads of host files, processes and the network.
    pub fn check_lists(&self, op: &str, subject: &str) -> Result<()> {
        self.check_deny(op, subject)?;
        if self.allow.is_empty() {
            return Ok(());
        }
        // A file has the name it was called by, and the one that links lead to.
        let names = if op.starts_with("fs.") { files::names(subject) } else { vec![subject.to_string()] };
        match names.iter().find(|name| !self.allow.iter().any(|r| r.covers(op, name))) {
            Some(name) => Err(Error::denied("no --allow covers it").op(op).subject(subject).hint(wanted(op, name))),
            None => Ok(()),
        }
    }

    /// What is denied by name; all else may be.
    pub fn check_deny(&self, op: &str, subject: &str) -> Result<()> {
        if self.deny.is_empty() {
            return Ok(());
        }
        let mut names = vec![subject.to_string()];
        if op.starts_with("fs.") {
            names.extend(files::names(subject));
        }
        match self.deny.iter().find(|r| names.iter().any(|name| r.covers(op, name))) {
            Some(r) => Err(Error::denied(format!("refused by --deny {}", r.text))
                .op(op)
                .subject(subject)
                .hint("it may once that --deny is gone")),
            None => Ok(()),
        }
    }

    /// The `--deny` that refuses all of a function, whatever its subject: questions too.
    pub fn denied_whole(&self, op: &str) -> Option<&str> {
        self.deny.iter().find(|r| r.subject.is_none() && r.covers(op, "")).map(|r| r.text.as_str())
    }

    pub fn denies_whole(&self) -> bool {
        self.deny.iter().any(|r| r.subject.is_none())
    }

    /// Names are matched whole, and as the image part of `pool/image`, `pool/image@snap` and `pool/image:/path`; of an
    /// NVRAM file, by its domain. Files of this host, and processes, are none of these.
    fn protecting(&self, op: &str, subject: &str) -> Option<&str> {
        let object = subject.split([':', '@']).next().unwrap_or(subject);
        let last = object.rsplit('/').next().unwrap_or(object);
        let last = last.strip_suffix("_VARS.fd").unwrap_or(last);
        let is_own = ["fs.", "sh.", "net."].iter().any(|n| op.starts_with(n));
        let is = |g: &GlobMatcher| g.is_match(object) || !is_own && g.is_match(last);
        self.protected.iter().find(|(_, g)| is(g)).map(|(n, _)| n.as_str())
    }
}

/// The right to give, as it is typed.
fn wanted(op: &str, subject: &str) -> String {
    let right = format!("{op}={}", globset::escape(subject));
    let plain = right.chars().all(|c| c.is_alphanumeric() || "-_./@:=,+%".contains(c));
    if plain { format!("--allow {right}") } else { format!("--allow '{}'", right.replace('\'', "'\\''")) }
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
        assert!(r.check("rbd.snap_rollback", "p/z-ubuntu20-rbd@zs").is_err(), "no clone does that");
        assert!(r.check("virsh.nvram_remove", "/nvram/z-ubuntu20-rbd_VARS.fd").is_err());
        assert!(r.check("fs.mkdir_p", "/backups/z-ubuntu20-rbd").is_ok(), "a directory is no VM");
    }

    #[test]
    fn what_is_no_right_is_a_mistake_of_the_command_line() {
        for (bad, near) in
            [("rdb.clone", "rbd.clone"), ("rbd.remvoe", "rbd.remove"), ("virsh.undefin=x", "virsh.undefine")]
        {
            let e = Rights::new(false, &[], &[bad.into()], &[]).expect_err(bad);
            assert_eq!(e.exit_code(), 2);
            assert!(e.hint.as_deref().is_some_and(|h| h.contains(near)), "{e} {:?}", e.hint);
        }
        for bad in ["", "=x", ".", "rbd.", "rbd.clone=[", "rbd.clone={a"] {
            assert_eq!(Rights::new(false, &[bad.into()], &[], &[]).expect_err(bad).exit_code(), 2, "{bad:?}");
        }
        for good in
            ["rbd", "ceph.pool", "ceph.pool.create", "net", "net.connect", "sh.run=ls *", "guestfs.write=p/i:/etc/*"]
        {
            assert!(Rights::new(false, &[good.into()], &[], &[]).is_ok(), "{good}");
        }
    }

    #[test]
    fn other_names_of_a_function_are_the_function() {
        let r = rights(&[], &["rbd.rm"], &[]);
        assert!(r.check("rbd.remove", "p/a").is_err());
        assert_eq!(r.denied_whole("rbd.remove"), Some("rbd.rm"));
        let all = rights(&["rbd.cp=p/*"], &[], &[]);
        assert!(all.check("rbd.copy", "p/a").is_ok());
    }

    #[test]
    fn the_right_to_give_is_named() {
        let hint = |op: &str, subject: &str| {
            rights(&["ceph"], &[], &[]).check(op, subject).expect_err("refused").hint.expect("a hint")
        };
        assert_eq!(hint("rbd.clone", "libvirt-pool/x"), "--allow rbd.clone=libvirt-pool/x");
        assert_eq!(hint("sh.run", "echo a*"), "--allow 'sh.run=echo a[*]'");
    }

    #[test]
    fn files_are_where_links_lead() {
        let dir = tempfile::tempdir().expect("a directory");
        let base = dir.path().canonicalize().expect("a path");
        let at = |name: &str| base.join(name).display().to_string();
        for d in ["open", "shut"] {
            std::fs::create_dir(base.join(d)).expect("a directory");
            std::fs::write(base.join(d).join("f"), "x").expect("a file");
        }
        std::os::unix::fs::symlink(at("shut/f"), at("open/link")).expect("a link");
        std::os::unix::fs::symlink(at("shut"), at("open/dir")).expect("a link");
        let open = at("open/*");
        let r = rights(&[&format!("fs={open}")], &[], &[]);
        let may = |name: &str| r.check_lists("fs.read", &at(name)).is_ok();
        assert!(may("open/f") && may("open/new") && may("open/no/such/dir") && may("shut/../open/f"));
        for bad in ["shut/f", "open/../shut/f", "open/link", "open/dir/f", "open/dir/new", "open/./../shut/new"] {
            assert!(!may(bad), "{bad}");
        }
        let e = r.check_lists("fs.read", &at("open/link")).expect_err("leads out");
        assert!(e.hint.expect("a hint").contains("shut/f"));
        let deny = rights(&[], &[&format!("fs.read={}", at("shut/*"))], &[]);
        for bad in ["shut/f", "open/link", "open/dir/f", "open/../shut/f"] {
            assert!(deny.check_lists("fs.read", &at(bad)).is_err(), "{bad}");
        }
        assert!(deny.check_lists("fs.read", &at("open/f")).is_ok());
    }
}
