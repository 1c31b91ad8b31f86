//! Writing that is cut off at any moment leaves the old or the new filesystem.

use super::*;

/// A disk whose power fails after so many bytes; what was not flushed may be lost too.
struct Failing {
    file: RawFile,
    left: Mutex<u64>,
}

impl Disk for Failing {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> ZsResult<()> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> ZsResult<()> {
        let mut left = self.left.lock().expect("left");
        let n = (*left).min(data.len() as u64);
        self.file.write_at(&data[..n as usize], offset)?;
        *left -= n;
        if n == data.len() as u64 { Ok(()) } else { Err(Error::failed("the power is off")) }
    }

    fn flush(&self) -> ZsResult<()> {
        Ok(())
    }

    fn size(&self) -> u64 {
        self.file.size
    }
}

/// Some edits with the power failing after `left` bytes; whether all was written.
fn edited(image: &Image, left: u64) -> bool {
    let file = File::options().read(true).write(true).open(image.path()).expect("the image");
    let size = file.metadata().expect("its size").len();
    let disk = Failing { file: RawFile { file, size }, left: Mutex::new(left) };
    let mut d = Box::new(Direct::open(Arc::new(disk), true, &Cancel::default()).expect("open"));
    edits(
        &mut d,
        &[
            write("/etc/hostname", b"new\n"),
            write("/etc/new", &vec![b'n'; 20_000]),
            Edit::Mkdir { path: "/var/dir".into(), mode: 0o755 },
            Edit::Rename { path: "/home/a".into(), to: "/var/dir/a".into() },
            Edit::Remove { path: "/var/log".into(), recursive: true },
        ],
    );
    d.close(&Cancel::default()).is_ok()
}

fn cut_at_each_block(args: &[&str]) -> (usize, usize) {
    let has_journal = !args.contains(&"ext2");
    let block = if args.contains(&"1024") { 1024 } else { 4096 };
    let image = Image::sized(args, 0, "14M");
    let before = std::fs::read(image.path()).expect("read");
    let (mut olds, mut news) = (0, 0);
    for n in 0.. {
        std::fs::write(image.path(), &before).expect("write");
        let done = edited(&image, n * block);
        if !has_journal {
            // All that ext2 promises: it is known to be in need of a check, and that mends it.
            let (code, said) = image.e2fsck("-fy");
            assert!(code <= 1, "cut at {n}: {said}");
            image.is_clean("ext2");
            if done {
                return (0, n as usize);
            }
            continue;
        }
        let (code, said) = image.e2fsck("-p");
        assert!(code <= 1, "cut at {n}: {code} {said}");
        image.is_clean(&format!("cut at {n}"));
        let mut d = image.open(true);
        let is_new = d.read("/etc/hostname").expect("read") == b"new\n";
        let there = ["/etc/new", "/var/dir/a/b/c"].map(|p| d.read(p).is_ok());
        let gone = ["/home/a", "/var/log/large"].map(|p| d.stat(p).expect("stat").is_none());
        assert_eq!([there, gone].concat(), [is_new; 4], "cut at {n}: half of it");
        if is_new {
            news += 1;
            assert_eq!(d.read("/etc/new").expect("read"), vec![b'n'; 20_000]);
        } else {
            olds += 1;
            assert_eq!(news, 0, "cut at {n}: old again");
        }
        if done {
            return (olds, news);
        }
    }
    unreachable!()
}

#[test]
fn a_cut_leaves_the_old_or_the_new() {
    for args in [&["-t", "ext4", "-b", "4096"][..], &["-t", "ext4", "-b", "1024"], &["-t", "ext3", "-b", "4096"]] {
        let (olds, news) = cut_at_each_block(args);
        assert!(olds > 5 && news > 3, "{olds} {news}");
    }
}

#[test]
fn a_cut_without_a_journal_can_be_mended() {
    cut_at_each_block(&["-t", "ext2", "-b", "1024"]);
}

/// Features and kind of a journal. The kernel gives it some of its own at the first mount.
const JOURNALS: [(u32, u32); 7] =
    [(0, 4), (0x2, 4), (0x8 | 0x2, 4), (0x10 | 0x2 | 0x1, 4), (0x10, 4), (0x8, 4), (0, 3)];

/// Cut off where such a journal is valid, and all else as it was but for `more` blocks.
fn with_full_journal((incompat, version): (u32, u32), more: u64) -> Image {
    // A kernel that finds these gives the journal features, which the old kind cannot have.
    let features = if version == 3 { "^64bit,^metadata_csum" } else { "64bit,metadata_csum" };
    let image = Image::sized(&["-t", "ext4", "-b", "4096", "-O", features], 0, "14M");
    let journal = {
        let path = image.path();
        let (_, said) = run("debugfs", &["-R", "blocks <8>", path.to_str().expect("a name")]);
        said.split_whitespace().find_map(|w| w.parse::<usize>().ok()).expect("a block")
    };
    let mut disk = std::fs::read(image.path()).expect("read");
    let head = &mut disk[journal * 4096..][..1024];
    head[4..8].copy_from_slice(&version.to_be_bytes());
    head[40..44].copy_from_slice(&incompat.to_be_bytes());
    if incompat & 0x18 != 0 {
        head[80] = 4;
        head[252..256].fill(0);
        let sum = features::crc32c(!0, head);
        head[252..256].copy_from_slice(&sum.to_be_bytes());
    }
    let cut = |at: u64| {
        std::fs::write(image.path(), &disk).expect("write");
        let done = edited(&image, at);
        let now = std::fs::read(image.path()).expect("read");
        now[journal * 4096 + 28..][..4] != [0; 4] && !done
    };
    let at = (4..60).map(|n| n * 4096).find(|at| cut(*at));
    let at = at.unwrap_or_else(|| panic!("{incompat:#x}: the journal was never in use"));
    assert!(more == 0 || cut(at + more * 4096), "{incompat:#x}: it is in use no more");
    image
}

#[test]
fn journals_of_all_kinds() {
    for kind in JOURNALS {
        let image = with_full_journal(kind, 0);
        let (code, said) = image.e2fsck("-p");
        assert!(code <= 1 && said.contains("recovering journal"), "{kind:x?}: {said}");
        image.is_clean("replayed");
        assert_eq!(image.open(false).read("/etc/hostname").expect("read"), b"new\n", "{kind:x?}");
    }
}

/// The same by what reads them in earnest: a kernel that mounts the disk.
#[test]
fn a_kernel_replays_them() {
    if !crate::bindings::ceph::tests::on_lab() {
        return;
    }
    let images: Vec<Image> = (0..).zip(JOURNALS).map(|(i, kind)| with_full_journal(kind, i % 4)).collect();
    let disks: Vec<PathBuf> = images.iter().map(Image::path).collect();
    let mut args = vec!["--rw", "--format=raw"];
    for disk in &disks {
        args.extend(["-a", disk.to_str().expect("a name")]);
    }
    let devices: Vec<String> = ('a'..='g').map(|c| format!("/dev/sd{c}")).collect();
    args.push("run");
    for device in &devices {
        args.extend([":", "mount", device, "/", ":", "cat", "/etc/hostname", ":", "ls", "/var", ":", "umount", "/"]);
    }
    let (code, said) = run("guestfish", &args);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().filter(|l| !l.is_empty()).collect();
    assert_eq!(lines, ["new", "dir"].repeat(JOURNALS.len()), "{said}");
    for (image, kind) in images.iter().zip(JOURNALS) {
        image.is_clean(&format!("{kind:x?} by a kernel"));
        assert_eq!(image.open(false).read("/etc/new").expect("read"), vec![b'n'; 20_000], "{kind:x?}");
    }
}
