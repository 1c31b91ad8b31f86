//! Scripts that a guest runs once, when it starts for the first time.

use super::super::api::Edit;
use super::{Files, mkdir_p, selinux, write_bytes};
use crate::error::{Error, Result};

const RUNNER: &str = "/usr/lib/zs/firstboot";
const SCRIPTS: &str = "/usr/lib/zs/firstboot.d";
const UNIT: &str = "/etc/systemd/system/zs-firstboot.service";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";

const RUNNER_TEXT: &str = r#"#!/bin/sh
# Made by zs: runs each script of firstboot.d once, in the order of their numbers. What they say is in the log.
scripts=/usr/lib/zs/firstboot.d
done=/usr/lib/zs/firstboot.done
log=/var/log/zs-firstboot.log
mkdir -p "$done"
for script in "$scripts"/*; do
    [ -f "$script" ] || continue
    name=${script##*/}
    # Moved first: one that reboots must not run again.
    mv "$script" "$done/$name"
    echo "$(date): $name" >>"$log"
    "$done/$name" >>"$log" 2>&1
    echo "$(date): $name ended with $?" >>"$log"
done
"#;

const UNIT_TEXT: &str = "[Unit]
Description=Scripts that zs has left for the first boot
After=network.target
ConditionDirectoryNotEmpty=/usr/lib/zs/firstboot.d

[Service]
Type=oneshot
ExecStart=/usr/lib/zs/firstboot
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
";

const INIT_TEXT: &str = "#!/bin/sh
### BEGIN INIT INFO
# Provides: zs-firstboot
# Required-Start: $local_fs $network
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop:
# Short-Description: Scripts that zs has left for the first boot
### END INIT INFO
case \"$1\" in start) /usr/lib/zs/firstboot ;; esac
";

/// Leaves a script for the guest's next start: as root, once, after those left before. Its output goes to
/// `/var/log/zs-firstboot.log`. Without `#!` it is sh's.
///
/// # Errors
/// `invalid` for a name that no file of a script can have; `unsupported` in a guest without systemd and rc scripts.
///
/// # Example
/// `firstboot(f, "grow", "resize2fs /dev/vda2")`.
pub fn firstboot(f: &mut dyn Files, name: &str, script: &str) -> Result<()> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(Error::invalid("is no name for a script").subject(name).hint("letters, digits, `.`, `_`, `-`"));
    }
    let start = start(f)?;
    mkdir_p(f, SCRIPTS)?;
    let there = f.ls(SCRIPTS)?;
    let own = |n: &&String| n.split_once('-').is_some_and(|(number, rest)| number.len() == 4 && rest == name);
    let number = |n: &String| n.split_once('-').and_then(|(number, _)| number.parse::<u32>().ok());
    // The same name again is the same script, renewed.
    let file = match there.iter().find(own) {
        Some(file) => file.clone(),
        None => format!("{:04}-{name}", there.iter().filter_map(number).max().unwrap_or(0) + 1),
    };
    let text = if script.starts_with("#!") { script.to_string() } else { format!("#!/bin/sh\n{script}") };
    let text = if text.ends_with('\n') { text } else { text + "\n" };
    executable(f, &format!("{SCRIPTS}/{file}"), &text, 0o700)?;
    executable(f, RUNNER, RUNNER_TEXT, 0o755)?;
    match start {
        Start::Systemd => {
            mkdir_p(f, WANTS)?;
            write_bytes(f, UNIT, UNIT_TEXT.into(), Some(0o644), Some((0, 0)))?;
            link(f, &format!("{WANTS}/zs-firstboot.service"), UNIT)?;
        }
        Start::Rc { init, levels } => {
            let service = format!("{init}/zs-firstboot");
            executable(f, &service, INIT_TEXT, 0o755)?;
            for dir in levels {
                link(f, &format!("{dir}/S99zs-firstboot"), &service)?;
            }
        }
    }
    selinux::relabel(f)
}

enum Start {
    Systemd,
    /// Where the scripts are, and those of the run levels.
    Rc {
        init: String,
        levels: Vec<String>,
    },
}

/// What starts the guest's services.
fn start(f: &mut dyn Files) -> Result<Start> {
    for path in ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"] {
        if f.stat(path)?.is_some() {
            return Ok(Start::Systemd);
        }
    }
    for (init, base) in [("/etc/init.d", "/etc"), ("/etc/rc.d/init.d", "/etc/rc.d")] {
        let mut levels = Vec::new();
        for n in 2..=5 {
            let dir = format!("{base}/rc{n}.d");
            if f.stat(&dir)?.is_some() {
                levels.push(dir);
            }
        }
        if f.stat(init)?.is_some() && !levels.is_empty() {
            return Ok(Start::Rc { init: init.into(), levels });
        }
    }
    Err(Error::unsupported("the guest has neither systemd nor rc scripts")
        .hint("write what its own start-up runs: g.write(path, text, #{ mode: 0o755 })"))
}

fn executable(f: &mut dyn Files, path: &str, text: &str, mode: u32) -> Result<()> {
    write_bytes(f, path, text.into(), Some(mode), Some((0, 0)))
}

fn link(f: &mut dyn Files, path: &str, target: &str) -> Result<()> {
    if f.stat(path)?.is_some() {
        return Ok(());
    }
    f.stage(Edit::Symlink { path: path.into(), target: target.into() })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Mem;
    use super::*;
    use crate::error::Kind;

    #[test]
    fn with_systemd() {
        let mut m = Mem::of(&[("/usr/lib/systemd/systemd", "ELF"), ("/etc/selinux/config", "SELINUX=enforcing\n")]);
        firstboot(&mut m, "grow", "resize2fs /dev/vda2").expect("left");
        firstboot(&mut m, "hello", "#!/bin/bash\necho hello\n").expect("left");
        assert_eq!(m.ls(SCRIPTS).expect("ls"), ["0001-grow", "0002-hello"]);
        assert_eq!(m.text("/usr/lib/zs/firstboot.d/0001-grow"), "#!/bin/sh\nresize2fs /dev/vda2\n");
        assert_eq!(m.text("/usr/lib/zs/firstboot.d/0002-hello"), "#!/bin/bash\necho hello\n");
        assert_eq!((m.mode("/usr/lib/zs/firstboot.d/0001-grow"), m.mode(RUNNER)), (0o700, 0o755));
        let wanted = m.stat(&format!("{WANTS}/zs-firstboot.service")).expect("stat").expect("there");
        assert_eq!(wanted.target.as_deref(), Some(UNIT));
        assert!(m.stat("/.autorelabel").expect("stat").is_some());
        firstboot(&mut m, "grow", "true").expect("renewed");
        assert_eq!(m.ls(SCRIPTS).expect("ls"), ["0001-grow", "0002-hello"]);
        assert_eq!(m.text("/usr/lib/zs/firstboot.d/0001-grow"), "#!/bin/sh\ntrue\n");
    }

    #[test]
    fn with_rc_scripts_or_without() {
        let mut m = Mem::of(&[("/etc/init.d/README", ""), ("/etc/rc2.d/README", ""), ("/etc/rc6.d/README", "")]);
        firstboot(&mut m, "a", "true").expect("left");
        let link = m.stat("/etc/rc2.d/S99zs-firstboot").expect("stat").expect("there");
        assert_eq!(link.target.as_deref(), Some("/etc/init.d/zs-firstboot"));
        assert!(m.stat("/etc/rc6.d/S99zs-firstboot").expect("stat").is_none());
        let mut m = Mem::of(&[("/etc/init.d/rcS", "")]);
        assert_eq!(firstboot(&mut m, "a", "true").expect_err("none").kind, Kind::Unsupported);
        assert_eq!(firstboot(&mut m, "a/b", "true").expect_err("a path").kind, Kind::Invalid);
        assert!(m.edits.is_empty());
    }
}
