//! This host: its configuration, libraries, programs, kernel.

use super::{Finding, Level, Site};
use crate::bindings::{guestfs, sys};
use crate::config::EngineChoice;
use crate::error::Result;
use nix::unistd::{AccessFlags, access};
use std::path::{Path, PathBuf};

pub fn config(site: &Site) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let file = site.config.file.as_ref().map_or("zs.toml".to_string(), |f| f.display().to_string());
    if let Some(e) = &site.config_error {
        found.push(Finding::of(e, "zs.toml"));
    } else if site.config.file.is_none() {
        found.push(
            Finding::warn("zs.toml", "there is none: everything is at its default")
                .mend("write ./zs.toml or /etc/zs/zs.toml: README, \"Configuring\""),
        );
    }
    if let Some(conf) = &site.config.ceph.conf
        && let Err(e) = std::fs::File::open(conf)
    {
        found.push(Finding::bad(&file, format!("[ceph] conf {}: {e}", conf.display())).mend(format!("edit {file}")));
    }
    for dir in site.config.scripts.path.iter().filter(|p| !p.is_dir()) {
        let what = format!("[scripts] path {}: there is no such directory", dir.display());
        found.push(Finding::warn(&file, what).mend(format!("mkdir -p {}", dir.display())));
    }
    for pattern in &site.config.rights.protected {
        if let Err(e) = globset::Glob::new(pattern) {
            let what = format!("[rights] protected `{pattern}`: {}", e.kind());
            found.push(Finding::bad(&file, what).mend(format!("edit {file}")));
        }
    }
    for key in ["template", "pool", "storage_pool", "inventory", "domain"] {
        if site.config.site.get(key).is_some_and(|v| !v.is_str()) {
            found.push(Finding::bad(&file, format!("[site] {key} is no text")).mend(format!("edit {file}")));
        }
    }
    Ok(found)
}

/// What is loaded on first use, the package that brings it, and what lacks without.
const LIBRARIES: [(&str, &str, Level, &str); 5] = [
    ("librados.so.2", "librados2", Level::Bad, "no script can reach Ceph"),
    ("librbd.so.1", "librbd1", Level::Bad, "no script can reach images"),
    ("libvirt.so.0", "libvirt0", Level::Bad, "no script can reach domains"),
    ("libext2fs.so.2", "libext2fs2", Level::Warn, "each guest is edited by the appliance, which takes seconds"),
    ("libguestfs.so.0", "libguestfs0", Level::Warn, "guests on LVM, XFS or Btrfs cannot be edited"),
];

pub fn libraries(_: &Site) -> Result<Vec<Finding>> {
    let absent = |&(library, package, level, lacks): &(&str, &str, Level, &'static str)| {
        let e = sys::open(&[library], package).err()?;
        Some(Finding { mend: e.hint, ..Finding::new(level, library, format!("{}: {lacks}", e.message)) })
    };
    Ok(LIBRARIES.iter().filter_map(absent).collect())
}

const PROGRAMS: [(&str, &str, &str); 3] = [
    ("qemu-img", "qemu-utils", "template.rhai cannot read qcow2"),
    ("curl", "curl", "template.rhai cannot fetch images"),
    ("virt-install", "virtinst", "install.rhai needs it"),
];

pub fn programs(_: &Site) -> Result<Vec<Finding>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| {
        std::env::split_paths(&path).any(|d| access(&d.join(name), AccessFlags::X_OK).is_ok() && d.join(name).is_file())
    };
    let absent = PROGRAMS.iter().filter(|(name, ..)| !is_there(name));
    let finding = |(name, package, lacks): &(&str, &str, &str)| {
        Finding::warn(*name, format!("is not installed: {lacks}")).mend(format!("apt install {package}"))
    };
    Ok(absent.map(finding).collect())
}

/// Loadable parts that hypervisors on Debian and Fedora have in packages of their own.
struct Module {
    /// Directories, of which one may have `*` as a whole part.
    dirs: [&'static str; 2],
    /// How all modules of that kind begin: where there are none, they are linked in.
    prefix: &'static str,
    file: &'static str,
    package: &'static str,
    lacks: &'static str,
}

const MODULES: [Module; 2] = [
    Module {
        dirs: ["/usr/lib/*/qemu", "/usr/lib64/qemu-kvm"],
        prefix: "block-",
        file: "block-rbd.so",
        package: "qemu-block-extra",
        lacks: "qemu cannot open RBD images: no domain starts",
    },
    Module {
        dirs: ["/usr/lib/*/libvirt/storage-backend", "/usr/lib64/libvirt/storage-backend"],
        prefix: "libvirt_storage_backend_",
        file: "libvirt_storage_backend_rbd.so",
        package: "libvirt-daemon-driver-storage-rbd",
        lacks: "libvirt has no storage pools of type rbd",
    },
];

pub fn modules(site: &Site) -> Result<Vec<Finding>> {
    let uri = site.live.settings.libvirt_uri.clone().or_else(|| std::env::var("LIBVIRT_DEFAULT_URI").ok());
    if uri.as_deref().is_some_and(|u| !is_local(u)) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for m in &MODULES {
        let dirs: Vec<PathBuf> = m.dirs.iter().flat_map(|d| expand(d)).collect();
        let has = |test: &dyn Fn(&str) -> bool| {
            let mut names = dirs.iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten().flatten();
            names.any(|e| test(&e.file_name().to_string_lossy()))
        };
        if has(&|n| n.starts_with(m.prefix)) && !has(&|n| n == m.file) {
            found.push(Finding::bad(m.file, m.lacks).mend(format!("apt install {}", m.package)));
        }
    }
    Ok(found)
}

/// `qemu:///system`, `qemu+unix:///…`: the hypervisor's files are this host's.
pub fn is_local(uri: &str) -> bool {
    uri.split_once("://").is_none_or(|(_, rest)| rest.starts_with('/'))
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    match pattern.split_once("/*/") {
        None => vec![pattern.into()],
        Some((before, after)) => {
            let dirs = std::fs::read_dir(before).into_iter().flatten().flatten();
            dirs.map(|d| d.path().join(after)).collect()
        }
    }
}

/// libguestfs starts the host's own kernel, as the user that calls it.
pub fn kernel(site: &Site) -> Result<Vec<Finding>> {
    if site.config.guestfs.engine == EngineChoice::Direct {
        return Ok(Vec::new());
    }
    let named = std::env::var_os("SUPERMIN_KERNEL").map(PathBuf::from);
    let kernels: Vec<PathBuf> = match named {
        Some(kernel) => vec![kernel],
        None => {
            let all = std::fs::read_dir("/boot").into_iter().flatten().flatten().map(|e| e.path());
            all.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinu"))).collect()
        }
    };
    Ok(kernel_findings(&kernels))
}

fn kernel_findings(kernels: &[PathBuf]) -> Vec<Finding> {
    if kernels.is_empty() {
        let what =
            "there is no kernel in it: libguestfs' appliance does not start; guests on ext2, ext3 and ext4 need none";
        return vec![Finding::warn("/boot", what).mend("apt install linux-image-amd64")];
    }
    let unreadable: Vec<&PathBuf> =
        kernels.iter().filter(|k| access(k.as_path(), AccessFlags::R_OK).is_err()).collect();
    if unreadable.len() < kernels.len() {
        return Vec::new();
    }
    let finding = |kernel: &&PathBuf| {
        let what = "root alone may read it, so libguestfs' appliance does not start for this user";
        let mend = format!("dpkg-statoverride --update --add root root 0644 {}", kernel.display());
        Finding::bad(kernel.display().to_string(), what).mend(mend)
    };
    unreadable.iter().map(finding).collect()
}

pub fn kvm(site: &Site) -> Result<Vec<Finding>> {
    const SLOW: &str = "guests and libguestfs' appliance are emulated, which is slow";
    let kvm = Path::new("/dev/kvm");
    let uri = site.live.settings.libvirt_uri.as_deref().unwrap_or_default();
    if !is_local(uri) && site.config.guestfs.engine == EngineChoice::Direct {
        return Ok(Vec::new());
    }
    let finding = |what: String| Finding::warn(kvm.display().to_string(), format!("{what}: {SLOW}"));
    Ok(match std::fs::File::options().read(true).write(true).open(kvm) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            vec![
                finding("is not there".into())
                    .mend("modprobe kvm_intel || modprobe kvm_amd; or turn virtualisation on in the firmware"),
            ]
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            vec![finding("this user may not open it".into()).mend("adduser $USER kvm")]
        }
        Err(e) => vec![finding(e.to_string())],
        Ok(_) => match guestfs::live::kvm_starts() {
            None | Some(true) => Vec::new(),
            Some(false) => {
                vec![
                    finding("is there, and qemu cannot use it".into())
                        .mend("dmesg | grep -i kvm; on a VM, its host must allow nested virtualisation"),
                ]
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn kernels_of_root_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let kernel = dir.path().join("vmlinuz-6");
        std::fs::write(&kernel, "k").expect("written");
        assert!(kernel_findings(std::slice::from_ref(&kernel)).is_empty());
        assert_eq!(kernel_findings(&[])[0].level, Level::Warn);
        std::fs::set_permissions(&kernel, std::fs::Permissions::from_mode(0o0)).expect("mode");
        // Root reads it all the same.
        if !nix::unistd::geteuid().is_root() {
            assert_eq!(kernel_findings(&[kernel])[0].level, Level::Bad);
        }
    }

    #[test]
    fn hypervisors_of_this_host() {
        assert!(is_local("qemu:///system") && is_local("qemu+unix:///system?socket=/x") && is_local(""));
        assert!(!is_local("qemu+ssh://zcloud2/system"));
    }
}
