//! libvirt's errors as ours.

use crate::error::{Error, Kind, Result};
use virt::sys;

/// Turns a result of `virt` into ours, about the object it was about.
pub trait On<T> {
    fn on(self, subject: &str) -> Result<T>;
}

impl<T> On<T> for std::result::Result<T, virt::error::Error> {
    fn on(self, subject: &str) -> Result<T> {
        self.map_err(|e| translate(&e, subject))
    }
}

pub fn translate(e: &virt::error::Error, subject: &str) -> Error {
    let number = e.code().to_raw();
    let message = tidy(number, e.message());
    let kind = kind(number, &message);
    let error = Error::new(kind, message).subject(subject).code(number as i32);
    match hint(number, &error.message) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// One line. Of an XML error only the first: the others quote the document, which may hold a password.
fn tidy(number: u32, message: &str) -> String {
    let mut lines = message.lines().map(str::trim).filter(|l| !l.is_empty());
    match number {
        sys::VIR_ERR_XML_ERROR | sys::VIR_ERR_XML_DETAIL => lines.next().unwrap_or_default().to_string(),
        _ => lines.collect::<Vec<_>>().join("; "),
    }
}

fn kind(number: u32, message: &str) -> Kind {
    match number {
        sys::VIR_ERR_NO_DOMAIN
        | sys::VIR_ERR_NO_STORAGE_POOL
        | sys::VIR_ERR_NO_STORAGE_VOL
        | sys::VIR_ERR_NO_SECRET
        | sys::VIR_ERR_NO_NETWORK
        | sys::VIR_ERR_NO_NWFILTER
        | sys::VIR_ERR_NO_DOMAIN_SNAPSHOT
        | sys::VIR_ERR_NO_DOMAIN_METADATA
        | sys::VIR_ERR_DEVICE_MISSING => Kind::NotFound,
        sys::VIR_ERR_DOM_EXIST | sys::VIR_ERR_NETWORK_EXIST | sys::VIR_ERR_STORAGE_VOL_EXIST => Kind::Exists,
        // libvirt's "operation failed" stands for "name taken" and for much else.
        sys::VIR_ERR_OPERATION_FAILED if says(message, &["already exists", "already defined"]) => Kind::Exists,
        sys::VIR_ERR_INTERNAL_ERROR if says(message, &["already defined for use"]) => Kind::Exists,
        sys::VIR_ERR_OPERATION_INVALID => match () {
            () if says(message, &["couldn't locate"]) => Kind::NotFound,
            () if says(message, &["already exists", "there is an existing", "there is already at least one"]) => {
                Kind::Exists
            }
            () if says(message, &["not running", "not active", "nvram", "transient"]) => Kind::Invalid,
            () if says(message, &["already", "active", "running", "in use", "busy", "still"]) => Kind::Busy,
            () => Kind::Invalid,
        },
        sys::VIR_ERR_RESOURCE_BUSY | sys::VIR_ERR_BLOCK_COPY_ACTIVE => Kind::Busy,
        sys::VIR_ERR_AUTH_FAILED
        | sys::VIR_ERR_AUTH_CANCELLED
        | sys::VIR_ERR_AUTH_UNAVAILABLE
        | sys::VIR_ERR_OPERATION_DENIED
        | sys::VIR_ERR_ACCESS_DENIED
        | sys::VIR_ERR_INVALID_SECRET => Kind::Denied,
        sys::VIR_ERR_NO_CONNECT
        | sys::VIR_ERR_INVALID_CONN
        | sys::VIR_ERR_UNKNOWN_HOST
        | sys::VIR_ERR_RPC
        | sys::VIR_ERR_AGENT_UNRESPONSIVE => Kind::Unreachable,
        sys::VIR_ERR_OPERATION_TIMEOUT | sys::VIR_ERR_AGENT_COMMAND_TIMEOUT => Kind::Timeout,
        sys::VIR_ERR_OPERATION_ABORTED => Kind::Interrupted,
        sys::VIR_ERR_NO_SUPPORT
        | sys::VIR_ERR_OPERATION_UNSUPPORTED
        | sys::VIR_ERR_ARGUMENT_UNSUPPORTED
        | sys::VIR_ERR_CONFIG_UNSUPPORTED => Kind::Unsupported,
        sys::VIR_ERR_XML_ERROR
        | sys::VIR_ERR_XML_DETAIL
        | sys::VIR_ERR_XML_INVALID_SCHEMA
        | sys::VIR_ERR_INVALID_ARG
        | sys::VIR_ERR_NO_NAME
        | sys::VIR_ERR_NO_OS
        | sys::VIR_ERR_OS_TYPE => Kind::Invalid,
        sys::VIR_ERR_INTERNAL_ERROR if says(message, &["snapshots are not supported"]) => Kind::Unsupported,
        sys::VIR_ERR_INTERNAL_ERROR if says(message, &["malformed", "missing domain type"]) => Kind::Invalid,
        _ => Kind::Failed,
    }
}

/// Internal snapshots lie in the disk's own file, which only qcow2 has room for.
pub const NO_INTERNAL: &str = "of a disk on RBD `rbd.snap_create` takes one; libvirt's own need qcow2 files";

fn says(message: &str, words: &[&str]) -> bool {
    words.iter().any(|w| message.contains(w))
}

fn hint(number: u32, message: &str) -> Option<&'static str> {
    match number {
        sys::VIR_ERR_OPERATION_INVALID if says(message, &["undefine domain with nvram"]) => {
            Some("`nvram: true` removes its NVRAM file too, `keep_nvram: true` leaves it")
        }
        sys::VIR_ERR_OPERATION_INVALID if says(message, &["cannot delete inactive domain with"]) => {
            Some("`snapshots_metadata: true` removes libvirt's records of them too")
        }
        sys::VIR_ERR_INTERNAL_ERROR | sys::VIR_ERR_CONFIG_UNSUPPORTED
            if says(message, &["internal snapshot", "snapshots are not supported"]) =>
        {
            Some(NO_INTERNAL)
        }
        sys::VIR_ERR_AGENT_UNRESPONSIVE => {
            Some("is qemu-guest-agent installed in the guest, and has the guest booted?")
        }
        sys::VIR_ERR_ARGUMENT_UNSUPPORTED if says(message, &["agent is not configured"]) => {
            Some("the domain has no channel `org.qemu.guest_agent.0`")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_not_quoted() {
        let quoted = "(domain_definition):1: Opening and ending tag mismatch\n<graphics passwd='geheim'></x>\n---^";
        assert_eq!(tidy(sys::VIR_ERR_XML_DETAIL, quoted), "(domain_definition):1: Opening and ending tag mismatch");
        assert_eq!(tidy(sys::VIR_ERR_INTERNAL_ERROR, "process exited:\n qemu: no"), "process exited:; qemu: no");
    }

    #[test]
    fn kinds_of_the_generic_codes() {
        use sys::{VIR_ERR_OPERATION_FAILED as FAILED, VIR_ERR_OPERATION_INVALID as INVALID};
        for (number, message, want) in [
            (FAILED, "operation failed: domain 'a' already exists with uuid u", Kind::Exists),
            (FAILED, "operation failed: Storage source conflict with pool: 'p'", Kind::Failed),
            (INVALID, "domain is already running", Kind::Busy),
            (INVALID, "domain is not running", Kind::Invalid),
            (INVALID, "cannot rename active domain", Kind::Busy),
            (INVALID, "storage pool 'p' is not active", Kind::Invalid),
            (INVALID, "storage pool 'p' is still active", Kind::Busy),
            (INVALID, "cannot undefine domain with nvram", Kind::Invalid),
            (INVALID, "domain with name 'b' already exists", Kind::Exists),
        ] {
            assert_eq!(kind(number, message), want, "{message}");
        }
    }
}
