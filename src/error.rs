//! The one error type: what failed, on which object, why, and what to do about it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What sort of failure it was. Scripts see it as `e.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    NotFound,
    Exists,
    Busy,
    Denied,
    Invalid,
    Unsupported,
    Unreachable,
    Timeout,
    Interrupted,
    Failed,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::NotFound,
        Kind::Exists,
        Kind::Busy,
        Kind::Denied,
        Kind::Invalid,
        Kind::Unsupported,
        Kind::Unreachable,
        Kind::Timeout,
        Kind::Interrupted,
        Kind::Failed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Exists => "exists",
            Kind::Busy => "busy",
            Kind::Denied => "denied",
            Kind::Invalid => "invalid",
            Kind::Unsupported => "unsupported",
            Kind::Unreachable => "unreachable",
            Kind::Timeout => "timeout",
            Kind::Interrupted => "interrupted",
            Kind::Failed => "failed",
        }
    }

    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Nobody has said whether it was done: the answer did not come, or came too late.
    pub fn is_unsure(self) -> bool {
        matches!(self, Kind::Unreachable | Kind::Timeout | Kind::Interrupted)
    }

    /// A refusal: nothing was done. `failed` may also mean half done.
    pub fn is_refusal(self) -> bool {
        !self.is_unsure() && self != Kind::Failed
    }

    /// DESIGN section 2: the exit code of a run that ends with this error.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Denied => 3,
            Kind::Unreachable => 4,
            Kind::Interrupted => 130,
            _ => 1,
        }
    }
}

/// An error. `Display` gives one line and never the source; the report walks the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Error {
    pub kind: Kind,
    /// The operation in the backend's words: `rbd.clone`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The object: `libvirt-pool/z-k8s-m-3`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    pub message: String,
    /// errno, or libvirt's error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<Error>>,
    /// The single failures of `parallel` or of a list of findings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Error>,
    /// Wrong use of the command line (exit code 2), whatever the kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage: bool,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error {
            kind,
            op: String::new(),
            subject: String::new(),
            message: message.into(),
            code: None,
            hint: None,
            source: None,
            errors: Vec::new(),
            usage: false,
        }
    }

    pub fn not_found(m: impl Into<String>) -> Error {
        Error::new(Kind::NotFound, m)
    }
    pub fn exists(m: impl Into<String>) -> Error {
        Error::new(Kind::Exists, m)
    }
    pub fn busy(m: impl Into<String>) -> Error {
        Error::new(Kind::Busy, m)
    }
    pub fn denied(m: impl Into<String>) -> Error {
        Error::new(Kind::Denied, m)
    }
    pub fn invalid(m: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, m)
    }
    pub fn unsupported(m: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, m)
    }
    pub fn unreachable(m: impl Into<String>) -> Error {
        Error::new(Kind::Unreachable, m)
    }
    pub fn timeout(m: impl Into<String>) -> Error {
        Error::new(Kind::Timeout, m)
    }
    pub fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "interrupted")
    }
    pub fn failed(m: impl Into<String>) -> Error {
        Error::new(Kind::Failed, m)
    }

    /// Sets the operation unless a deeper layer has set it.
    pub fn op(mut self, op: impl Into<String>) -> Error {
        if self.op.is_empty() {
            self.op = op.into();
        }
        self
    }

    /// Sets the object unless a deeper layer has set it.
    pub fn subject(mut self, subject: impl fmt::Display) -> Error {
        if self.subject.is_empty() {
            self.subject = subject.to_string();
        }
        self
    }

    pub fn code(mut self, code: i32) -> Error {
        self.code = Some(code);
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub fn caused_by(mut self, source: Error) -> Error {
        self.source = Some(Box::new(source));
        self
    }

    pub fn usage(mut self) -> Error {
        self.usage = true;
        self
    }

    pub fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { self.kind.exit_code() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]", self.kind.name())?;
        match (self.op.as_str(), self.subject.as_str()) {
            ("", "") => {}
            ("", s) => write!(f, " {s}:")?,
            (o, "") => write!(f, " {o}:")?,
            (o, s) => write!(f, " {o} {s}:")?,
        }
        write!(f, " {}", self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Error {
        use std::io::ErrorKind as K;
        let kind = match e.kind() {
            K::NotFound => Kind::NotFound,
            K::AlreadyExists => Kind::Exists,
            K::PermissionDenied => Kind::Denied,
            K::TimedOut => Kind::Timeout,
            K::InvalidInput | K::InvalidData => Kind::Invalid,
            _ => Kind::Failed,
        };
        let mut err = Error::new(kind, e.to_string());
        err.code = e.raw_os_error();
        err
    }
}

/// The one of `names` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|n| (strsim::damerau_levenshtein(word, n), n))
        .filter(|(d, n)| *d <= 1 + n.len() / 4)
        .min()
        .map(|(_, n)| n)
}
