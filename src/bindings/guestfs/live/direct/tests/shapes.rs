//! All kinds of edits on all kinds of filesystems.

use super::*;

fn all_kinds() -> Vec<Edit> {
    let s = String::from;
    vec![
        write("/etc/hostname", b"new\n"),
        write("/etc/hosts", &b"127.0.0.1 localhost\n".repeat(400)),
        Edit::Write { path: s("/etc/key"), content: vec![7; 100], mode: Some(0o600), owner: Some((100_000, 5)) },
        Edit::Write { path: s("/etc/shadow"), content: vec![], mode: Some(0o640), owner: Some((0, 42)) },
        write("/var/log/large", b"now small"),
        write("/var/log/zeros", &vec![0; 1 << 20]),
        write("/var/log/huge", &(0..3 << 20).map(|i| (i / 777) as u8).collect::<Vec<u8>>()),
        Edit::Mkdir { path: s("/a/b/c"), mode: 0o750 },
        Edit::Symlink { path: s("/a/short"), target: s("b/c") },
        Edit::Symlink { path: s("/a/long"), target: format!("/a/b/{}c", "c/../".repeat(40)) },
        write("/a/short/inside", b"x"),
        Edit::Copy { path: s("/etc"), to: s("/a/etc") },
        Edit::Copy { path: s("/etc/hosts"), to: s("/a/etc/hostname") },
        Edit::Rename { path: s("/a/etc"), to: s("/home/etc") },
        Edit::Rename { path: s("/etc/key"), to: s("/home/etc/hosts") },
        Edit::Remove { path: s("/home/a"), recursive: true },
        Edit::Remove { path: s("/var/log/zeros"), recursive: false },
        Edit::Chmod { path: s("/etc/hosts"), mode: 0o600 },
        Edit::Chown { path: s("/etc/hosts"), uid: 70_000, gid: 9 },
        Edit::Mkdir { path: s("/many/sub"), mode: 0o755 },
    ]
}

#[test]
fn each_shape() {
    for (shape, args) in SHAPES {
        let image = Image::make(args, 40);
        image.is_clean(shape);
        let mut d = image.open(true);
        edits(&mut d, &all_kinds());
        let huge = d.read("/var/log/huge").expect("read");
        d.sync().expect("sync");
        image.is_clean(&format!("{shape}, synced"));
        edits(&mut d, &[write("/etc/hostname", b"newer\n"), write("/a/second", b"2")]);
        close(d);
        image.is_clean(&format!("{shape}, closed"));
        let mut d = image.open(false);
        let read = |d: &mut Direct, path: &str| d.read(path).unwrap_or_else(|e| panic!("{shape}: {path}: {e:?}"));
        assert_eq!(read(&mut d, "/etc/hostname"), b"newer\n");
        assert_eq!(read(&mut d, "/home/etc/hostname"), b"127.0.0.1 localhost\n".repeat(400));
        assert_eq!(read(&mut d, "/home/etc/hosts"), [7; 100]);
        assert_eq!(read(&mut d, "/a/long/inside"), b"x");
        assert!(read(&mut d, "/var/log/huge") == huge && huge.len() == 3 << 20);
        let s = d.stat("/etc/hosts").expect("stat").expect("there");
        assert_eq!((s.mode, s.uid, s.gid, s.kind.as_str()), (0o600, 70_000, 9, "file"), "{shape}");
        let s = d.stat("/home/etc/hosts").expect("stat").expect("there");
        assert_eq!((s.mode, s.uid, s.gid), (0o600, 100_000, 5), "{shape}");
        assert_eq!(d.ls("/home").expect("ls"), ["etc"]);
        assert_eq!(d.ls("/var/log").expect("ls"), ["huge", "large"]);
        assert!(d.stat("/home/a").expect("stat").is_none());
        let found = d.inspect().expect("inspect");
        assert_eq!((found.distro.as_str(), found.root.as_str()), ("debian", "/dev/sda"));
        d.fsck().unwrap_or_else(|e| panic!("{shape}: {e:?}"));
    }
}

#[test]
fn a_large_directory() {
    for block in ["1024", "4096"] {
        let image = Image::make(&["-t", "ext4", "-b", block], 5000);
        let (_, said) = image.e2fsck("-fyD");
        assert!(said.contains("PASSED") || said.contains("files"), "{said}");
        let mut d = image.open(true);
        assert_eq!(d.ls("/many").expect("ls").len(), 5000);
        let name = |i: usize| format!("/many/file-with-a-rather-long-name-{i:05}");
        edits(&mut d, &[write(&name(17), b"content")]);
        close(d);
        image.is_clean("an old name");
        let (_, said) = run("debugfs", &["-R", "stat /many", image.path().to_str().expect("a name")]);
        assert!(said.contains("0x81000"), "the index is still there: {said}");
        let mut d = image.open(true);
        for i in 5000..5060 {
            edits(&mut d, &[write(&name(i), b"new")]);
        }
        for i in (0..5060).step_by(101) {
            edits(&mut d, &[Edit::Remove { path: name(i), recursive: false }]);
        }
        close(d);
        image.is_clean("new names");
        let mut d = image.open(true);
        assert_eq!(d.ls("/many").expect("ls").len(), 5060 - 5060usize.div_ceil(101));
        assert_eq!(d.read(&name(17)).expect("read"), b"content");
        if block == "4096" {
            edits(&mut d, &[Edit::Remove { path: "/many".into(), recursive: true }]);
        }
        close(d);
        image.is_clean("all gone");
    }
}

/// Together they need a block of attributes, which e2fsck does not look for where a target is held inline.
#[test]
fn long_targets_with_labels() {
    for (shape, args) in SHAPES {
        let image = Image::make(args, 0);
        let name = image.path().to_string_lossy().into_owned();
        let label = format!("ea_set /etc security.selinux system_u:object_r:{}:s0", "t".repeat(40));
        assert_eq!(run("debugfs", &["-w", "-R", &label, &name]).0, 0);
        let targets = [1, 59, 60, 61, 81, 150, 1000].map(|n| "x".repeat(n));
        let mut d = image.open(true);
        for t in &targets {
            edits(&mut d, &[Edit::Symlink { path: format!("/etc/l{}", t.len()), target: t.clone() }]);
        }
        edits(&mut d, &[Edit::Copy { path: "/etc".into(), to: "/copy".into() }]);
        close(d);
        image.is_clean(shape);
        for t in &targets {
            for dir in ["etc", "copy"] {
                let (_, said) = run("debugfs", &["-R", &format!("stat /{dir}/l{}", t.len()), &name]);
                assert!(said.contains("security.selinux"), "{shape}: {said}");
                let found = image.open(false).stat(&format!("/{dir}/l{}", t.len())).expect("stat").expect("there");
                assert_eq!(found.target.as_ref(), Some(t), "{shape}");
            }
        }
    }
}

#[test]
fn a_full_disk_takes_nothing_half() {
    for (shape, args) in &SHAPES[..4] {
        let image = Image::make(args, 0);
        let mut d = image.open(true);
        let large = vec![1; 60 << 20];
        let before = d.ls("/etc").expect("ls");
        match d.edit(&write("/etc/large", &large)) {
            Err(Stop::Error(e)) => assert_eq!(e.code, Some(libc::ENOSPC), "{shape}: {e}"),
            other => panic!("{shape}: {other:?}"),
        }
        assert_eq!(d.ls("/etc").expect("ls"), before);
        edits(&mut d, &[write("/etc/hostname", b"still works")]);
        close(d);
        image.is_clean(shape);
        assert_eq!(image.open(false).read("/etc/hostname").expect("read"), b"still works");
    }
}

/// The check sees what e2fsck sees.
#[test]
fn damage_is_found() {
    for damage in [
        "clri /etc/hosts",
        "sif /etc/hosts links_count 3",
        "unlink /etc/hosts",
        "setb 3000 5",
        "freeb 1500 1",
        "ssv free_blocks_count 17",
        "set_bg 0 free_blocks_count 17",
        "set_bg 0 free_inodes_count 17",
        "freei /etc/hosts",
        "mi_links",
    ] {
        for args in [&["-t", "ext4", "-b", "4096"][..], &["-t", "ext3", "-b", "1024"]] {
            let image = Image::sized(args, 3, "14M");
            image.open(false).fsck().expect("clean");
            let name = image.path().to_string_lossy().into_owned();
            if damage == "mi_links" {
                run("debugfs", &["-w", "-R", "link /etc/hostname /etc/second", &name]);
            } else {
                run("debugfs", &["-w", "-R", damage, &name]);
            }
            let (code, said) = image.e2fsck("-fn");
            let mut d = match image.try_open(true) {
                Ok(d) => d,
                Err(Stop::Appliance(why)) => {
                    eprintln!("{damage}: {why}");
                    continue;
                }
                Err(e) => panic!("{damage}: {e:?}"),
            };
            match d.fsck() {
                Ok(()) => assert_eq!(code, 0, "{damage} {args:?}: {said}"),
                Err(Stop::Doubt(e)) => assert!(code != 0, "{damage}: {e}"),
                Err(e) => panic!("{damage}: {e:?}"),
            }
        }
    }
}

/// What it must leave to the appliance, and without having written.
#[test]
fn what_is_refused() {
    let image = Image::make(&["-t", "ext4"], 0);
    let before = std::fs::read(image.path()).expect("read");
    let refused = |reason: &str, writable: bool, offset: usize, bytes: &[u8]| {
        let mut changed = before.clone();
        changed[offset..offset + bytes.len()].copy_from_slice(bytes);
        std::fs::write(image.path(), &changed).expect("write");
        match image.try_open(writable) {
            Err(Stop::Appliance(why)) => assert!(why.contains(reason), "wanted `{reason}`: {why}"),
            Err(e) => panic!("{reason}: {e:?}"),
            Ok(_) => panic!("{reason}: taken"),
        }
        assert!(std::fs::read(image.path()).expect("read") == changed, "{reason}: written");
    };
    let word = |offset: usize, or: u32| {
        (u32::from_le_bytes(before[offset..offset + 4].try_into().expect("4")) | or).to_le_bytes()
    };
    for writable in [true, false] {
        refused("(needs_recovery)", writable, 1024 + 96, &word(1024 + 96, 0x4));
        refused("marked as having errors", writable, 1024 + 58, &[3, 0]);
        refused("not cleanly unmounted", writable, 1024 + 58, &[0, 0]);
        refused("not known (incompat 0x8000000)", writable, 1024 + 96, &word(1024 + 96, 0x800_0000));
        refused("multiple mount protection", writable, 1024 + 96, &word(1024 + 96, 0x100));
        refused("checksum", writable, 1024 + 1020, &[1, 2, 3, 4]);
        refused("is XFS", writable, 0, b"XFSB");
        refused("is LVM", writable, 512, b"LABELONE");
        refused("the feature bigalloc", writable, 1024 + 100, &word(1024 + 100, 0x200));
        refused("no partition table", writable, 1024 + 56, &[0, 0]);
    }
    refused("the feature quota", true, 1024 + 100, &word(1024 + 100, 0x100));
    refused("orphans have to be cleared", true, 1024 + 232, &[12, 0, 0, 0]);
}
