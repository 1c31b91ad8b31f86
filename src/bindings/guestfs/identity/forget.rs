//! What a clone must not remember of the template.

use super::{Files, files_in, read_text, remove, sysprep, write_bytes};
use crate::error::Result;

/// Of virt-sysprep's operations those that take from a clone what is the template's alone.
const OPERATIONS: [&str; 6] =
    ["agent_ids", "cloud_init", "dhcp_client_state", "random_seed", "udev_persistent_net", "utmp"];

const INITIATOR: &str = "/etc/iscsi/initiatorname.iscsi";

/// Removes what a clone must not have of the template beside its names and addresses: seeds of random numbers, DHCP
/// leases and ids, certificates of host keys, cloud-init's memory of its instance (the seed stays), ids of NVMe, iSCSI,
/// Open vSwitch and Docker, and who logged in. Returns the paths that there were; the second time there are none.
/// `absent` gets a word on each filesystem that is not on this disk, where nothing could be looked for.
///
/// # Errors
/// Those of reading the guest.
///
/// # Example
/// `forget(f, &mut absent)` gives `["/var/lib/systemd/random-seed", "/var/lib/dhcp/dhclient.enp1s0.leases"]`.
pub fn forget(f: &mut dyn Files, absent: &mut Vec<String>) -> Result<Vec<String>> {
    let mut forgotten = sysprep::sysprep(f, &sysprep::named(&OPERATIONS), absent)?;
    for path in files_in(f, "/etc/ssh", |n| n.starts_with("ssh_host_") && n.ends_with("-cert.pub"))? {
        if remove(f, &path)? {
            forgotten.push(path);
        }
    }
    forgotten.extend(initiator(f)?);
    Ok(forgotten)
}

pub fn initiator(f: &mut dyn Files) -> Result<Vec<String>> {
    Ok(if forget_initiator(f)? { vec![INITIATOR.into()] } else { Vec::new() })
}

/// Debian makes a name at the start where the file asks for it, Enterprise Linux where there is no file.
fn forget_initiator(f: &mut dyn Files) -> Result<bool> {
    let Some(t) = read_text(f, INITIATOR)?.filter(|t| t.s.lines().any(|l| l.starts_with("InitiatorName="))) else {
        return Ok(false);
    };
    if f.stat("/etc/debian_version")?.is_none() {
        return remove(f, INITIATOR);
    }
    let mut out = String::new();
    for line in t.s.split_inclusive('\n') {
        out.push_str(if line.starts_with("InitiatorName=") { "GenerateName=yes\n" } else { line });
    }
    write_bytes(f, INITIATOR, t.with(out).encode(), None, None)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;

    #[test]
    fn forgets_and_keeps() {
        let gone = [
            "/boot/efi/loader/random-seed",
            "/etc/ssh/ssh_host_rsa_key-cert.pub",
            "/etc/udev/rules.d/70-persistent-net.rules",
            "/var/lib/NetworkManager/internal-1-ens3.lease",
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/cloud/data/instance-id",
            "/var/lib/cloud/instances",
            "/var/lib/cloud/sem",
            "/var/lib/dhclient/dhclient--ens3.lease",
            "/var/lib/dhcp/dhclient.ens3.leases",
            "/var/lib/systemd/credential.secret",
            "/var/lib/systemd/network/duid",
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
        ];
        let kept = [
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/udev/rules.d/60-mine.rules",
            "/var/lib/NetworkManager/NetworkManager.state",
            "/var/lib/cloud/seed/nocloud-net/meta-data",
            "/var/lib/cloud/scripts/per-boot/x",
        ];
        let mut m = Mem::default();
        for path in gone.iter().chain(&kept) {
            let below = if path.ends_with("instances") || path.ends_with("sem") { "/i/x" } else { "" };
            m.put(&format!("{path}{below}"), b"x");
        }
        m.link("/var/lib/cloud/instance", "/var/lib/cloud/instances/i");
        let mut said = forget(&mut m, &mut Vec::new()).expect("forget");
        said.sort();
        let mut want: Vec<&str> = gone.iter().copied().chain(["/var/lib/cloud/instance"]).collect();
        want.sort_unstable();
        assert_eq!(said, want);
        for path in want {
            assert!(m.stat(path).expect("stat").is_none(), "{path}");
        }
        for path in kept {
            assert!(m.stat(path).expect("stat").is_some(), "{path}");
        }
        assert!(forget(&mut m, &mut Vec::new()).expect("again").is_empty());
    }

    /// A guest whose /var is on another disk.
    struct WithoutVar(Mem);

    impl WithoutVar {
        fn check(path: &str) -> Result<()> {
            match path.starts_with("/var/") {
                true => Err(crate::bindings::guestfs::errors::not_mounted("/var", "is on another disk")),
                false => Ok(()),
            }
        }
    }

    impl Files for WithoutVar {
        fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>> {
            Self::check(path).and_then(|()| self.0.read(path))
        }
        fn stat(&mut self, path: &str) -> Result<Option<super::super::Stat>> {
            Self::check(path).and_then(|()| self.0.stat(path))
        }
        fn ls(&mut self, dir: &str) -> Result<Vec<String>> {
            Self::check(dir).and_then(|()| self.0.ls(dir))
        }
        fn stage(&mut self, edit: super::super::Edit) -> Result<()> {
            Self::check(edit.path()).and_then(|()| self.0.stage(edit))
        }
    }

    #[test]
    fn a_filesystem_on_another_disk() {
        let mut m = WithoutVar(Mem::of(&[("/etc/nvme/hostid", "x"), ("/etc/machine-id", &"1".repeat(32))]));
        let mut absent = Vec::new();
        assert_eq!(forget(&mut m, &mut absent).expect("forget"), ["/etc/nvme/hostid"]);
        assert_eq!(absent, ["/var is a filesystem of its own that is not mounted: is on another disk"]);
    }

    #[test]
    fn logins_and_initiators() {
        let name = "## by hand\nInitiatorName=iqn.1993-08.org.debian:01:1\n";
        let mut m = Mem::of(&[("/var/log/wtmp", "x"), ("/var/log/btmp", ""), (INITIATOR, name)]);
        m.chmod("/var/log/wtmp", 0o664);
        assert_eq!(forget(&mut m, &mut Vec::new()).expect("forget"), ["/var/log/wtmp", INITIATOR]);
        assert_eq!((m.text("/var/log/wtmp").as_str(), m.mode("/var/log/wtmp")), ("", 0o664));
        assert!(m.stat(INITIATOR).expect("stat").is_none());
        assert!(forget(&mut m, &mut Vec::new()).expect("again").is_empty());

        let mut m = Mem::of(&[("/etc/debian_version", "12.5\n"), (INITIATOR, name)]);
        assert_eq!(forget(&mut m, &mut Vec::new()).expect("forget"), [INITIATOR]);
        assert_eq!(m.text(INITIATOR), "## by hand\nGenerateName=yes\n");
        assert!(forget(&mut m, &mut Vec::new()).expect("again").is_empty());
    }
}
