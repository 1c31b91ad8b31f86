//! What system a guest is, by its own files. Says the words that libguestfs says, which needs 17 s for it under
//! emulation.

use super::api::Inspection;
use crate::error::Result;

/// `None` when the guest has no os-release. `read` gives `None` for a file that is not there.
pub fn inspect(read: &dyn Fn(&str) -> Result<Option<Vec<u8>>>) -> Result<Option<Inspection>> {
    let text = |path: &str| -> Result<Option<String>> {
        Ok(read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let release = match text("/etc/os-release")? {
        Some(text) => Some(text),
        None => text("/usr/lib/os-release")?,
    };
    let Some(release) = release else { return Ok(None) };
    let mut found = of_release(&release);
    found.hostname = match text("/etc/hostname")?.as_deref().and_then(first_word) {
        Some(name) => name,
        None => text("/etc/sysconfig/network")?.and_then(|t| value(&t, "HOSTNAME")).unwrap_or_default(),
    };
    for program in ["/bin/sh", "/usr/bin/env"] {
        if let Some(arch) = read(program)?.as_deref().and_then(arch_of) {
            found.arch = arch.into();
            break;
        }
    }
    Ok(Some(found))
}

fn first_word(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'))?;
    Some(line.to_string())
}

/// `KEY=value` of a file that a shell could read.
fn value(text: &str, key: &str) -> Option<String> {
    let of = |line: &str| line.trim().strip_prefix(key)?.strip_prefix('=').map(|v| v.trim().to_string());
    let raw = text.lines().find_map(of)?;
    let quoted = raw.len() >= 2 && (raw.starts_with('"') || raw.starts_with('\'')) && raw.ends_with(&raw[..1]);
    Some(if quoted { raw[1..raw.len() - 1].to_string() } else { raw })
}

fn of_release(text: &str) -> Inspection {
    let get = |key: &str| value(text, key).unwrap_or_default();
    let id = get("ID");
    let version = get("VERSION_ID");
    let mut numbers = version.split('.').map(|n| n.parse::<i64>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let distro = match id.as_str() {
        "arch" => "archlinux",
        "kali" => "kalilinux",
        "ol" => "oraclelinux",
        "void" => "voidlinux",
        "openEuler" => "openeuler",
        id if id.starts_with("opensuse") => "opensuse",
        "" => "unknown",
        id => id,
    };
    let like = format!(" {distro} {} ", get("ID_LIKE"));
    let is = |names: &[&str]| names.iter().any(|n| like.contains(&format!(" {n} ")));
    let (format, management) = if is(&["debian", "ubuntu"]) {
        ("deb", "apt")
    } else if is(&["opensuse", "suse", "sles"]) {
        ("rpm", "zypper")
    } else if is(&["fedora", "rhel", "centos", "oraclelinux", "rocky", "almalinux", "openeuler"]) {
        ("rpm", if distro != "fedora" && major < 8 && distro != "openeuler" { "yum" } else { "dnf" })
    } else if is(&["alpine"]) {
        ("apk", "apk")
    } else if is(&["archlinux", "arch"]) {
        ("pacman", "pacman")
    } else {
        ("unknown", "unknown")
    };
    Inspection {
        os: "linux".into(),
        distro: distro.into(),
        product_name: get("PRETTY_NAME"),
        major_version: major,
        minor_version: minor,
        package_format: format.into(),
        package_management: management.into(),
        ..Inspection::default()
    }
}

/// By the header of an ELF program.
fn arch_of(program: &[u8]) -> Option<&'static str> {
    let header = program.get(..20).filter(|h| h.starts_with(b"\x7fELF"))?;
    let little = header[5] == 1;
    let pair = [header[18], header[19]];
    let machine = if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) };
    Some(match machine {
        3 => "i386",
        40 => "armv7l",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        21 if little => "ppc64le",
        21 => "ppc64",
        22 => "s390x",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems() {
        let words = |text: &str| {
            let i = of_release(text);
            (i.distro, i.major_version, i.minor_version, i.package_format, i.package_management)
        };
        let expected = |d: &str, major, minor, f: &str, m: &str| (d.to_string(), major, minor, f.into(), m.into());
        assert_eq!(words("ID=ubuntu\nVERSION_ID=\"20.04\"\nID_LIKE=debian\n"), expected("ubuntu", 20, 4, "deb", "apt"));
        assert_eq!(words("ID=debian\nPRETTY_NAME='Debian'\n"), expected("debian", 0, 0, "deb", "apt"));
        assert_eq!(words("ID=\"centos\"\nVERSION_ID=\"7\"\n"), expected("centos", 7, 0, "rpm", "yum"));
        assert_eq!(words("ID=\"rocky\"\nVERSION_ID=\"9.3\"\n"), expected("rocky", 9, 3, "rpm", "dnf"));
        assert_eq!(words("ID=\"opensuse-leap\"\nVERSION_ID=15.5\n"), expected("opensuse", 15, 5, "rpm", "zypper"));
        assert_eq!(words("ID_LIKE=rhel\n").0, "unknown");
    }

    #[test]
    fn by_its_files() {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(18, 0);
        elf.extend([62, 0, 1]);
        let read = |path: &str| -> Result<Option<Vec<u8>>> {
            Ok(match path {
                "/usr/lib/os-release" => Some(b"ID=fedora\nVERSION_ID=39\n".to_vec()),
                "/etc/sysconfig/network" => Some(b"HOSTNAME=\"h\"\n".to_vec()),
                "/bin/sh" => Some(elf.clone()),
                _ => None,
            })
        };
        let i = inspect(&read).expect("reads").expect("is one");
        assert_eq!((i.distro.as_str(), i.hostname.as_str(), i.arch.as_str()), ("fedora", "h", "x86_64"));
        assert!(inspect(&|_| Ok(None)).expect("reads").is_none());
    }
}
