//! Names of images and snapshots, as the rbd tool writes them, and the progress of long calls.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// `pool/image` or `pool/namespace/image`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ImageSpec {
    pub pool: String,
    /// Empty for the default namespace.
    pub namespace: String,
    pub image: String,
}

impl ImageSpec {
    pub fn new(pool: &str, image: &str) -> ImageSpec {
        ImageSpec { pool: pool.into(), namespace: String::new(), image: image.into() }
    }

    /// An image beside this one: same pool and namespace.
    pub fn sibling(&self, image: &str) -> ImageSpec {
        ImageSpec { image: image.into(), ..self.clone() }
    }

    pub fn at(&self, snap: &str) -> SnapSpec {
        SnapSpec { image: self.clone(), snap: snap.into() }
    }
}

impl fmt::Display for ImageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.pool, self.image)
        } else {
            write!(f, "{}/{}/{}", self.pool, self.namespace, self.image)
        }
    }
}

impl FromStr for ImageSpec {
    type Err = Error;
    fn from_str(s: &str) -> Result<ImageSpec> {
        if s.contains('@') {
            return Err(Error::invalid("names a snapshot where an image is wanted")
                .subject(s)
                .hint("leave out the part from `@` on"));
        }
        let parts: Vec<&str> = s.split('/').collect();
        let (pool, namespace, image) = match parts[..] {
            [pool, image] => (pool, "", image),
            [pool, namespace, image] if !namespace.is_empty() => (pool, namespace, image),
            _ => ("", "", ""),
        };
        if pool.is_empty() || image.is_empty() || s.contains('\0') {
            return Err(Error::invalid("is not an image name")
                .subject(s)
                .hint("images are written `pool/image` or `pool/namespace/image`"));
        }
        Ok(ImageSpec { pool: pool.into(), namespace: namespace.into(), image: image.into() })
    }
}

impl From<ImageSpec> for String {
    fn from(s: ImageSpec) -> String {
        s.to_string()
    }
}

impl TryFrom<String> for ImageSpec {
    type Error = Error;
    fn try_from(s: String) -> Result<ImageSpec> {
        s.parse()
    }
}

/// `pool/image@snap`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SnapSpec {
    pub image: ImageSpec,
    pub snap: String,
}

impl fmt::Display for SnapSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.image, self.snap)
    }
}

impl FromStr for SnapSpec {
    type Err = Error;
    fn from_str(s: &str) -> Result<SnapSpec> {
        match s.split_once('@') {
            Some((image, snap)) if !snap.is_empty() && !snap.contains(['@', '/', '\0']) => {
                Ok(SnapSpec { image: image.parse()?, snap: snap.into() })
            }
            _ => {
                Err(Error::invalid("is not a snapshot name").subject(s).hint("snapshots are written `pool/image@snap`"))
            }
        }
    }
}

impl From<SnapSpec> for String {
    fn from(s: SnapSpec) -> String {
        s.to_string()
    }
}

impl TryFrom<String> for SnapSpec {
    type Error = Error;
    fn try_from(s: String) -> Result<SnapSpec> {
        s.parse()
    }
}

/// An image, or one of its snapshots, where a function reads from either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceSpec {
    pub image: ImageSpec,
    pub snap: Option<String>,
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.snap {
            Some(snap) => write!(f, "{}@{snap}", self.image),
            None => self.image.fmt(f),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = Error;
    fn from_str(s: &str) -> Result<SourceSpec> {
        if s.contains('@') {
            let s: SnapSpec = s.parse()?;
            Ok(SourceSpec { image: s.image, snap: Some(s.snap) })
        } else {
            Ok(SourceSpec { image: s.parse()?, snap: None })
        }
    }
}

impl From<&ImageSpec> for SourceSpec {
    fn from(image: &ImageSpec) -> SourceSpec {
        SourceSpec { image: image.clone(), snap: None }
    }
}

/// Set when the run is to stop: by a signal, a time-out, or a lost service.
#[derive(Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

/// One of them was set, once.
static IS_ANY_SET: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SHIELDED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Cancel {
    /// Runs `f` on this thread as if nobody had cancelled: rollback must not be cut short.
    pub fn shielded<T>(f: impl FnOnce() -> T) -> T {
        let before = SHIELDED.replace(true);
        let r = f();
        SHIELDED.set(before);
        r
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
        IS_ANY_SET.store(true, Ordering::SeqCst);
    }
    /// For a session, which goes on after one of its lines was stopped.
    pub fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
    /// Whether it is worth to ask for `is_set`, at the price of one load.
    pub fn is_any_set() -> bool {
        IS_ANY_SET.load(Ordering::Relaxed)
    }
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) && !SHIELDED.get()
    }
    /// For loops of ours: an error once the run is to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

/// How far a long call has come; and whether it should stop.
#[derive(Clone)]
pub struct Progress {
    pub cancel: Cancel,
    report: Arc<dyn Fn(u64, u64) + Send + Sync>,
}

impl Progress {
    pub fn new(cancel: Cancel, report: impl Fn(u64, u64) + Send + Sync + 'static) -> Progress {
        Progress { cancel, report: Arc::new(report) }
    }

    /// Reports to nobody and is never cancelled: for rollback, which must not be cut short.
    pub fn none() -> Progress {
        Progress::new(Cancel::default(), |_, _| {})
    }

    /// Says that `done` of `total` units are done. `Err` when the run is to stop.
    pub fn update(&self, done: u64, total: u64) -> Result<()> {
        (self.report)(done, total);
        self.cancel.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_names() {
        assert_eq!("p/a".parse::<ImageSpec>().map(|s| s.to_string()).ok(), Some("p/a".into()));
        let s: ImageSpec = "p/ns/a".parse().expect("three parts");
        assert_eq!((s.namespace.as_str(), s.to_string().as_str()), ("ns", "p/ns/a"));
        for bad in ["", "a", "/a", "p/", "p//a", "p/n/a/b", "p/a@s"] {
            assert_eq!(
                bad.parse::<ImageSpec>().map_err(|e| e.kind).err(),
                Some(crate::error::Kind::Invalid),
                "{bad:?}"
            );
        }
        for bad in ["p/a", "p/a@", "p/a@b@c", "@s"] {
            assert!(bad.parse::<SnapSpec>().is_err(), "{bad:?}");
        }
    }
}
