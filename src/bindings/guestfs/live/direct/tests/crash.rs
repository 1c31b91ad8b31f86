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

/// The kernel gives a journal features of its own at the first mount.
#[test]
fn journals_of_all_kinds() {
    for (incompat, version) in
        [(0u32, 4u32), (0x2, 4), (0x8 | 0x2, 4), (0x10 | 0x2 | 0x1, 4), (0x10, 4), (0x8, 4), (0, 3)]
    {
        let image = Image::sized(&["-t", "ext4", "-b", "4096"], 0, "14M");
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
        std::fs::write(image.path(), &disk).expect("write");
        // To the point where the journal is valid and nothing is in its place yet.
        let mut seen = false;
        for n in (4..60).map(|n| n * 4096) {
            std::fs::write(image.path(), &disk).expect("write");
            let done = edited(&image, n);
            let sb = std::fs::read(image.path()).expect("read");
            let start = &sb[journal * 4096 + 28..][..4];
            if start != [0; 4] && !done {
                seen = true;
                let (code, said) = image.e2fsck("-p");
                assert!(code <= 1 && said.contains("recovering journal"), "{incompat:#x}: {said}");
                image.is_clean("replayed");
                assert_eq!(image.open(false).read("/etc/hostname").expect("read"), b"new\n", "{incompat:#x}");
                break;
            }
        }
        assert!(seen, "{incompat:#x}: the journal was never in use");
    }
}
