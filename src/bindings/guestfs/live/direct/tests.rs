//! On filesystems that mke2fs makes, judged by e2fsck. The lab's guests are in `guestfs/tests`.

mod below;
mod crash;
mod fuzz;
mod shapes;

use super::*;
use crate::bindings::guestfs::api::Edit;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use tempfile::TempDir;

/// A directory with an image `disk` in it.
struct Image(TempDir);

/// What differs between one guest's filesystem and the next.
const SHAPES: &[(&str, &[&str])] = &[
    ("ext4 as it comes", &["-t", "ext4", "-b", "4096"]),
    ("small blocks", &["-t", "ext4", "-b", "1024"]),
    (
        "new features",
        &["-t", "ext4", "-b", "4096", "-O", "inline_data,metadata_csum,64bit,orphan_file,metadata_csum_seed"],
    ),
    ("small blocks and inodes", &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "^64bit,^metadata_csum"]),
    ("inline data in small blocks", &["-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum"]),
    ("large inodes", &["-t", "ext4", "-b", "4096", "-I", "512", "-O", "inline_data,fast_commit"]),
    ("ext3", &["-t", "ext3", "-b", "4096"]),
    ("ext2", &["-t", "ext2", "-b", "1024"]),
];

fn run(program: &str, args: &[&str]) -> (i32, String) {
    let out = Command::new(program).args(args).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// The files of a small system, with a directory of `many` files.
fn small_root(dir: &Path, many: usize) {
    for d in ["etc", "usr/bin", "var/log", "many", "home/a/b", "boot"] {
        std::fs::create_dir_all(dir.join(d)).expect("a directory");
    }
    for (path, text) in [
        ("etc/hostname", "old\n"),
        ("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 old\n"),
        ("etc/os-release", "ID=debian\nVERSION_ID=12\n"),
        ("etc/shadow", "root:!:19000::::::\n"),
        ("usr/bin/env", "#!/bin/sh\n"),
        ("home/a/b/c", "deep"),
    ] {
        std::fs::write(dir.join(path), text).expect("a file");
    }
    std::fs::write(dir.join("var/log/large"), vec![b'x'; 3 << 20]).expect("a file");
    std::os::unix::fs::symlink("usr/bin", dir.join("bin")).expect("a symlink");
    for i in 0..many {
        std::fs::write(dir.join(format!("many/file-with-a-rather-long-name-{i:05}")), "").expect("a file");
    }
}

impl Image {
    fn make(args: &[&str], many: usize) -> Image {
        Image::sized(args, many, "48M")
    }

    fn sized(args: &[&str], many: usize, size: &str) -> Image {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        std::fs::create_dir(&root).expect("a directory");
        small_root(&root, many);
        let image = Image(dir);
        let (disk, root) = (image.path(), root.to_string_lossy().into_owned());
        let fixed = ["-q", "-F", "-d", &root, "-N", "7168"];
        let all = [&fixed[..], args, &[disk.to_str().expect("a name"), size]].concat();
        let (code, said) = run("mke2fs", &all);
        assert_eq!(code, 0, "{args:?}: {said}");
        image
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn open(&self, writable: bool) -> Box<Direct> {
        self.try_open(writable).unwrap_or_else(|e| panic!("{e:?}"))
    }

    fn try_open(&self, writable: bool) -> Result<Box<Direct>> {
        let file = File::options().read(true).write(writable).open(self.path()).expect("the image");
        let size = file.metadata().expect("its size").len();
        Direct::open(Arc::new(RawFile { file, size }), writable, &Cancel::default()).map(Box::new)
    }

    fn e2fsck(&self, how: &str) -> (i32, String) {
        run("e2fsck", &[how, self.path().to_str().expect("a name")])
    }

    fn is_clean(&self, after: &str) {
        let (code, said) = self.e2fsck("-fn");
        assert_eq!(code, 0, "{after}: {said}");
    }
}

fn write(path: &str, content: &[u8]) -> Edit {
    Edit::Write { path: path.into(), content: content.into(), mode: None, owner: None }
}

fn close(d: Box<Direct>) {
    d.close(&Cancel::default()).expect("close");
}

fn edits(d: &mut Direct, list: &[Edit]) {
    list.iter().for_each(|e| d.edit(e).unwrap_or_else(|why| panic!("{e:?}: {why:?}")));
}
