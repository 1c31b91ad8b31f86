//! What others note in a domain's definition, and what its screen shows.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::{Virsh, change};
    use crate::error::{Error, Kind};
    use crate::helpers::files::NewFile;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf};
    use rhai::Dynamic;

    /// Gives the element that a domain's metadata holds under a namespace, as XML without that namespace.
    ///
    /// # Errors
    /// `not_found` when there is no such domain or element.
    /// # Example
    /// ```rhai
    /// virsh.set_metadata("z-ubuntu20-rbd", "http://example.org/owner", "o", "<owner>kim</owner>");
    /// virsh.metadata("z-ubuntu20-rbd", "http://example.org/owner") == "<owner>kim</owner>"
    /// ```
    /// Implements: virDomainGetMetadata (virsh metadata)
    #[rhai_fn(name = "metadata", pure, return_raw)]
    pub fn metadata(virsh: &mut Virsh, domain: &str, uri: &str) -> RhaiResultOf<String> {
        virsh.0.virsh().metadata(domain, uri).raise("virsh.metadata")
    }

    /// Notes an element under a namespace in a domain's metadata, with a prefix for it as key; `()` removes it.
    ///
    /// In the definition, and in the running domain when it runs.
    /// # Errors
    /// `not_found`; `invalid` for text that is no element.
    /// # Example
    /// ```rhai
    /// virsh.set_metadata("z-ubuntu20-rbd", "http://example.org/owner", "o", "<owner>kim</owner>");
    /// virsh.set_metadata("z-ubuntu20-rbd", "http://example.org/owner", "o", ())
    /// ```
    /// Implements: virDomainSetMetadata (virsh metadata --set)
    #[rhai_fn(name = "set_metadata", pure, return_raw)]
    pub fn set_metadata(virsh: &mut Virsh, domain: &str, uri: &str, key: &str, xml: Dynamic) -> RhaiResultOf<()> {
        const OP: &str = "virsh.set_metadata";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        let text = (!xml.is_unit()).then(|| xml.to_string());
        if let Some(text) = &text {
            crate::bindings::virsh::definition::Doc::parse(text).map_err(|e| e.subject(&info.name)).raise(OP)?;
        }
        let was = match virsh.0.virsh().metadata(&info.uuid, uri) {
            Ok(was) => Some(was),
            Err(e) if e.kind == Kind::NotFound => None,
            Err(e) => return Err(e).raise(OP),
        };
        if was.is_none() && text.is_none() {
            let e = Error::not_found("has no metadata of this namespace").subject(&info.name);
            return Err(e.hint("virsh dumpxml shows what there is")).raise(OP);
        }
        let (name, uuid) = (info.name.clone(), info.uuid.clone());
        let undo = Undo::SetMetadata { name, uuid, uri: uri.into(), key: key.into(), was };
        let op = Op::change(OP, &info.name).with("uri", uri).with("xml", &text);
        change(&virsh.0, op, undo, |w| w.set_metadata(&info.uuid, uri, key, text.as_deref())).raise(OP)
    }

    /// Writes a picture of a running domain's screen to a file that must not exist.
    ///
    /// # Returns
    /// Its MIME type, which is libvirt's choice: "image/png", or "image/x-portable-pixmap" of older ones.
    /// # Errors
    /// `exists`; `invalid` when it does not run or has no screen; `not_found`.
    /// # Example
    /// ```rhai
    /// virsh.start("z-ubuntu20-rbd");
    /// virsh.screenshot("z-ubuntu20-rbd", "/tmp/zs-no-such-dir/shot.png")
    /// ```
    /// Implements: virDomainScreenshot (virsh screenshot)
    #[rhai_fn(name = "screenshot", pure, return_raw)]
    pub fn screenshot(virsh: &mut Virsh, domain: &str, file: &str) -> RhaiResultOf<String> {
        const OP: &str = "virsh.screenshot";
        let info = virsh.0.virsh().dominfo(domain).raise(OP)?;
        if !info.active() {
            let e = Error::invalid(format!("is {}: nothing is on its screen", info.state)).subject(&info.name);
            return Err(e.hint("virsh start")).raise(OP);
        }
        let new = NewFile::plan(&virsh.0, file).raise(OP)?;
        let op = Op::change(OP, &info.name).with("file", file);
        new.write(&virsh.0, op, |w, temp, _| virsh.0.of(w).screenshot(&info.uuid, temp)).raise(OP)
    }
}
