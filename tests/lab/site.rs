//! The lab as tests see it.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

static TURN: Mutex<()> = Mutex::new(());

pub const TEMPLATE: &str = "z-ubuntu20-rbd";
pub const POOL: &str = "libvirt-pool";

pub struct Site {
    pub dir: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// The lab, for one test at a time. `None`, with the reason printed, when there is none; in CI that is a failure.
pub fn site() -> Option<Site> {
    if std::env::var("ZS_LAB").as_deref() != Ok("1") {
        assert!(std::env::var_os("CI").is_none(), "CI runs the tests of the lab, too: lab/test sets ZS_LAB=1");
        eprintln!("skipped: needs the lab; lab/test brings it up and sets ZS_LAB=1");
        return None;
    }
    let (turn, failed) = match TURN.lock() {
        Ok(turn) => (turn, false),
        Err(poisoned) => (PoisonError::into_inner(poisoned), true),
    };
    let dir = PathBuf::from(std::env::var("LAB_DIR").expect("LAB_DIR of the lab"));
    let site = Site { dir, _turn: turn };
    if failed {
        // What a test that failed may have left stopped must not fail all others after it.
        TURN.clear_poison();
        site.sh("timeout 120 lab/up");
    }
    Some(site)
}

pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

impl Run {
    #[track_caller]
    pub fn ok(self) -> Run {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    /// Failed with this kind and exit code, with a subject; no panic, nothing of a bug.
    #[track_caller]
    pub fn refused(self, kind: &str, code: i32) -> Run {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        assert!(self.err.contains(&format!("error[{kind}]")), "wanted {kind}:\n{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Run {
        assert!(self.err.contains(text) || self.out.contains(text), "wanted {text:?}:\n{}\n{}", self.out, self.err);
        self
    }
}

pub fn zs() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zs"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for a process, at most three minutes.
#[track_caller]
pub fn wait(mut child: Child) -> Run {
    use std::os::unix::process::ExitStatusExt;
    let begun = Instant::now();
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = out.read_to_end(&mut text);
        text
    });
    let read_err = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        text
    });
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(180) {
            child.kill().expect("killed");
            panic!("zs (pid {}) has not ended in three minutes", child.id());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        out: text(read.join().expect("output")),
        err: text(read_err.join().expect("errors")),
        took: begun.elapsed(),
    }
}

impl Site {
    #[track_caller]
    pub fn zs(&self, args: &[&str]) -> Run {
        self.zs_with(args, &[])
    }

    #[track_caller]
    pub fn zs_with(&self, args: &[&str], env: &[(&str, &str)]) -> Run {
        wait(zs().args(args).envs(env.iter().copied()).spawn().expect("zs starts"))
    }

    /// What a command of the lab prints; it must succeed.
    #[track_caller]
    pub fn sh(&self, command: &str) -> String {
        let (ok, text) = self.try_sh(command);
        assert!(ok, "{command}:\n{text}");
        text
    }

    pub fn try_sh(&self, command: &str) -> (bool, String) {
        let run = Command::new("bash")
            .args(["-c", &format!("set -eo pipefail; cd {}; {command}", env!("CARGO_MANIFEST_DIR"))])
            .stdin(Stdio::null())
            .output()
            .expect("bash");
        let mut text = String::from_utf8_lossy(&run.stdout).into_owned();
        if !run.status.success() {
            text += &String::from_utf8_lossy(&run.stderr);
        }
        (run.status.success(), text)
    }

    /// All that a run could leave behind or spoil, as lines. The template's snapshot `zs` is what clones share.
    pub fn state(&self) -> String {
        self.sh(&format!(
            "virsh -q list --all
             rbd ls {POOL} | sort
             rbd trash ls --all {POOL}
             rbd snap ls --all {POOL}/{TEMPLATE} | awk 'NR > 1 && $2 != \"zs\" {{print $2, $3}}'
             rbd image-meta ls {POOL}/{TEMPLATE} 2>/dev/null
             virsh dumpxml {TEMPLATE} | sha256sum
             ls $LAB_DIR/libvirt/lib/qemu/nvram
             sha256sum $LAB_DIR/libvirt/lib/qemu/nvram/{TEMPLATE}_VARS.fd
             ls $ZS_STATE_DIR | grep -vxE 'runs|history' || true"
        ))
    }

    /// Nothing pending, no appliance running on.
    #[track_caller]
    pub fn settled(&self) {
        let r = self.zs(&["recover"]).ok();
        assert!(r.err.contains("nothing to recover") || r.out.contains("nothing to recover"), "{}{}", r.out, r.err);
        let begun = Instant::now();
        while let (true, found) = self.try_sh("pgrep -af 'qemu.*guestfs' | grep -F \"$LAB_DIR/\"") {
            assert!(begun.elapsed() < Duration::from_secs(20), "an appliance runs on:\n{found}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub fn destroy(&self, name: &str) {
        self.zs(&["--yes", "destroy.rhai", name, "--purge", "--force"]).ok();
    }
}

/// A command at the end of a test, even when that fails: puts back what it stopped or spoilt.
pub struct After<'a>(pub &'a Site, pub &'a str);

impl Drop for After<'_> {
    fn drop(&mut self) {
        let (ok, text) = self.0.try_sh(self.1);
        if !ok {
            eprintln!("{}:\n{text}", self.1);
        }
    }
}

/// The disk of a VM as a file, read with e2fsprogs: none of the code under test.
pub struct Disk {
    file: PathBuf,
    offset: u64,
}

impl Disk {
    pub fn of(site: &Site, name: &str) -> Disk {
        let file = site.dir.join(format!("cache/test-{name}.raw"));
        let _ = std::fs::remove_file(&file);
        site.sh(&format!("rbd export --no-progress {POOL}/{name} {}", file.display()));
        let sectors = site.sh(&format!("sgdisk -i 2 {} | awk '/First sector/ {{print $3}}'", file.display()));
        let offset = sectors.trim().parse::<u64>().expect("the root partition") * 512;
        Disk { file, offset }
    }

    fn device(&self) -> String {
        format!("{}?offset={}", self.file.display(), self.offset)
    }

    #[track_caller]
    pub fn read(&self, site: &Site, path: &str) -> String {
        site.sh(&format!("debugfs -R 'cat {path}' '{}' 2>/dev/null", self.device()))
    }

    /// `e2fsck -fn` finds nothing.
    #[track_caller]
    pub fn is_clean(&self, site: &Site) {
        site.sh(&format!("e2fsck -fn '{}'", self.device()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
