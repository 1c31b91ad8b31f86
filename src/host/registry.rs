//! All functions that scripts can call, read from Rhai's metadata: the one source of help, checks and completion.

use rhai::Engine;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a parameter may be called, and what it holds. Completion and `zs check` read it from the name.
pub const KINDS: &[(&str, &str)] = &[
    ("image", "an image: `pool/image`"),
    ("new_image", "the image to be made: `pool/image`"),
    ("source", "an image or a snapshot: `pool/image[@snap]`"),
    ("snap", "a snapshot: `pool/image@snap`"),
    ("new_snap", "the snapshot to be made: `pool/image@snap`"),
    ("pool", "a Ceph pool"),
    ("new_pool", "the Ceph pool to be made"),
    ("entity", "a Ceph user: `client.libvirt`"),
    ("caps", "a map from service to capability"),
    ("domain", "a domain: its name, uuid or id"),
    ("guest", "a domain, or an image: `pool/image`"),
    ("disk", "a disk of a domain: its target, as `vda`, or its source"),
    ("storage_pool", "a libvirt storage pool"),
    ("volume", "a volume of a storage pool"),
    ("new_volume", "the volume to be made"),
    ("network", "a network: its name or uuid"),
    ("snapshot", "a snapshot of a domain"),
    ("uri", "a URI"),
    ("section", "a part of a network, as `virsh net-update` calls it"),
    ("secret", "a secret: its uuid or usage"),
    ("path", "a path inside the guest, or of this host"),
    ("file", "a file of this host"),
    ("new_file", "the file of this host to be made"),
    ("size", "bytes, or text such as \"7G\""),
    ("xml", "XML text"),
    ("name", "a name"),
    ("value", "a value"),
    ("other", "another value"),
    ("kind", "a kind of error: not_found, exists, busy, …"),
    ("key", "a key"),
    ("text", "text"),
    ("list", "an array"),
    ("columns", "an array of the names of columns"),
    ("options_", "a map of options"),
    ("spec", "a map"),
    ("callback", "a closure"),
    ("timeout", "seconds, or text such as \"5m\""),
    ("command", "a command"),
    ("on", "true or false"),
    ("count", "a whole number"),
    ("total", "the number of all there are"),
    ("mode", "permission bits: 0o644"),
    ("uid", "a user number"),
    ("gid", "a group number"),
    ("address", "an IP address, with or without prefix length"),
    ("variable", "the name of a setting"),
];

/// One function or method.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The type it is a method of, `None` for a plain function: `Rbd`.
    pub receiver: Option<String>,
    pub name: String,
    /// Without the receiver; of the longest overload.
    pub params: Vec<String>,
    /// How many arguments its overloads take.
    pub arities: Vec<usize>,
    pub returns: String,
    /// Without the `///`.
    pub doc: String,
}

impl Entry {
    /// The doc's first line.
    pub fn summary(&self) -> &str {
        self.doc.lines().next().unwrap_or_default()
    }

    /// The text below `# Title`, up to the next title.
    pub fn section(&self, title: &str) -> Option<String> {
        let mut lines = self.doc.lines().skip_while(|l| l.trim() != format!("# {title}"));
        lines.next()?;
        Some(lines.take_while(|l| !l.starts_with("# ")).collect::<Vec<_>>().join("\n"))
    }

    /// The keys of its map of options, each with what is said of it.
    pub fn options(&self) -> Vec<(String, String)> {
        let Some(section) = self.section("Options") else { return Vec::new() };
        let told = section.lines().filter_map(|l| l.strip_prefix("- ")?.split_once(':'));
        let each = told.flat_map(|(keys, said)| keys.split(", ").map(move |k| (k, said)));
        each.map(|(k, said)| (k.trim_matches('`').to_string(), said.trim().to_string())).collect()
    }

    pub fn example(&self) -> Option<String> {
        let text = self.section("Example")?;
        let mut lines = text.lines().skip_while(|l| !l.starts_with("```"));
        lines.next()?;
        Some(lines.take_while(|l| !l.starts_with("```")).collect::<Vec<_>>().join("\n"))
    }
}

/// The functions that zs adds to Rhai, overloads folded, sorted.
pub fn entries(engine: &Engine) -> Vec<Entry> {
    let mut found = engine.collect_fn_metadata(
        None,
        |f| {
            let m = f.metadata;
            // `ceph.pool` is a namespace to its users, not a function.
            if m.name.starts_with("get$") {
                return None;
            }
            let params: Vec<(String, String)> = m
                .params_info
                .iter()
                .map(|p| {
                    let (name, kind) = p.split_once(':').unwrap_or((p.as_str(), ""));
                    (name.trim().to_string(), kind.trim().to_string())
                })
                .collect();
            let doc = m
                .comments
                .iter()
                .flat_map(|c| c.lines())
                .map(|l| l.trim_start().trim_start_matches("///"))
                .map(|l| l.strip_prefix(' ').unwrap_or(l))
                .collect::<Vec<_>>()
                .join("\n");
            Some((m.name.to_string(), params, m.return_type.to_string(), doc))
        },
        false,
    );
    // The engine lists them in any order; of overloads without a doc the longest is to be shown.
    found.sort_by(|(a, p, ..), (b, q, ..)| (a, p.len(), p).cmp(&(b, q.len(), q)));
    let mut folded: BTreeMap<(Option<String>, String), Entry> = BTreeMap::new();
    for (name, mut params, returns, doc) in found {
        params.retain(|(_, kind)| kind != "NativeCallContext");
        let receiver = match params.first() {
            Some((_, kind)) if kind.starts_with("&mut ") => {
                let kind = kind.trim_start_matches("&mut ").trim().to_string();
                params.remove(0);
                Some(kind)
            }
            _ => None,
        };
        let params: Vec<String> = params.into_iter().map(|(n, _)| n).collect();
        let arity = params.len();
        let entry = folded.entry((receiver.clone(), name.clone())).or_insert_with(|| Entry {
            receiver,
            name,
            params: params.clone(),
            arities: Vec::new(),
            returns: returns.clone(),
            doc: String::new(),
        });
        entry.arities.push(arity);
        if !doc.is_empty() || entry.doc.is_empty() {
            entry.doc = doc;
            entry.params = params;
            entry.returns = returns;
        }
    }
    let mut all: Vec<Entry> = folded.into_values().collect();
    all.iter_mut().for_each(|e| {
        e.arities.sort_unstable();
        e.arities.dedup();
    });
    all
}

/// `rbd` for `Rbd`.
pub fn namespace_of(receiver: &str) -> Option<String> {
    let lower = receiver.to_lowercase();
    match lower.as_str() {
        "cephpool" => Some("ceph.pool".into()),
        "cephauth" => Some("ceph.auth".into()),
        "guest" => Some("g".into()),
        "xmldocument" => Some("doc".into()),
        _ => crate::bindings::NAMESPACES
            .iter()
            .chain(crate::helpers::NAMES)
            .find(|n| **n == lower)
            .map(|n| n.to_string()),
    }
}

/// `rbd.clone(snap, new_image[, options])`.
pub fn signature(e: &Entry) -> String {
    let least = e.arities.first().copied().unwrap_or(e.params.len());
    let shown = |p: &String| p.trim_end_matches('_').to_string();
    let (need, may) = e.params.split_at(least.min(e.params.len()));
    let mut args = need.iter().map(shown).collect::<Vec<_>>().join(", ");
    if !may.is_empty() {
        let comma = if args.is_empty() { "" } else { ", " };
        args.push_str(&format!("[{comma}{}]", may.iter().map(shown).collect::<Vec<_>>().join(", ")));
    }
    match e.receiver.as_deref().map(|r| namespace_of(r).unwrap_or_else(|| r.to_lowercase())) {
        Some(receiver) => format!("{receiver}.{}({args})", e.name),
        None => format!("{}({args})", e.name),
    }
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod tests;
