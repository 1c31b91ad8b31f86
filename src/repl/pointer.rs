//! What people type who come from virsh, rbd and guestfish, and what it is here.

use super::scan::{Kind, scan};
use crate::bindings::NAMESPACES;
use crate::host::{engine, registry};

/// Words that mean the session, not the site.
const WORDS: &[(&str, &str)] = &[
    ("quit", ":quit, or Ctrl-D, ends the session"),
    ("exit", ":quit, or Ctrl-D, ends the session"),
    ("help", ":help shows what there is; :help rbd.clone one function"),
    ("man", ":help shows what there is; :help rbd.clone one function"),
    ("history", ":history shows the lines of this session"),
    ("undo", ":undo takes back the last line that changed something"),
    ("connect", ":connect URI goes to another hypervisor"),
    ("edit", ":edit opens $EDITOR"),
    ("ls", "rbd.ls(\"POOL\") lists images, virsh.list() domains"),
    ("cat", "guestfs.read(\"DOMAIN\", \"/etc/hostname\") reads a file of a guest"),
    ("snap", "rbd.snap_ls(\"POOL/IMAGE\"), rbd.snap_create(\"POOL/IMAGE@SNAP\")"),
];

/// The hint for a line that is a word, or begins like a command of a shell.
pub fn pointer(text: &str) -> Option<String> {
    let found = scan(text);
    let first = found.tokens.first().filter(|t| t.kind == Kind::Word)?;
    let word = &text[first.at.clone()];
    let rest = text[first.at.end..].trim();
    let like_a_command = rest.is_empty() || rest.starts_with(|c: char| c.is_alphanumeric() || "-\"/'".contains(c));
    if !like_a_command {
        return None;
    }
    // `rbd snap ls pool`, `virsh list --all`
    if NAMESPACES.contains(&word) || word == "guestfish" {
        let namespace = if word == "guestfish" { "guestfs" } else { word };
        return of_namespace(namespace, rest);
    }
    if let Some((_, hint)) = WORDS.iter().find(|(w, _)| *w == word && !(rest.starts_with('-') && *w == "ls")) {
        return Some((*hint).into());
    }
    let name = text[first.at.start..].split_whitespace().next().unwrap_or_default().replace('-', "_");
    let all = registry::entries(&engine::bare());
    let one = all.iter().find(|e| e.receiver.is_some() && e.name == name)?;
    Some(format!("here it is {}", registry::signature(one)))
}

/// A word of a shell that is all of a line: nothing to wait for.
pub fn is_word(text: &str) -> bool {
    WORDS.iter().any(|(w, _)| *w == text.trim())
}

fn of_namespace(namespace: &str, rest: &str) -> Option<String> {
    let words: Vec<&str> = rest.split_whitespace().take_while(|w| !w.starts_with('-')).collect();
    let all = registry::entries(&engine::bare());
    let mine = |name: &str| {
        let of =
            |e: &&registry::Entry| e.receiver.as_deref().and_then(registry::namespace_of).as_deref() == Some(namespace);
        all.iter().filter(of).find(|e| e.name == name)
    };
    for n in (1..=words.len().min(2)).rev() {
        if let Some(e) = mine(&words[..n].join("_").replace('-', "_")) {
            return Some(format!("here it is {}", registry::signature(e)));
        }
    }
    Some(format!("functions are called with a dot, as {namespace}.NAME(…): :help {namespace} lists them"))
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn what_shells_take() {
        for (typed, hint) in [
            ("quit", ":quit"),
            ("help", ":help"),
            ("list --all", "virsh.list("),
            ("list", "virsh.list("),
            ("virsh list --all", "virsh.list("),
            ("rbd snap ls libvirt-pool/a", "rbd.snap_ls("),
            ("rbd frobnicate", ":help rbd"),
            ("pool-autostart x", "virsh.pool_autostart("),
            ("ls", "rbd.ls("),
        ] {
            assert!(pointer(typed).is_some_and(|h| h.contains(hint)), "{typed}: {:?}", pointer(typed));
        }
        for fine in ["1 + 1", "list.len()", "x = 3", "", "foo"] {
            assert_eq!(pointer(fine), None, "{fine}");
        }
    }
}
