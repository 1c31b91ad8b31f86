//! What virt-sysprep takes out of a guest, operation by operation, under its names.

use super::{Files, OnThisDisk, cloud, read_text, remove, write, write_bytes};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// What takes more than removing files; gives the paths.
type Also = fn(&mut dyn Files) -> Result<Vec<String>>;

pub struct Operation {
    pub name: &'static str,
    /// Done when nobody says which.
    pub by_default: bool,
    /// What goes. `*` matches within one name.
    remove: &'static [&'static str],
    /// Files whose programs want them, if empty.
    empty: &'static [&'static str],
    also: Option<Also>,
}

const NOTHING: Operation = Operation { name: "", by_default: true, remove: &[], empty: &[], also: None };

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "agent_ids",
        // Their owners make these anew when they start.
        remove: &[
            "/etc/nvme/hostid",
            "/etc/nvme/hostnqn",
            "/etc/openvswitch/system-id.conf",
            "/etc/docker/key.json",
            "/var/lib/docker/engine-id",
        ],
        ..NOTHING
    },
    Operation { name: "bash_history", remove: &["/root/.bash_history", "/home/*/.bash_history"], ..NOTHING },
    Operation { name: "cloud_init", also: Some(cloud_init), ..NOTHING },
    Operation {
        name: "crash_data",
        remove: &["/var/crash/*", "/var/log/dump/*", "/var/lib/systemd/coredump/*"],
        ..NOTHING
    },
    Operation { name: "cron_spool", by_default: false, remove: &["/var/spool/cron/*", "/var/spool/at/*"], ..NOTHING },
    Operation {
        name: "dhcp_client_state",
        remove: &[
            "/var/lib/dhcp/*",
            "/var/lib/dhclient/*",
            "/var/lib/systemd/network/*",
            "/var/lib/NetworkManager/*lease*",
            "/var/lib/NetworkManager/*duid*",
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/dhcpcd/*lease*",
            "/var/lib/dhcpcd/*duid*",
            "/var/lib/dhcpcd5/*lease*",
            "/var/lib/dhcpcd5/*duid*",
            "/etc/dhcpcd.duid",
            "/var/db/dhcpcd/duid",
        ],
        ..NOTHING
    },
    Operation { name: "dhcp_server_state", remove: &["/var/lib/dhcpd/*"], ..NOTHING },
    Operation { name: "iscsi_initiator", also: Some(super::forget::initiator), ..NOTHING },
    Operation {
        name: "logfiles",
        remove: &[
            "/var/log/*.log*",
            "/var/log/*.gz",
            "/var/log/audit/*",
            "/var/log/cron*",
            "/var/log/dmesg*",
            "/var/log/maillog*",
            "/var/log/mail.*",
            "/var/log/messages*",
            "/var/log/secure*",
            "/var/log/spooler*",
            "/var/log/syslog*",
            "/var/log/tallylog*",
            "/var/log/debug*",
            "/var/log/apt/*",
            "/var/log/installer/*",
            "/var/log/anaconda/*",
            "/var/log/journal/*",
            "/root/anaconda-ks.cfg",
            "/root/install.log*",
        ],
        ..NOTHING
    },
    Operation { name: "machine_id", also: Some(machine_id), ..NOTHING },
    Operation { name: "mail_spool", remove: &["/var/spool/mail/*", "/var/mail/*"], ..NOTHING },
    Operation { name: "net_hwaddr", also: Some(net_hwaddr), ..NOTHING },
    Operation {
        name: "package_manager_cache",
        remove: &["/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin", "/var/cache/dnf/*", "/var/cache/yum/*"],
        ..NOTHING
    },
    Operation {
        name: "passwd_backups",
        remove: &["/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-", "/etc/subuid-", "/etc/subgid-"],
        ..NOTHING
    },
    Operation {
        name: "random_seed",
        remove: &[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/random-seed",
            "/boot/efi/loader/random-seed",
            "/boot/loader/random-seed",
            "/efi/loader/random-seed",
            "/var/lib/systemd/credential.secret",
        ],
        ..NOTHING
    },
    Operation { name: "ssh_hostkeys", remove: &["/etc/ssh/ssh_host_*"], ..NOTHING },
    Operation { name: "ssh_userdir", by_default: false, remove: &["/root/.ssh", "/home/*/.ssh"], ..NOTHING },
    Operation { name: "tmp_files", remove: &["/tmp/*", "/var/tmp/*"], ..NOTHING },
    Operation { name: "udev_persistent_net", remove: &["/etc/udev/rules.d/70-persistent-net.rules"], ..NOTHING },
    Operation {
        name: "utmp",
        remove: &["/var/run/utmp"],
        empty: &["/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog"],
        ..NOTHING
    },
];

/// Which operations a map of `name: true|false` means: those that are true; where none is, the usual ones without
/// those that are false.
pub fn chosen(wanted: &BTreeMap<String, bool>) -> Result<Vec<&'static Operation>> {
    for name in wanted.keys() {
        if OPERATIONS.iter().all(|o| o.name != name) {
            let known: Vec<String> = OPERATIONS.iter().map(|o| format!("`{}`", o.name)).collect();
            return Err(Error::invalid(format!("unknown field `{name}`, expected one of {}", known.join(", "))));
        }
    }
    let says = |o: &&Operation, what: bool| wanted.get(o.name) == Some(&what);
    let named = wanted.values().any(|on| *on);
    let is_meant = |o: &&Operation| if named { says(o, true) } else { o.by_default && !says(o, false) };
    Ok(OPERATIONS.iter().filter(is_meant).collect())
}

/// Does these operations; returns the paths that went, were emptied or changed. `absent` gets a word on each filesystem
/// that is not on this disk.
pub fn sysprep(f: &mut dyn Files, operations: &[&Operation], absent: &mut Vec<String>) -> Result<Vec<String>> {
    let f = &mut OnThisDisk::new(f);
    let touched = all(f, operations)?;
    absent.extend(std::mem::take(&mut f.absent));
    Ok(touched)
}

fn all(f: &mut dyn Files, operations: &[&Operation]) -> Result<Vec<String>> {
    let mut touched = Vec::new();
    for o in operations {
        for pattern in o.remove {
            for path in matching(f, pattern)? {
                if remove(f, &path)? {
                    touched.push(path);
                }
            }
        }
        for path in o.empty {
            if f.stat(path)?.is_some_and(|s| s.kind == "file" && s.size > 0) {
                write_bytes(f, path, Vec::new(), None, None)?;
                touched.push((*path).into());
            }
        }
        if let Some(also) = o.also {
            touched.extend(also(f)?);
        }
    }
    Ok(touched)
}

/// The operations of these names.
pub fn named(names: &[&str]) -> Vec<&'static Operation> {
    OPERATIONS.iter().filter(|o| names.contains(&o.name)).collect()
}

/// The paths that a pattern means.
fn matching(f: &mut dyn Files, pattern: &str) -> Result<Vec<String>> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').skip(1) {
        let mut next = Vec::new();
        for dir in found {
            if !part.contains('*') {
                next.push(format!("{dir}/{part}"));
                continue;
            }
            next.extend(f.ls(&dir)?.into_iter().filter(|name| fits(name, part)).map(|name| format!("{dir}/{name}")));
        }
        found = next;
    }
    Ok(found)
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => {
            let Some(rest) = name.strip_prefix(head) else { return false };
            rest.char_indices().map(|(i, _)| i).chain([rest.len()]).any(|i| fits(&rest[i..], tail))
        }
    }
}

fn cloud_init(f: &mut dyn Files) -> Result<Vec<String>> {
    let mut gone = Vec::new();
    for path in cloud::instance_state(f)? {
        if remove(f, &path)? {
            gone.push(path);
        }
    }
    Ok(gone)
}

/// Empty: systemd makes one at the next boot. D-Bus takes that.
fn machine_id(f: &mut dyn Files) -> Result<Vec<String>> {
    let mut touched = Vec::new();
    if f.stat("/etc/machine-id")?.is_some_and(|s| s.kind == "file" && s.size > 0) {
        write_bytes(f, "/etc/machine-id", Vec::new(), None, None)?;
        touched.push("/etc/machine-id".to_string());
    }
    let bus = "/var/lib/dbus/machine-id";
    if f.stat(bus)?.is_some_and(|s| s.kind == "file") && remove(f, bus)? {
        touched.push(bus.into());
    }
    Ok(touched)
}

/// Lines that tie the configuration of an interface to one network card.
fn net_hwaddr(f: &mut dyn Files) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for path in matching(f, "/etc/sysconfig/network-scripts/ifcfg-*")? {
        let Some(t) = read_text(f, &path)? else { continue };
        let kept: String = t.s.split_inclusive('\n').filter(|l| !l.trim_start().starts_with("HWADDR=")).collect();
        if kept != t.s {
            write(f, &path, &t.with(kept))?;
            changed.push(path);
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    fn map(of: &[(&str, bool)]) -> BTreeMap<String, bool> {
        of.iter().map(|(n, on)| (n.to_string(), *on)).collect()
    }

    fn names(of: &[(&str, bool)]) -> Vec<&'static str> {
        chosen(&map(of)).expect("known").iter().map(|o| o.name).collect()
    }

    #[test]
    fn patterns() {
        assert!(fits("a.log.1", "*.log*") && fits("ssh_host_rsa_key", "ssh_host_*") && fits("x", "*"));
        assert!(!fits("alog", "*.log*") && !fits("xssh_host_", "ssh_host_*") && !fits("ab", "a"));
    }

    #[test]
    fn which_are_meant() {
        assert_eq!(names(&[("machine_id", true), ("logfiles", true)]), ["logfiles", "machine_id"]);
        let usual = names(&[]);
        assert!(usual.contains(&"logfiles") && !usual.contains(&"ssh_userdir"));
        assert_eq!(names(&[("logfiles", false)]).len(), usual.len() - 1);
        assert_eq!(names(&[("logfiles", false), ("ssh_userdir", true)]), ["ssh_userdir"]);
        assert!(chosen(&map(&[("machineid", true)])).is_err());
        assert!(OPERATIONS.is_sorted_by_key(|o| o.name), "as people look for them");
    }

    #[test]
    fn takes_out_what_it_names() {
        let ifcfg = "/etc/sysconfig/network-scripts/ifcfg-eth0";
        let mut m = Mem::of(&[
            ("/etc/machine-id", "1234\n"),
            ("/var/lib/dbus/machine-id", "1234\n"),
            ("/var/log/syslog.1", "x"),
            ("/var/log/apt/history.log", "x"),
            ("/var/log/wtmp", "x"),
            ("/home/a/.bash_history", "x"),
            ("/home/a/.bashrc", "x"),
            ("/tmp/dir/file", "x"),
            ("/etc/ssh/ssh_host_rsa_key", "x"),
            ("/etc/ssh/sshd_config", "x"),
            (ifcfg, "DEVICE=eth0\nHWADDR=52:54:00:00:00:01\nONBOOT=yes\n"),
        ]);
        let all = chosen(&map(&[])).expect("known");
        let said = sysprep(&mut m, &all, &mut Vec::new()).expect("sysprep");
        for path in ["/var/log/syslog.1", "/home/a/.bash_history", "/tmp/dir", "/etc/ssh/ssh_host_rsa_key"] {
            assert!(m.stat(path).expect("stat").is_none() && said.iter().any(|p| p == path), "{path}: {said:?}");
        }
        assert!(m.stat("/var/lib/dbus/machine-id").expect("stat").is_none());
        assert_eq!((m.text("/etc/machine-id").as_str(), m.text("/var/log/wtmp").as_str()), ("", ""));
        assert_eq!(m.text(ifcfg), "DEVICE=eth0\nONBOOT=yes\n");
        assert_eq!((m.text("/home/a/.bashrc"), m.text("/etc/ssh/sshd_config")), ("x".into(), "x".into()));
        assert!(m.stat("/tmp").expect("stat").is_some());
        assert!(sysprep(&mut m, &all, &mut Vec::new()).expect("again").is_empty());
    }
}
