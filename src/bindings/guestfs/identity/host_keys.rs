//! The host keys of sshd: new ones of the same types, made here so that the first ssh can be verified.

use super::{Files, cloud, names, read_text, remove, rsa_keys, write_bytes};
use crate::error::{Error, Result};
use serde::Serialize;
use ssh_key::private::KeypairData;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey, PublicKey};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Ed25519,
    Rsa,
    Ecdsa(EcdsaCurve),
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Ed25519 => "ed25519",
            Type::Rsa => "rsa",
            Type::Ecdsa(_) => "ecdsa",
        }
    }

    fn make(self) -> Result<PrivateKey, ssh_key::Error> {
        match self {
            Type::Ed25519 => PrivateKey::random(&mut OsRng, Algorithm::Ed25519),
            Type::Ecdsa(curve) => PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve }),
            Type::Rsa => PrivateKey::new(KeypairData::Rsa(rsa_keys::new()?), ""),
        }
    }

    fn of(algorithm: &Algorithm) -> Option<Type> {
        match algorithm {
            Algorithm::Ed25519 => Some(Type::Ed25519),
            Algorithm::Rsa { .. } => Some(Type::Rsa),
            Algorithm::Ecdsa { curve } => Some(Type::Ecdsa(*curve)),
            _ => None,
        }
    }
}

/// The private keys there are: the usual ones, and those that sshd_config names.
fn present(f: &mut dyn Files) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for name in f.ls("/etc/ssh")? {
        if name.starts_with("ssh_host_") && name.ends_with("_key") {
            keys.insert(format!("/etc/ssh/{name}"));
        }
    }
    let mut configs = vec!["/etc/ssh/sshd_config".to_string()];
    configs.extend(super::files_in(f, "/etc/ssh/sshd_config.d", |n| n.ends_with(".conf"))?);
    for path in configs {
        let Some(t) = read_text(f, &path)? else { continue };
        for line in t.s.lines() {
            let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|w| !w.is_empty());
            let (Some(word), Some(key)) = (words.next(), words.next()) else { continue };
            let key = key.trim_matches('"');
            if word.eq_ignore_ascii_case("hostkey") && key.starts_with('/') && f.stat(key)?.is_some() {
                keys.insert(key.into());
            }
        }
    }
    Ok(keys)
}

/// A public host key of a guest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostKey {
    /// `ed25519`, `ecdsa`, `rsa`, or what the file's name says.
    #[serde(rename = "type")]
    pub kind: String,
    /// `ssh-ed25519 AAAA…`, as in known_hosts.
    pub key: String,
    /// As `ssh-keygen -l` shows it.
    pub fingerprint: String,
    pub file: String,
}

/// The public host keys of sshd, of all private ones that there are; without those that nobody can read.
///
/// # Errors
/// Those of reading the guest.
pub fn ssh_host_keys(f: &mut dyn Files) -> Result<Vec<HostKey>> {
    let mut keys = Vec::new();
    for path in present(f)? {
        let file = format!("{path}.pub");
        let Some(t) = read_text(f, &file)? else { continue };
        let Ok(public) = PublicKey::from_openssh(t.s.trim()) else { continue };
        let kind = Type::of(&public.algorithm()).map_or_else(|| public.algorithm().to_string(), |t| t.name().into());
        let key: Vec<&str> = t.s.split_whitespace().take(2).collect();
        keys.push(HostKey {
            kind,
            key: key.join(" "),
            fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
            file,
        });
    }
    Ok(keys)
}

/// What sort of key is in a file: its public half says, else it itself, else its name.
fn type_of(f: &mut dyn Files, path: &str) -> Result<Option<Type>> {
    if let Some(t) = read_text(f, &format!("{path}.pub"))?
        && let Ok(key) = PublicKey::from_openssh(t.s.trim())
    {
        return Ok(Type::of(&key.algorithm()));
    }
    if let Some(t) = read_text(f, path)?
        && let Ok(key) = PrivateKey::from_openssh(t.s.as_bytes())
    {
        return Ok(Type::of(&key.algorithm()));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    Ok([Type::Ed25519, Type::Rsa, Type::Ecdsa(EcdsaCurve::NistP256)].into_iter().find(|t| name.contains(t.name())))
}

/// Makes new host keys of sshd, of the types that the guest has (RSA of 3072 bits, ECDSA of the curve there was), with
/// the comment `root@HOSTNAME`. Certificates of the old keys and keys of types that OpenSSH has given up go. A guest
/// that has sshd and no keys gets ed25519, ecdsa and rsa; one without sshd gets none.
///
/// Returns `ed25519`, `ecdsa`, `rsa` to the fingerprint, as `ssh-keygen -l` shows it. Every call makes other keys.
///
/// # Errors
/// `invalid`: no host name. `failed`: a key cannot be made.
///
/// # Example
/// `new_ssh_host_keys(f, "z-k8s-m-3")` gives `{"ed25519": "SHA256:…"}`.
pub fn new_ssh_host_keys(f: &mut dyn Files, hostname: &str) -> Result<BTreeMap<String, String>> {
    names::check_name(hostname).map_err(|e| e.op("guestfs.new_ssh_host_keys"))?;
    let there = present(f)?;
    let mut todo = Vec::new();
    for path in &there {
        remove(f, &format!("{path}-cert.pub"))?;
        match type_of(f, path)? {
            Some(t) => todo.push((path.clone(), t)),
            // A DSA key, or one that nobody can renew: shared by all clones it would be a hole.
            None => {
                remove(f, path)?;
                remove(f, &format!("{path}.pub"))?;
            }
        }
    }
    let sshd = f.stat("/etc/ssh/sshd_config")?.is_some() || f.stat("/usr/sbin/sshd")?.is_some();
    if todo.is_empty() && sshd {
        super::mkdir_p(f, "/etc/ssh")?;
        for t in [Type::Ed25519, Type::Ecdsa(EcdsaCurve::NistP256), Type::Rsa] {
            todo.push((format!("/etc/ssh/ssh_host_{}_key", t.name()), t));
        }
    }
    let mut fingerprints = BTreeMap::new();
    for (path, t) in todo {
        let print = renew(f, &path, t, hostname)?;
        fingerprints.insert(t.name().to_string(), print);
    }
    cloud::keep(f, "ssh_deletekeys: false")?;
    Ok(fingerprints)
}

fn renew(f: &mut dyn Files, path: &str, t: Type, hostname: &str) -> Result<String> {
    let failed = |e: ssh_key::Error| Error::failed(format!("cannot make a {} key: {e}", t.name())).subject(path);
    let mut key = t.make().map_err(failed)?;
    key.set_comment(format!("root@{hostname}"));
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    let old = f.stat(path)?;
    let (mode, owner) = match &old {
        // Enterprise Linux lets its group ssh_keys read; sshd refuses anything wider.
        Some(s) if s.kind == "file" && s.mode == 0o640 && s.gid != 0 => (0o640, None),
        Some(_) => (0o600, None),
        None => (0o600, Some((0, 0))),
    };
    write_bytes(f, path, private.as_bytes().to_vec(), Some(mode), owner)?;
    let path = format!("{path}.pub");
    let owner = if f.stat(&path)?.is_some() { None } else { Some((0, 0)) };
    write_bytes(f, &path, format!("{public}\n").into_bytes(), Some(0o644), owner)?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    fn private(m: &mut Mem, path: &str) -> PrivateKey {
        PrivateKey::from_openssh(m.text(path)).expect("a key")
    }

    #[test]
    fn same_types() {
        let p384 = Type::Ecdsa(EcdsaCurve::NistP384).make().expect("key").public_key().to_openssh().expect("text");
        let mut m = Mem::of(&[
            ("/etc/ssh/ssh_host_ed25519_key", "old"),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "old"),
            ("/etc/ssh/ssh_host_ed25519_key-cert.pub", "old"),
            ("/etc/ssh/ssh_host_ecdsa_key", "old"),
            ("/etc/ssh/ssh_host_ecdsa_key.pub", &p384),
            ("/etc/ssh/ssh_host_dsa_key", "old"),
            ("/etc/ssh/ssh_host_dsa_key.pub", "old"),
            ("/etc/ssh/sshd_config", "Port 22\nHostKey /srv/key521_ecdsa\nHostKey /none\n"),
            ("/srv/key521_ecdsa", "old"),
        ]);
        m.chmod("/etc/ssh/ssh_host_ed25519_key", 0o640);
        m.chown("/etc/ssh/ssh_host_ed25519_key", 0, 998);
        let prints = new_ssh_host_keys(&mut m, "z-k8s-m-3").expect("keys");
        assert_eq!(prints.keys().collect::<Vec<_>>(), ["ecdsa", "ed25519"]);
        let key = private(&mut m, "/etc/ssh/ssh_host_ed25519_key");
        assert_eq!(prints["ed25519"], key.fingerprint(HashAlg::Sha256).to_string());
        assert!(prints["ed25519"].starts_with("SHA256:"));
        let public = m.text("/etc/ssh/ssh_host_ed25519_key.pub");
        assert!(public.starts_with("ssh-ed25519 AAAA") && public.ends_with(" root@z-k8s-m-3\n"), "{public}");
        let stat = m.stat("/etc/ssh/ssh_host_ed25519_key").expect("stat").expect("there");
        assert_eq!((stat.mode, stat.uid, stat.gid), (0o640, 0, 998));
        let listed = ssh_host_keys(&mut m).expect("keys");
        let ed25519 = listed.iter().find(|k| k.kind == "ed25519").expect("listed");
        assert_eq!(ed25519.fingerprint, prints["ed25519"]);
        assert!(public.starts_with(&ed25519.key) && !ed25519.key.contains("root@"));
        assert_eq!(m.mode("/etc/ssh/ssh_host_ecdsa_key"), 0o600);
        assert_eq!(m.mode("/etc/ssh/ssh_host_ecdsa_key.pub"), 0o644);
        let key = private(&mut m, "/etc/ssh/ssh_host_ecdsa_key");
        assert_eq!(key.algorithm(), Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 });
        assert_eq!(private(&mut m, "/srv/key521_ecdsa").comment(), "root@z-k8s-m-3");
        for gone in ["dsa_key", "dsa_key.pub", "ed25519_key-cert.pub"] {
            assert!(m.stat(&format!("/etc/ssh/ssh_host_{gone}")).expect("stat").is_none(), "{gone}");
        }
    }

    #[test]
    fn too_wide_is_narrowed() {
        for (mode, gid, want) in [(0o640, 0, 0o600), (0o644, 998, 0o600), (0o640, 998, 0o640), (0o600, 5, 0o600)] {
            let mut m = Mem::of(&[("/etc/ssh/ssh_host_ed25519_key", "old")]);
            m.chmod("/etc/ssh/ssh_host_ed25519_key", mode);
            m.chown("/etc/ssh/ssh_host_ed25519_key", 0, gid);
            new_ssh_host_keys(&mut m, "a").expect("keys");
            let stat = m.stat("/etc/ssh/ssh_host_ed25519_key").expect("stat").expect("there");
            assert_eq!((stat.mode, stat.gid), (want, gid), "{mode:o}");
        }
    }

    #[test]
    fn none_yet() {
        let mut m = Mem::of(&[("/usr/sbin/sshd", "")]);
        let prints = new_ssh_host_keys(&mut m, "a").expect("keys");
        assert_eq!(prints.keys().collect::<Vec<_>>(), ["ecdsa", "ed25519", "rsa"]);
        let KeypairData::Rsa(rsa) = private(&mut m, "/etc/ssh/ssh_host_rsa_key").key_data().clone() else {
            panic!("no RSA key");
        };
        assert_eq!(rsa.public.n.as_positive_bytes().map(<[u8]>::len), Some(rsa_keys::BITS / 8));
        assert!(new_ssh_host_keys(&mut Mem::default(), "a").expect("no sshd").is_empty());
    }

    #[test]
    fn openssh_reads_them() {
        let Ok(dir) = tempfile::tempdir() else { return };
        for t in [
            Type::Ed25519,
            Type::Rsa,
            Type::Ecdsa(EcdsaCurve::NistP256),
            Type::Ecdsa(EcdsaCurve::NistP384),
            Type::Ecdsa(EcdsaCurve::NistP521),
        ] {
            let mut m = Mem::default();
            let print = renew(&mut m, "/k", t, "a").expect("key");
            let file = dir.path().join("k");
            std::fs::write(&file, m.text("/k")).expect("write");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, mode).expect("chmod");
            let Ok(out) = std::process::Command::new("ssh-keygen").args(["-y", "-f"]).arg(&file).output() else {
                return;
            };
            assert!(out.status.success(), "{t:?}: {}", String::from_utf8_lossy(&out.stderr));
            let said = String::from_utf8(out.stdout).expect("text");
            let key = PublicKey::from_openssh(said.trim()).expect("key");
            assert_eq!(key.fingerprint(HashAlg::Sha256).to_string(), print);
        }
    }
}
