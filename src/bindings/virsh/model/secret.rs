//! Secrets in memory.

use super::absent;
use crate::bindings::Site;
use crate::bindings::virsh::api::{Read, Secret};
use crate::bindings::virsh::definition::{Doc, canonical_uuid, secret_usage};
use crate::error::{Error, Result};
use uuid::Uuid;

/// Not `Debug`: nobody prints a value by accident.
#[derive(Clone)]
pub struct Held {
    secret: Secret,
    private: bool,
    value: Value,
}

#[derive(Clone)]
enum Value {
    None,
    /// The one of the world beneath, fetched when somebody asks.
    Beneath,
    Set(Vec<u8>),
}

const USAGE_TYPES: [&str; 5] = ["ceph", "volume", "iscsi", "tls", "vtpm"];

fn not_found(secret: &str) -> Error {
    Error::not_found("Secret not found: no secret with this uuid or usage").subject(secret).code(66)
}

pub fn list(site: &Site) -> Result<Vec<Secret>> {
    let beneath = site.beneath(Read::secret_list, Vec::new)?;
    let mut all = Vec::new();
    for uuid in site.virsh.secrets.keys(beneath.iter().map(|s| s.uuid.clone()).collect()) {
        let found = || Ok(beneath.iter().find(|s| s.uuid == uuid).cloned().map(untouched));
        all.extend(site.virsh.secrets.get(&uuid, found)?.map(|held| held.secret));
    }
    Ok(all)
}

fn untouched(secret: Secret) -> Held {
    Held { secret, private: false, value: Value::Beneath }
}

/// By uuid, else by usage.
fn held(site: &Site, wanted: &str) -> Result<Held> {
    let uuid = canonical_uuid(wanted);
    let secret = list(site)?
        .into_iter()
        .find(|s| match &uuid {
            Some(uuid) => s.uuid == *uuid,
            None => !s.usage.is_empty() && s.usage == wanted,
        })
        .ok_or_else(|| not_found(wanted))?;
    let key = secret.uuid.clone();
    site.virsh.secrets.get(&key, || Ok(Some(untouched(secret))))?.ok_or_else(|| not_found(wanted))
}

fn put(site: &Site, held: Held) {
    site.virsh.secrets.put(held.secret.uuid.clone(), held);
}

pub fn value(site: &Site, secret: &str) -> Result<Vec<u8>> {
    let held = held(site, secret)?;
    if held.private {
        return Err(Error::denied("Invalid secret: secret is private").subject(secret).code(65));
    }
    let uuid = &held.secret.uuid;
    let value = match held.value {
        Value::Set(value) => Some(value),
        Value::None => None,
        Value::Beneath => site.beneath(|base| absent(Read::secret_get_value(base, uuid)), || None)?,
    };
    value.ok_or_else(|| {
        Error::not_found(format!("Secret not found: secret '{uuid}' does not have a value")).subject(secret).code(66)
    })
}

/// Whether libvirt could use it: a private one's value is not shown to us.
pub fn is_usable(site: &Site, uuid: &str) -> Result<()> {
    match value(site, uuid) {
        Err(e) if e.kind != crate::error::Kind::Denied => Err(e),
        _ => Ok(()),
    }
}

pub fn define(site: &Site, xml: &str) -> Result<Secret> {
    let _turn = site.virsh.turn();
    let doc = Doc::parse_root(xml, "secret")?;
    let usage = secret_usage(&doc).unwrap_or_default();
    let fail = |e: Error| e.subject(&usage);
    let usage_type = match doc.attr_at("usage", "type") {
        Some(t) if !USAGE_TYPES.contains(&t) => {
            return Err(fail(
                Error::unsupported(format!("unsupported configuration: unknown secret usage type {t}")).code(67),
            ));
        }
        Some(_) if usage.is_empty() => return Err(fail(Error::invalid("XML error: the usage has no name").code(27))),
        given => given.unwrap_or("none").to_string(),
    };
    let uuid = match doc.text("uuid") {
        Some(text) => canonical_uuid(&text)
            .ok_or_else(|| fail(Error::invalid("internal error: malformed uuid element").code(1)))?,
        None => Uuid::new_v4().to_string(),
    };
    let private = doc.attr(doc.root(), "private") == Some("yes");
    let taken = |message: String, other: &str| {
        Err(Error::exists(format!("internal error: {message}"))
            .subject(&usage)
            .code(1)
            .hint(format!("it is the secret {other}")))
    };
    for other in list(site)? {
        if other.uuid != uuid && !usage.is_empty() && (&other.usage_type, &other.usage) == (&usage_type, &usage) {
            return taken(
                format!("a secret with UUID {} already defined for use with {usage}", other.uuid),
                &other.uuid,
            );
        }
        if other.uuid == uuid && other.usage != usage {
            return taken(format!("a secret with UUID {uuid} is already defined for use with {}", other.usage), &uuid);
        }
    }
    let value = match absent(held(site, &uuid))? {
        Some(old) if old.private && !private => {
            return Err(fail(Error::failed("internal error: cannot change private flag on existing secret").code(1)));
        }
        Some(old) => old.value,
        None => Value::None,
    };
    let secret = Secret { uuid, usage_type, usage };
    put(site, Held { secret: secret.clone(), private, value });
    Ok(secret)
}

pub fn set_value(site: &Site, secret: &str, value: &[u8]) -> Result<()> {
    let _turn = site.virsh.turn();
    if value.is_empty() {
        return Err(Error::invalid("an empty value").subject(secret));
    }
    let mut held = held(site, secret)?;
    held.value = Value::Set(value.into());
    put(site, held);
    Ok(())
}

pub fn undefine(site: &Site, secret: &str) -> Result<()> {
    let _turn = site.virsh.turn();
    let held = held(site, secret)?;
    site.virsh.secrets.remove(held.secret.uuid);
    Ok(())
}
