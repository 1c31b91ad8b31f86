//! What the direct engine leaves alone: `-v` says why, and the disk stays as it was.

use crate::site::{POOL, Site, site};
use std::path::Path;
use std::process::Stdio;

const IMAGE: &str = "z-refused";

/// What is done to the raw file: commands with `$f` as its name.
struct Case {
    what: &'static str,
    mke2fs: &'static str,
    spoil: Spoil,
    why: &'static str,
}

enum Spoil {
    /// Sets these bits of the 32 at an offset of the superblock; the disk has no checksums.
    Bits(usize, u32),
    Debugfs(&'static str),
    Sh(&'static str),
    No,
}

use Spoil::{Bits, Debugfs, No, Sh};

const PLAIN: &str = "-t ext4 -O ^metadata_csum";
const INCOMPAT: usize = 96;
const RO_COMPAT: usize = 100;

const fn case(what: &'static str, mke2fs: &'static str, spoil: Spoil, why: &'static str) -> Case {
    Case { what, mke2fs, spoil, why }
}

const CASES: &[Case] = &[
    case("needs_recovery", PLAIN, Bits(INCOMPAT, 4), "/dev/sda: its journal has to be replayed (needs_recovery)"),
    case("the flag of errors", PLAIN, Bits(56, 2 << 16), "/dev/sda: it is marked as having errors"),
    case("a count of errors", PLAIN, Bits(404, 1), "/dev/sda: it is marked as having errors"),
    case("an ext2 in use", "-t ext2", Debugfs("ssv state 0"), "/dev/sda: it was not cleanly unmounted"),
    case("an incompat feature", PLAIN, Bits(INCOMPAT, 0x800_0000), "features that are not known (incompat 0x8000000)"),
    case(
        "a ro_compat feature",
        PLAIN,
        Bits(RO_COMPAT, 0x8000_0000),
        "features that are not known (ro_compat 0x80000000, 0x0)",
    ),
    case("a compat feature", PLAIN, Bits(92, 0x8000_0000), "features that are not known (ro_compat 0x0, 0x80000000)"),
    case("mmp", "-t ext4 -O mmp", No, "multiple mount protection"),
    case("ea_inode", "-t ext4 -O ea_inode", No, "the feature ea_inode"),
    case("bigalloc", "-t ext4 -O bigalloc", No, "the feature bigalloc"),
    case("quota", "-t ext4 -O quota", No, "the feature quota"),
    case("verity", "-t ext4 -O verity", No, "the feature verity"),
    case("orphans", PLAIN, Bits(232, 12), "its orphans have to be cleared"),
    case("a journal elsewhere", PLAIN, Debugfs("ssv journal_inum 0"), "its journal is on another device"),
    case("an encrypted file", "-t ext4 -O encrypt", Debugfs("sif /etc/hostname flags 0x80800"), "it is encrypted"),
    case(
        "a casefolded directory",
        "-t ext4 -O casefold",
        Debugfs("sif /etc flags 0x40080000"),
        "the directory is a casefolded one",
    ),
    case(
        "an immutable file",
        "-t ext4",
        Debugfs("sif /etc/hostname flags 0x80010"),
        "flags that forbid changes (0x10)",
    ),
    case(
        "an encrypted disk",
        "-t ext4",
        Sh("printf 'LUKS\\272\\276' | dd of=$f conv=notrunc status=none"),
        "/dev/sda is LUKS",
    ),
    case("LVM", "-t ext4", Sh("printf LABELONE | dd of=$f bs=512 seek=1 conv=notrunc status=none"), "/dev/sda is LVM"),
    case("xfs", "-t ext4", Sh("rm $f; truncate -s 300M $f; mkfs.xfs -q $f"), "/dev/sda is XFS"),
];

fn spoil(site: &Site, file: &Path, how: &Spoil) {
    match how {
        Bits(at, bits) => {
            let mut disk = std::fs::read(file).expect("the file");
            let at = 1024 + at;
            let old = u32::from_le_bytes(disk[at..at + 4].try_into().expect("4 bytes"));
            disk[at..at + 4].copy_from_slice(&(old | bits).to_le_bytes());
            std::fs::write(file, disk).expect("the file");
        }
        Debugfs(command) => {
            site.sh(&format!("debugfs -w -R '{command}' {} 2>&1", file.display()));
        }
        Sh(commands) => {
            site.sh(&format!("f={}; {commands}", file.display()));
        }
        No => {}
    }
}

fn sum(site: &Site) -> String {
    site.sh(&format!("rbd export --no-progress {POOL}/{IMAGE} - | sha256sum"))
}

fn clear(site: &Site) {
    site.try_sh(&format!("rbd info {POOL}/{IMAGE} >/dev/null 2>&1 && rbd rm --no-progress {POOL}/{IMAGE}"));
}

/// A write of one file, by a host whose appliance cannot start: what has been told by then is why it was wanted.
fn written(site: &Site) -> crate::site::Run {
    let code = format!("guestfs.with(\"{POOL}/{IMAGE}\", #{{}}, |g| g.write(\"/etc/hostname\", \"new\"))");
    site.zs_with(&["-v", "-e", &code], &[("LIBGUESTFS_PATH", "/nonexistent")])
}

#[test]
fn each_for_its_reason() {
    let Some(site) = site() else { return };
    clear(&site);
    let before = site.state();
    let dir = tempfile::tempdir().expect("a directory");
    let (root, file) = (dir.path().join("root"), dir.path().join("raw"));
    for d in ["etc", "usr"] {
        std::fs::create_dir_all(root.join(d)).expect("a directory");
    }
    std::fs::write(root.join("etc/hostname"), "old\n").expect("a file");
    let make = |mke2fs: &str| {
        let _ = std::fs::remove_file(&file);
        site.sh(&format!("mke2fs -q -F {mke2fs} -b 4096 -d {} {} 14M 2>&1", root.display(), file.display()));
    };
    let import = |more: &str| {
        clear(&site);
        site.sh(&format!("rbd import --no-progress {more} {} {POOL}/{IMAGE}", file.display()));
    };
    for Case { what, mke2fs, spoil: how, why } in CASES {
        make(mke2fs);
        spoil(&site, &file, how);
        import("");
        let old = sum(&site);
        let run = written(&site);
        assert_eq!(run.code, 1, "{what}:\n{}{}", run.out, run.err);
        assert!(run.err.contains("left behind: nothing"), "{what}:\n{}", run.err);
        let said = format!("{POOL}/{IMAGE}: by the appliance: ");
        let line = run.err.lines().find(|l| l.contains(&said)).unwrap_or_else(|| panic!("{what}:\n{}", run.err));
        assert!(line.contains(why), "{what}: wanted `{why}`: {line}");
        assert_eq!(sum(&site), old, "{what}: written");
    }

    // Without its lock we would not know that we stay alone.
    make("-t ext4");
    import("--image-feature layering");
    let old = sum(&site);
    written(&site).refused("failed", 1).says("by the appliance: the image has no exclusive lock");
    assert_eq!(sum(&site), old);

    // Somebody has it open: that is for no engine.
    import("");
    let old = sum(&site);
    let mut watch = std::process::Command::new("rbd")
        .args(["watch", &format!("{POOL}/{IMAGE}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("rbd watch");
    site.sh(&format!(
        "for n in $(seq 100); do rbd status {POOL}/{IMAGE} | grep -q watcher= && exit; sleep 0.1; done; false"
    ));
    let run = written(&site).refused("busy", 1);
    assert!(!run.err.contains("by the appliance"), "{}", run.err);
    watch.kill().expect("killed");
    watch.wait().expect("ended");
    assert_eq!(sum(&site), old);

    // And what is none of these is taken: the reasons above are of what differs.
    site.sh(&format!(
        "for n in $(seq 400); do rbd status {POOL}/{IMAGE} | grep -q watcher= || exit 0; sleep 0.1; done; false"
    ));
    let run = written(&site).ok();
    assert!(!run.err.contains("by the appliance"), "{}", run.err);
    assert_ne!(sum(&site), old);
    clear(&site);
    assert_eq!(site.state(), before);
    site.settled();
}

/// An appliance that does not start takes nothing over: what needs none goes on.
#[test]
fn without_an_appliance() {
    let Some(site) = site() else { return };
    let before = site.state();
    let vm = "z-k8s-n-3";
    site.zs(&["clone.rhai", vm]).ok();
    let script = format!(
        "let g = guestfs.open(\"{POOL}/{vm}\");
         g.write(\"/etc/zs-before\", \"1\");
         for i in 0..2 {{
             try {{ g.sh(\"true\"); throw \"it started\"; }} catch (e) {{ print(e.message); }}
             print(g.read(\"/etc/zs-before\"));
             g.write(\"/etc/zs-after\", \"2\");
         }}"
    );
    let run = site.zs_with(&["-e", &script], &[("LIBGUESTFS_HV", "/bin/false")]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert_eq!(run.out.matches("the appliance did not start").count(), 2, "{}", run.out);
    let read = site.zs(&[
        "-e",
        &format!(
            "guestfs.read(\"{POOL}/{vm}\", \"/etc/zs-before\") + guestfs.read(\"{POOL}/{vm}\", \"/etc/zs-after\")"
        ),
    ]);
    assert_eq!(read.out.trim(), "12", "{}", read.err);
    site.destroy(vm);
    assert_eq!(site.state(), before);
    site.settled();
}
