//! Letting a user in by key.

use super::super::api::Edit;
use super::text::eol;
use super::{Files, read_text, selinux, write_bytes};
use crate::error::{Error, Result};

/// uid, gid and home of a user.
fn account(passwd: &str, user: &str) -> Option<(u32, u32, String)> {
    let fields = passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|x| x.len() >= 6 && x[0] == user)?;
    let home = fields[5].trim_end_matches('/');
    Some((fields[2].parse().ok()?, fields[3].parse().ok()?, home.into()))
}

/// How the kinds of keys begin, in sshd(8).
const KINDS: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

/// Kind and data of a key, past options in front of it.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let kind = |w: &str| KINDS.iter().any(|p| w.starts_with(p));
    words.windows(2).find(|w| kind(w[0]) && w[1].starts_with("AAAA")).map(|w| (w[0], w[1]))
}

/// Whether a text is meant as a key, even if it is none that works, and not as the path of a file.
pub fn is_ssh_key(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let kind = words.next().is_some_and(|w| KINDS.iter().any(|p| w.starts_with(p)) && !w.contains('/'));
    key_of(text).is_some() || (kind && words.next().is_some())
}

/// Lets a user in by key: a line of `~/.ssh/authorized_keys`, unless the key is there already. Directory and file get
/// the modes that sshd insists on (0700, 0600), and the user as their owner.
///
/// # Errors
/// `invalid`: no public key, or more than one. `not_found`: no such user in /etc/passwd, or no home.
///
/// # Example
/// `ssh_inject(f, "root", "ssh-ed25519 AAAA… me@here")`.
pub fn ssh_inject(f: &mut dyn Files, user: &str, key: &str) -> Result<()> {
    inject(f, user, key).map_err(|e| e.op("guestfs.ssh_inject"))
}

fn inject(f: &mut dyn Files, user: &str, key: &str) -> Result<()> {
    let key = key.trim();
    if key.contains('\n') || key_of(key).is_none() {
        return Err(Error::invalid("this is no public ssh key").hint("one line, as in ~/.ssh/id_ed25519.pub"));
    }
    let passwd = read_text(f, "/etc/passwd")?.map(|t| t.s).unwrap_or_default();
    let Some((uid, gid, home)) = account(&passwd, user) else {
        return Err(Error::not_found(format!("the guest has no user `{user}`")).subject("/etc/passwd"));
    };
    if !home.starts_with('/') || f.stat(&home)?.is_none() {
        return Err(Error::not_found(format!("the home of `{user}` does not exist")).subject(home));
    }
    let dir = format!("{home}/.ssh");
    match f.stat(&dir)? {
        None => {
            f.stage(Edit::Mkdir { path: dir.clone(), mode: 0o700 })?;
            f.stage(Edit::Chown { path: dir.clone(), uid, gid })?;
            selinux::relabel(f)?;
        }
        Some(s) if s.kind == "directory" => {
            if s.mode != 0o700 {
                f.stage(Edit::Chmod { path: dir.clone(), mode: 0o700 })?;
            }
            if (s.uid, s.gid) != (uid, gid) {
                f.stage(Edit::Chown { path: dir.clone(), uid, gid })?;
            }
        }
        Some(_) => {}
    }
    let path = format!("{dir}/authorized_keys");
    let old = read_text(f, &path)?;
    let text = match &old {
        None => format!("{key}\n").into_bytes(),
        Some(t) if t.s.lines().any(|l| !l.trim_start().starts_with('#') && key_of(l) == key_of(key)) => t.encode(),
        Some(t) => {
            let end = eol(&t.s);
            let gap = if t.s.is_empty() || t.s.ends_with('\n') { "" } else { end };
            t.with(format!("{}{gap}{key}{end}", t.s)).encode()
        }
    };
    write_bytes(f, &path, text, Some(0o600), Some((uid, gid)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGv me@here";
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nu:x:1000:1001::/home/u/:/bin/sh\nbad\n";

    #[test]
    fn injects() {
        let mut m = Mem::of(&[("/etc/passwd", PASSWD), ("/root/x", ""), ("/home/u/x", "")]);
        ssh_inject(&mut m, "u", KEY).expect("inject");
        assert_eq!(m.text("/home/u/.ssh/authorized_keys"), format!("{KEY}\n"));
        assert_eq!(m.mode("/home/u/.ssh/authorized_keys"), 0o600);
        let dir = m.stat("/home/u/.ssh").expect("stat").expect("there");
        assert_eq!((dir.mode, dir.uid, dir.gid), (0o700, 1000, 1001));
        m.edits.clear();
        ssh_inject(&mut m, "u", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGv other-comment").expect("again");
        assert!(m.edits.is_empty());
    }

    #[test]
    fn keys_and_paths() {
        for key in
            [KEY, "no-pty,from=\"10.0.0.0/8\" ssh-rsa AAAAB3 a", "ssh-rsa broken", "sk-ssh-ed25519@openssh.com AAAA"]
        {
            assert!(is_ssh_key(key), "{key}");
        }
        for path in ["/home/me/my keys/id.pub", "id.pub", "ssh-keys/id.pub", "ssh-keys/of me", "./ecdsa-key.pub", ""] {
            assert!(!is_ssh_key(path), "{path}");
        }
    }

    #[test]
    fn appends() {
        let mut m = Mem::of(&[("/etc/passwd", PASSWD), ("/root/.ssh/authorized_keys", "# mine\nssh-rsa AAAAB3 a")]);
        ssh_inject(&mut m, "root", KEY).expect("inject");
        assert_eq!(m.text("/root/.ssh/authorized_keys"), format!("# mine\nssh-rsa AAAAB3 a\n{KEY}\n"));
        assert_eq!(m.mode("/root/.ssh"), 0o700);
    }

    #[test]
    fn refuses() {
        let mut m = Mem::of(&[("/etc/passwd", PASSWD)]);
        for (user, key) in [("nobody", KEY), ("u", KEY), ("root", "hello"), ("root", "ssh-rsa AAAA x\nssh-rsa AAAA y")]
        {
            assert!(ssh_inject(&mut m, user, key).is_err(), "{user} {key}");
        }
    }
}
