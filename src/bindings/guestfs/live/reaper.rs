//! What an open guest leaves on this host, and who clears it away if this process dies.

use crate::bindings::heir::Heir;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// Waits for a line. The end of input without one means that zs is dead: then the appliance's qemu, which bears the mark
/// on its kernel's command line, is killed; one that is about to start shows itself within two seconds. The mark comes by
/// the environment: on our own command line it would be found there. qemu makes a file in $TMPDIR for what is written to the
/// appliance's own disk, and unlinks it when it has opened it: killed in between it would leave the file, so one that has none
/// yet gets two seconds.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
read -r word && exit 0
quiet=0 n=0
while [ "$quiet" -lt 10 ] && [ "$n" -lt 100 ]; do
    quiet=$((quiet + 1)) n=$((n + 1))
    for process in /proc/[0-9]*; do
        line=
        { IFS= read -r line <"$process/cmdline"; } 2>/dev/null
        case $line in *"$ZS_MARK"*) ;; *) continue ;; esac
        quiet=0
        case $(ls -l "$process/fd" 2>/dev/null) in
        *"/vl."*" (deleted)"*) ;;
        *) [ "$n" -gt 10 ] || continue ;;
        esac
        sockets=${line##*,path=} sockets=${sockets%%/guestfsd.sock*}
        case $sockets in /*/libguestfs??????) rm -rf "$sockets" ;; esac
        kill -s KILL "${process#/proc/}" 2>/dev/null
    done
    sleep 0.2
done
rm -rf "$ZS_DIR"
"#;

/// A directory of its own, and a process that waits for our death.
pub struct Reaper {
    /// On the kernel's command line of the appliance.
    pub mark: String,
    pub dir: PathBuf,
    heir: Heir,
}

impl Reaper {
    pub fn start() -> Result<Reaper> {
        let dir = nix::unistd::mkdtemp(&std::env::temp_dir().join("zs-guest-XXXXXX"))
            .map_err(|e| Error::from(std::io::Error::from(e)).subject(std::env::temp_dir().display()))?;
        let mark = format!("zs.handle={}", uuid::Uuid::new_v4().simple());
        let env = [("ZS_MARK", mark.as_ref()), ("ZS_DIR", dir.as_os_str())];
        let heir = Heir::start("zs-guest-reaper", SCRIPT, &env).inspect_err(|_| {
            let _ = std::fs::remove_dir(&dir);
        })?;
        Ok(Reaper { mark, dir, heir })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let _ = self.heir.dismiss().wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
