//! What a script of a stranger may do, and what people are asked.

use crate::site::{POOL, TEMPLATE, site};

#[test]
fn only_what_is_allowed() {
    let Some(site) = site() else { return };
    let before = site.state();
    let create = |name: &str| format!("rbd.create(\"{POOL}/{name}\", \"8M\")");
    let allow = format!("rbd.create={POOL}/z-may-*");
    site.zs(&["--allow", &allow, "-e", &create("z-not")])
        .refused("denied", 3)
        .says(&format!("--allow rbd.create={POOL}/z-not"));
    site.zs(&["--allow", &allow, "-e", &create("z-may-1")]).ok();
    site.zs(&["-y", "--allow", &allow, "-e", &format!("rbd.remove(\"{POOL}/z-may-1\")")]).refused("denied", 3);
    site.zs(&["--read-only", "-e", &create("z-not")]).refused("denied", 3);
    // A second name of the same function, and questions that were denied.
    for alias in ["rm", "remove"] {
        let code = format!("rbd.{alias}(\"{POOL}/z-may-1\")");
        site.zs(&["-y", "--deny", "rbd.rm", "-e", &code]).refused("denied", 3);
        site.zs(&["-y", "--deny", "rbd.remove", "-e", &code]).refused("denied", 3);
    }
    site.zs(&["--deny", "rbd.info", "-e", &format!("rbd.info(\"{POOL}/z-may-1\")")]).refused("denied", 3);
    site.zs(&["--allow", &allow, "-e", &format!("rbd.info(\"{POOL}/z-may-1\")")]).ok();
    for code in [
        "fs.read(\"/etc/hostname\")",
        "sh.run([\"id\"])",
        "port_open(\"127.0.0.1\", 1, 1)",
        "ceph.command(#{ prefix: \"auth ls\" })",
        "ceph.auth.get_key(\"client.libvirt\")",
    ] {
        site.zs(&["--allow", "rbd", "-e", code]).refused("denied", 3).says("hint: --allow ");
    }
    // What the shipped scripts need to read is not asked for.
    site.zs(&["--allow", "rbd.clone=none/*", "-n", "clone.rhai", "z-k8s-n-8"]).refused("denied", 3);
    site.zs(&["--allow", "rbd", "-e", "import \"std/domain\" as d; inventory.load(site.inventory).rows.len()"]).ok();
    site.sh(&format!("rbd rm --no-progress {POOL}/z-may-1"));
    assert_eq!(site.state(), before);
}

/// On a terminal the question names the object and what hangs on it; no is no, and nobody to ask is no.
#[test]
fn people_are_asked() {
    let Some(site) = site() else { return };
    let before = site.state();
    // libvirt knows what it has seen at the last refresh.
    site.sh("virsh pool-refresh images_rbd");
    site.sh(&format!("rbd create --size 8M {POOL}/z-ask; rbd snap create --no-progress {POOL}/z-ask@kept"));
    let zs = env!("CARGO_BIN_EXE_zs");
    let ask = |answer: &str, code: &str| {
        let command = format!("{zs} -e '{code}'");
        site.try_sh(&format!(
            "(sleep 1; echo {answer}; sleep 1) | script -qec \"{}\" /dev/null",
            command.replace('"', "\\\"")
        ))
    };
    let purge = format!("rbd.snap_purge(\"{POOL}/z-ask\")");
    let (_, said) = ask("n", &purge);
    assert!(said.contains("z-ask") && said.contains("snapshots: kept") && said.contains("you said no"), "{said}");
    let all = [
        purge.clone(),
        format!("rbd.remove(\"{POOL}/z-ask\")"),
        format!("rbd.trash_mv(\"{POOL}/z-ask\")"),
        format!("rbd.snap_rm(\"{POOL}/z-ask@kept\")"),
        format!("rbd.snap_rollback(\"{POOL}/z-ask@kept\")"),
        format!("rbd.resize(\"{POOL}/z-ask\", \"4M\", #{{ allow_shrink: true }})"),
        format!("virsh.undefine(\"{TEMPLATE}\", #{{ nvram: true }})"),
        format!("ceph.pool.delete(\"{POOL}\")"),
        "ceph.auth.rm(\"client.libvirt\")".into(),
        "virsh.secret_undefine(virsh.secret_list()[0].uuid)".into(),
        format!("virsh.vol_delete(\"images_rbd\", \"{TEMPLATE}\")"),
    ];
    for code in &all {
        site.zs(&["--ceph-id", "admin", "-e", code]).refused("denied", 3).says("--yes");
    }
    ask("y", &purge);
    assert_eq!(site.sh(&format!("rbd snap ls {POOL}/z-ask")).trim(), "");
    site.sh(&format!("rbd rm --no-progress {POOL}/z-ask"));
    assert_eq!(site.state(), before);
}
