//! One connection for the whole run, made when the first question is asked.

use super::super::parse;
use super::super::sys::{Errno, IoCtx, Rados};
use super::osds::Osds;
use super::stall::{self, Watch};
use crate::bindings::live::{Live, Settings};
use crate::bindings::spec::Cancel;
use crate::error::{Error, Kind, Result, nearest};
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// Seconds after which a monitor that does not answer counts as unreachable.
pub(super) const MON_TIMEOUT: u64 = 10;
/// What an operation may take once the OSDs have answered (see `osds`): a disk in recovery may take its time, and an
/// operation cut off is half done. `rados_osd_op_timeout` in ceph.conf or $CEPH_ARGS says otherwise.
const OSD_TIMEOUT: u64 = 30;
pub(super) const OSD_OPTION: &CStr = c"rados_osd_op_timeout";

/// The connection to the cluster; `Default` is not connected.
#[derive(Default)]
pub struct Cluster {
    rados: Mutex<Option<Arc<Rados>>>,
    failures: Mutex<Option<Error>>,
    attempts: AtomicU64,
    pub(super) osds: Mutex<Osds>,
    /// Seconds that an operation may take.
    osd_limit: OnceLock<u64>,
    pub(super) commands: OnceLock<BTreeMap<String, parse::Command>>,
}

/// `libvirt`; people also write `client.libvirt`.
pub(super) fn id(settings: &Settings) -> &str {
    match settings.ceph_id.trim() {
        "" => "admin",
        id => id.strip_prefix("client.").unwrap_or(id),
    }
}

impl Live {
    /// The connection. Threads that waited while another one failed get its error instead of a wait of their own.
    pub(crate) fn rados(&self) -> Result<Arc<Rados>> {
        let cluster = &self.cluster;
        let seen = cluster.attempts.load(Ordering::SeqCst);
        let mut rados = cluster.rados.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(r) = rados.as_ref() {
            return Ok(r.clone());
        }
        let mut failure = cluster.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(e), true) = (failure.as_ref(), cluster.attempts.load(Ordering::SeqCst) != seen) {
            return Err(e.clone());
        }
        match connect(&self.settings, &self.cancel) {
            Ok(r) => {
                let r = Arc::new(r);
                stall::watch(Watch {
                    rados: Arc::downgrade(&r),
                    cancel: self.cancel.clone(),
                    notice: self.notice.clone(),
                    abandon: self.abandon.clone(),
                    limit: *cluster.osd_limit.get_or_init(|| osd_limit(&r)),
                });
                *rados = Some(r.clone());
                *failure = None;
                Ok(r)
            }
            Err(e) => {
                cluster.attempts.fetch_add(1, Ordering::SeqCst);
                *failure = Some(e.clone());
                Err(e)
            }
        }
    }

    /// A pool and namespace to work in.
    pub(crate) fn ioctx(&self, pool: &str, namespace: &str) -> Result<Arc<IoCtx>> {
        let rados = self.rados()?;
        let io = IoCtx::create(&rados, pool, namespace).map_err(|e| match e.0 {
            libc::ENOENT => no_pool(&rados, pool),
            _ => self.ceph_error(e, pool),
        })?;
        let io = Arc::new(io);
        self.ask_osds(&io, pool)?;
        Ok(io)
    }

    /// `client.libvirt`.
    pub(crate) fn ceph_user(&self) -> String {
        format!("client.{}", id(&self.settings))
    }

    /// What an errno means when nothing more is known than the object.
    pub(crate) fn ceph_error(&self, errno: Errno, subject: impl std::fmt::Display) -> Error {
        let e = Error::new(parse::kind(errno), parse::words(errno)).subject(subject).code(errno.0);
        match errno.0 {
            libc::ETIMEDOUT => {
                self.doubt_osds();
                let limit = self.cluster.osd_limit.get().unwrap_or(&OSD_TIMEOUT);
                let message = format!(
                    "no answer from the OSDs in {limit} s (or from the monitors in {MON_TIMEOUT} s); whether it was done \
                     is unknown"
                );
                Error { message, ..e }.hint("`ceph health detail` says what is slow or down")
            }
            libc::EPERM | libc::EACCES => Error {
                message: format!("{} has no right to do this ({})", self.ceph_user(), parse::words(errno)),
                ..e
            },
            libc::ESHUTDOWN => Error { message: "the cluster has shut this client out (blocklisted)".into(), ..e }
                .hint("`ceph osd blocklist ls`; another client took the exclusive lock away"),
            libc::ENOSPC => Error { message: "the cluster is full".into(), ..e }.hint("`ceph df`, `ceph osd df`"),
            _ => e,
        }
    }
}

fn no_pool(rados: &Rados, pool: &str) -> Error {
    let e = Error::not_found("there is no such pool").subject(pool).code(libc::ENOENT);
    let names = rados.pool_names().unwrap_or_default();
    match nearest(pool, names.iter().map(String::as_str)) {
        Some(n) => e.hint(format!("did you mean `{n}`?")),
        None => e,
    }
}

/// The file that is read, as far as it can be told from outside.
pub(super) fn conf_name(settings: &Settings) -> String {
    if let Some(p) = &settings.ceph_conf {
        return format!("conf {}", p.display());
    }
    if let Some(p) = std::env::var_os("CEPH_CONF") {
        return format!("conf {} of $CEPH_CONF", Path::new(&p).display());
    }
    let home = std::env::var_os("HOME").map(|h| Path::new(&h).join(".ceph/ceph.conf"));
    let found = [Some("/etc/ceph/ceph.conf".into()), home].into_iter().flatten().find(|p| p.exists());
    found.map_or("no conf found".into(), |p| format!("conf {}", p.display()))
}

/// Whether the cluster takes this key for `client.USER`.
pub(crate) fn key_fits(live: &Live, user: &str, key: &[u8]) -> Result<bool> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let settings = Settings { ceph_id: user.into(), ..live.settings.clone() };
    match connect_by(&settings, &live.cancel, Some(&STANDARD.encode(key))) {
        Ok(_) => Ok(true),
        Err(e) if e.kind == Kind::Denied || e.code == Some(libc::EINVAL) => Ok(false),
        Err(e) => Err(e),
    }
}

/// What is configured; no limit at all, as librados has it, would be for ever.
fn osd_limit(rados: &Rados) -> u64 {
    let given = rados.conf_get(OSD_OPTION).ok().and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    if given >= 1.0 { given as u64 } else { OSD_TIMEOUT }
}

fn connect(settings: &Settings, cancel: &Cancel) -> Result<Rados> {
    connect_by(settings, cancel, None)
}

fn connect_by(settings: &Settings, cancel: &Cancel, key: Option<&str>) -> Result<Rados> {
    let failed = |e: Errno| Error::new(parse::kind(e), parse::words(e)).code(e.0);
    let rados = Rados::create(id(settings))?.map_err(|e| failed(e).op("ceph.connect"))?;
    read_conf(&rados, settings)?;
    rados.conf_parse_env().map_err(|e| failed(e).subject("$CEPH_ARGS").op("ceph.connect"))?;
    let (mon, osd) = (MON_TIMEOUT.to_string(), osd_limit(&rados).to_string());
    for (option, value) in [
        (c"client_mount_timeout", mon.as_str()),
        (c"rados_mon_op_timeout", mon.as_str()),
        (OSD_OPTION, osd.as_str()),
        (c"log_to_stderr", "false"),
        (c"err_to_stderr", "false"),
    ] {
        rados.conf_set(option, value).map_err(|e| failed(e).subject(option.to_string_lossy()))?;
    }
    if let Some(key) = key {
        rados.conf_set(c"key", key).map_err(|e| failed(e).subject("key"))?;
    }
    let monitors = rados.conf_get(c"mon_host").unwrap_or_default();
    let keys = Keys {
        // A key given by itself beats all keyrings; its text stays inside librados.
        given: [c"key", c"keyfile"].iter().any(|o| rados.conf_get(o).is_ok_and(|v| !v.is_empty())),
        keyrings: rados.conf_get(c"keyring").unwrap_or_default(),
        user: format!("client.{}", id(settings)),
    };
    // On a thread of its own: Ctrl-C need not wait for monitors that do not answer. A connection that comes too late
    // is dropped there.
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome = rados.connect();
        let _ = tx.send((rados, outcome));
    });
    let start = Instant::now();
    loop {
        match rx.recv_timeout(Duration::from_millis(50)) {
            Ok((rados, Ok(()))) => return Ok(rados),
            Ok((_, Err(e))) => {
                let refused = matches!(e.0, libc::EACCES | libc::EPERM) && keys.at_hand();
                let exists = if refused && key.is_none() && id(settings) != "admin" {
                    user_exists(settings, cancel)
                } else {
                    None
                };
                return Err(explain(e, settings, &monitors, &keys, exists));
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Error::failed("librados gave up")),
            Err(mpsc::RecvTimeoutError::Timeout) => cancel.check().map_err(|e| e.op("ceph.connect"))?,
        }
        // Names of monitors that no server resolves can hold librados up for longer than its own limit.
        if start.elapsed() > Duration::from_secs(MON_TIMEOUT + 3) {
            return Err(explain(Errno(libc::ETIMEDOUT), settings, &monitors, &keys, None));
        }
    }
}

/// Since CVE-2021-20288 the monitors do not tell a stranger whether a user exists. Where client.admin's key is at hand,
/// as on the machine of whoever mends it, it is asked.
fn user_exists(settings: &Settings, cancel: &Cancel) -> Option<bool> {
    let admin = connect(&Settings { ceph_id: "admin".into(), ..settings.clone() }, cancel).ok()?;
    let question = json!({"prefix": "auth get", "entity": format!("client.{}", id(settings)), "format": "json"});
    match admin.mon_command(&question.to_string()).outcome {
        Ok(()) => Some(true),
        Err(e) if e.0 == libc::ENOENT => Some(false),
        Err(_) => None,
    }
}

fn read_conf(rados: &Rados, settings: &Settings) -> Result<()> {
    let path = match &settings.ceph_conf {
        None => None,
        Some(p) => {
            Some(CString::new(p.as_os_str().as_encoded_bytes()).map_err(|_| Error::invalid("is not a path").usage())?)
        }
    };
    rados.conf_read_file(path.as_deref()).map_err(|e| {
        let message = match (e.0, settings.ceph_conf.is_some() || std::env::var_os("CEPH_CONF").is_some()) {
            (libc::ENOENT, true) => format!("there is no {}", conf_name(settings)),
            (libc::ENOENT, false) => "there is no ceph.conf here".to_string(),
            (libc::EINVAL, _) => format!("cannot make sense of {}", conf_name(settings)),
            _ => format!("cannot read {}: {}", conf_name(settings), parse::words(e)),
        };
        Error::unreachable(message)
            .op("ceph.connect")
            .code(e.0)
            .hint("say where it is: `--ceph-conf FILE`, `[ceph] conf` in zs.toml, $CEPH_CONF, or /etc/ceph/ceph.conf")
    })
}

/// Which errno stands for "no key at hand" depends on the protocol (ENOENT, EPERM, or EACCES as for a wrong key), so
/// the keyrings are looked at. `exists`: whether the cluster knows the user, where that could be found out.
fn explain(errno: Errno, settings: &Settings, monitors: &str, keys: &Keys, exists: Option<bool>) -> Error {
    let user = &keys.user;
    let conf = conf_name(settings);
    let (kind, message, hint) = match errno.0 {
        libc::ENOENT | libc::EINVAL if monitors.is_empty() => {
            (Kind::Unreachable, format!("no monitor is named (`mon_host` in {conf})"), String::new())
        }
        libc::ENOENT | libc::EPERM | libc::EACCES if !keys.at_hand() => (
            Kind::Denied,
            format!("no key for user {user} here: {} ({conf})", keys.searched()),
            format!(
                "if the user exists: `ceph auth get {user} > /etc/ceph/ceph.{user}.keyring` on a machine with \
                 client.admin; else it is made by `zs pool.rhai --user {}`, or choose another with --ceph-id",
                id(settings)
            ),
        ),
        libc::EACCES | libc::EPERM if exists == Some(false) => (
            Kind::Denied,
            format!("the cluster knows no user {user} ({conf})"),
            format!("`zs pool.rhai --user {}` makes it; or choose another with --ceph-id", id(settings)),
        ),
        libc::EACCES | libc::EPERM => {
            let perhaps = if exists.is_none() { ", or the cluster does not know the user" } else { "" };
            (
                Kind::Denied,
                format!(
                    "the cluster refuses the key of {user}: it is not the cluster's (rotated?){perhaps}: {} ({conf})",
                    keys.searched()
                ),
                format!("compare with `ceph auth get {user}`; `zs pool.rhai --check` also compares the libvirt secret"),
            )
        }
        libc::EIO => (Kind::Denied, format!("the key of {user} is garbled: {}", keys.searched()), String::new()),
        libc::EOPNOTSUPP => (
            Kind::Denied,
            format!("{user} and the cluster have no way of authentication in common ({conf})"),
            "`auth_client_required` in the conf must be what the cluster wants, usually cephx".into(),
        ),
        libc::EINVAL => (
            Kind::Unreachable,
            format!("the monitors `{monitors}` are not addresses, or their names cannot be resolved ({conf})"),
            String::new(),
        ),
        libc::ETIMEDOUT => (
            Kind::Unreachable,
            format!("no monitor of {monitors} answered in {MON_TIMEOUT} s (user {user}, {conf})"),
            String::new(),
        ),
        _ => (
            Kind::Unreachable,
            format!("cannot connect to {monitors}: {} (user {user}, {conf})", parse::words(errno)),
            String::new(),
        ),
    };
    let e = Error::new(kind, message).op("ceph.connect").code(errno.0);
    if hint.is_empty() { e } else { e.hint(hint) }
}

/// Where librados looks for the key of a user. No word of what it finds there.
struct Keys {
    given: bool,
    keyrings: String,
    user: String,
}

impl Keys {
    fn files(&self) -> impl Iterator<Item = &str> {
        self.keyrings.split([',', ';', ' ']).filter(|f| !f.is_empty())
    }

    fn has_user(&self, file: &str) -> std::io::Result<bool> {
        let text = std::fs::read_to_string(file)?;
        Ok(text.lines().any(|l| l.trim().strip_prefix('[').and_then(|l| l.strip_suffix(']')) == Some(&self.user)))
    }

    /// librados takes the first keyring that it can read, and no other.
    fn at_hand(&self) -> bool {
        self.given || self.files().find_map(|f| self.has_user(f).ok()).unwrap_or(false)
    }

    fn searched(&self) -> String {
        let state = |file: &str| match self.has_user(file) {
            Ok(true) => "has the user",
            Ok(false) => "has other users only",
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "missing",
            Err(_) => "not readable",
        };
        let said: Vec<String> = self.files().map(|f| format!("{f} ({})", state(f))).collect();
        if said.is_empty() { "no keyring is configured".into() } else { said.join(", ") }
    }
}
