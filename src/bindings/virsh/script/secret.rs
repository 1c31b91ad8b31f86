//! Secrets.

// Rhai's macro expands to unwrap() on arguments whose number it has checked.
#![allow(clippy::unwrap_used)]

#[rhai::plugin::export_module]
pub mod functions {
    use crate::bindings::virsh::script::Virsh;
    use crate::error::Error;
    use crate::helpers::xml::Document;
    use crate::host::op::Op;
    use crate::host::undo::Undo;
    use crate::host::values::{Raise, RhaiResultOf, throw, to_array, to_value};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use rhai::{Array, Dynamic};

    /// Lists the secrets, without their values.
    ///
    /// # Returns
    /// An array of maps: `uuid`, `usage_type`, `usage`.
    /// # Errors
    /// `unreachable`.
    /// # Example
    /// ```rhai
    /// virsh.secret_list().len() >= 0
    /// ```
    /// Implements: virConnectListAllSecrets (virsh secret-list)
    #[rhai_fn(name = "secret_list", pure, return_raw)]
    pub fn secret_list(virsh: &mut Virsh) -> RhaiResultOf<Array> {
        to_array(virsh.0.virsh().secret_list().raise("virsh.secret_list")?)
    }

    /// Defines a secret from XML. It stays when the run fails: the next run finds it.
    ///
    /// # Returns
    /// A map as of `virsh.secret_list`.
    /// # Errors
    /// `exists` when another secret has the usage; `invalid`.
    /// # Example
    /// ```rhai
    /// virsh.secret_define("<secret><usage type='ceph'><name>client.x secret</name></usage></secret>").usage
    /// ```
    /// Implements: virSecretDefineXML (virsh secret-define)
    #[rhai_fn(name = "secret_define", pure, return_raw)]
    pub fn secret_define(virsh: &mut Virsh, xml: &str) -> RhaiResultOf<Dynamic> {
        const OP: &str = "virsh.secret_define";
        let usage = Document::parse(xml).raise(OP)?.get("usage/name").raise(OP)?.unwrap_or_default();
        let undo = Undo::Keep { what: format!("secret {usage}") };
        to_value(virsh.0.change_plain(Op::change(OP, &usage), undo, |w, _| w.secret_define(xml)).raise(OP)?)
    }

    /// Sets a secret's value, given as base64 as in virsh. Only its length goes into plans and journals.
    ///
    /// # Errors
    /// `not_found`; `invalid` when the text is not base64.
    /// # Example
    /// ```rhai
    /// let s = virsh.secret_define("<secret><usage type='ceph'><name>client.y secret</name></usage></secret>");
    /// virsh.secret_set_value(s.uuid, "c2VjcmV0")
    /// ```
    /// Implements: virSecretSetValue (virsh secret-set-value)
    #[rhai_fn(name = "secret_set_value", pure, return_raw)]
    pub fn secret_set_value(virsh: &mut Virsh, secret: &str, value: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.secret_set_value";
        let Ok(raw) = STANDARD.decode(value.trim()) else {
            return Err(throw(Error::invalid("the value is not base64").op(OP).subject(secret)));
        };
        let op = Op::change(OP, secret).with("bytes", raw.len());
        let undo = Undo::Keep { what: format!("value of secret {secret}") };
        virsh.0.change_plain(op, undo, |w, _| w.secret_set_value(secret, &raw)).raise(OP)
    }

    /// Gives a secret's value as base64, as virsh does. Needs the right `virsh.secret_get_value`.
    ///
    /// # Errors
    /// `not_found` when there is no such secret or it has no value; `denied` for private ones.
    /// # Example
    /// ```rhai
    /// try { virsh.secret_get_value("no-such-secret") } catch (e) { e.kind }
    /// ```
    /// Implements: virSecretGetValue (virsh secret-get-value)
    #[rhai_fn(name = "secret_get_value", pure, return_raw)]
    pub fn secret_get_value(virsh: &mut Virsh, secret: &str) -> RhaiResultOf<String> {
        const OP: &str = "virsh.secret_get_value";
        virsh.0.gate.may(OP, secret).raise(OP)?;
        Ok(STANDARD.encode(virsh.0.virsh().secret_get_value(secret).raise(OP)?))
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// `not_found`.
    /// # Example
    /// ```rhai
    /// let s = virsh.secret_define("<secret><usage type='ceph'><name>client.z secret</name></usage></secret>");
    /// virsh.secret_undefine(s.uuid)
    /// ```
    /// Implements: virSecretUndefine (virsh secret-undefine)
    #[rhai_fn(name = "secret_undefine", pure, return_raw)]
    pub fn secret_undefine(virsh: &mut Virsh, secret: &str) -> RhaiResultOf<()> {
        const OP: &str = "virsh.secret_undefine";
        let undo = Undo::Impossible { command: format!("(secret {secret} is gone for good)") };
        virsh.0.change_plain(Op::destroy(OP, secret), undo, |w, _| w.secret_undefine(secret)).raise(OP)
    }
}
