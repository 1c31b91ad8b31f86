//! What the Ceph users of zs and of libvirt may do: too little, and clones fail half way; too much, and a script can.

use super::{Finding, Level, Site, keys};
use crate::bindings::World;
use crate::error::{Kind, Result};
use std::collections::BTreeMap;

const MEND: &str = "zs pool.rhai";

pub fn look(site: &Site) -> Result<Vec<Finding>> {
    let me = site.live.ceph().whoami()?;
    let mut found = Vec::new();
    if me == "client.admin" && site.config.ceph.id.as_deref().is_none_or(|id| id == "admin" || id == "client.admin") {
        let what = "is whom zs is by default, and may do everything; only pool.rhai needs that";
        found.push(Finding::warn(&me, what).mend("zs pool.rhai, then `id = \"libvirt\"` below [ceph] in zs.toml"));
    }
    let mut users = keys::users(site).unwrap_or_default();
    if me != "client.admin" {
        users.insert(me);
    }
    let pool = site.pool();
    for user in users {
        match site.ask(|c| c.auth_get(&user)) {
            Ok(Some(auth)) => found.extend(judge(&user, &auth.caps, &pool)),
            Ok(None) => found.push(Finding::bad(&user, "the cluster knows no such user").mend(MEND)),
            Err(e) if e.kind == Kind::Denied => {
                found.extend(tried(site, &user, &pool));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// Where nobody here may ask for a user's caps: what can be seen of one's own by using them.
fn tried(site: &Site, user: &str, pool: &str) -> Vec<Finding> {
    if site.live.ceph().whoami().is_ok_and(|me| me == user)
        && let Err(e) = site.live.rbd().ls(pool, "")
    {
        return vec![Finding::bad(user, format!("cannot list the images of {pool}: {}", e.message)).mend(MEND)];
    }
    let what = "its caps are not known: the user of this call may not ask for them";
    vec![Finding::warn(user, what).mend("zs --ceph-id admin doctor, where its key is")]
}

/// Caps as Ceph stores them, against what VMs on `pool` need and no more.
fn judge(user: &str, caps: &BTreeMap<String, String>, pool: &str) -> Vec<Finding> {
    let clauses = |service: &str| -> Vec<String> {
        let text = caps.get(service).map(String::as_str).unwrap_or_default();
        text.split([',', ';'])
            .map(|c| c.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|c| !c.is_empty())
            .collect()
    };
    let (mon, osd) = (clauses("mon"), clauses("osd"));
    let mut found = Vec::new();
    for (service, clauses) in [("mon", &mon), ("osd", &osd), ("mgr", &clauses("mgr"))] {
        if clauses.iter().any(|c| c == "allow *") {
            let what =
                format!("may do everything ({service} 'allow *'): a key in libvirt's secret, in reach of each script");
            let mend = format!(
                "ceph auth caps {user} mon 'profile rbd' osd 'profile rbd pool={pool}' mgr 'profile rbd pool={pool}'"
            );
            found.push(Finding::warn(user, what).mend(mend));
        }
    }
    let everything = |c: &String| c == "allow *";
    let may = |clauses: &[String], test: &dyn Fn(&str) -> bool| clauses.iter().any(|c| everything(c) || test(c));
    if !may(&mon, &|c| c == "profile rbd" || c.starts_with("allow r") || c == "allow profile rbd") {
        found.push(Finding::bad(user, "may not ask the monitors (mon 'profile rbd' lacks)").mend(MEND));
    } else if !may(&mon, &|c| c.contains("profile rbd") || c.contains("blocklist") || c.contains("blacklist")) {
        let what = "may not shut out dead clients (mon 'profile rbd' lacks): an image whose host has died stays locked";
        found.push(Finding::bad(user, what).mend(MEND));
    }
    let on_pool = |c: &str| !c.contains("pool=") && !c.contains("pool ") || pool_of(c).is_some_and(|p| p == pool);
    let whole = |c: &str| {
        on_pool(c) && !c.contains("read-only") && c.contains("profile rbd")
            || on_pool(c) && c.starts_with("allow rwx") && !c.contains("object_prefix")
    };
    if !may(&osd, &whole) {
        let (level, lacks) =
            match may(&osd, &|c: &str| on_pool(c) && (c.contains("profile rbd-read-only") || c.starts_with("allow r")))
            {
                true => (Level::Bad, "may read its images and not make or clone any"),
                false => (Level::Bad, "may not list, make or clone its images"),
            };
        found.push(
            Finding::new(level, user, format!("pool {pool}: {lacks} (osd 'profile rbd pool={pool}' lacks)")).mend(MEND),
        );
    }
    found
}

/// The pool that a clause is about: `pool=p`, `pool p`.
fn pool_of(clause: &str) -> Option<&str> {
    let (_, rest) = clause.split_once("pool")?;
    rest.trim_start_matches(['=', ' ']).split(' ').next().map(|p| p.trim_matches(['\'', '"']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_and_too_much() {
        let judged = |mon: &str, osd: &str| {
            let caps = BTreeMap::from([("mon".to_string(), mon.to_string()), ("osd".to_string(), osd.to_string())]);
            judge("client.u", &caps, "p").into_iter().map(|f| f.what).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(judged("profile rbd", "profile rbd pool=p"), "");
        assert_eq!(judged("profile rbd", "profile rbd pool=other, profile rbd pool=p"), "");
        assert_eq!(judged("profile rbd", "profile rbd"), "");
        assert_eq!(
            judged(
                "allow r, allow command \"osd blocklist\"",
                "allow class-read object_prefix rbd_children, allow rwx pool=p"
            ),
            ""
        );
        assert!(judged("allow r", "profile rbd pool=p").contains("dead clients"));
        assert!(judged("", "profile rbd pool=p").contains("ask the monitors"));
        assert!(judged("profile rbd", "profile rbd-read-only pool=p").contains("may read"));
        assert!(judged("profile rbd", "profile rbd pool=p2").contains("may not list"));
        assert_eq!(judged("allow *", "allow *").matches("may do everything").count(), 2);
    }
}
