//! The docs that scripts' authors see are complete, and true: each example runs in a model of a small site.

use super::*;
use crate::bindings::guestfs::model::Seed;
use crate::bindings::spec::{Cancel, ImageSpec};
use crate::bindings::{Site, ceph, rbd, virsh};
use crate::config::Config;
use crate::host::events::{Events, Verbosity};
use crate::host::gate::{Gate, Setup};
use crate::host::rights::Rights;
use crate::host::scripts::Source;
use crate::host::{Host, engine, report};
use rhai::{Dynamic, Map, Scope};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const TEMPLATE: &str = "z-ubuntu20-rbd";

const DOMAIN: &str = "<domain type='qemu'><name>z-ubuntu20-rbd</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>\
    <os><type arch='x86_64'>hvm</type></os><devices><disk type='network' device='disk'>\
    <driver name='qemu' type='raw'/><source protocol='rbd' name='libvirt-pool/z-ubuntu20-rbd'>\
    <host name='m' port='6789'/></source><target dev='vda' bus='virtio'/></disk>\
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices></domain>";

const STORAGE: &str = "<pool type='rbd'><name>images_rbd</name><source><name>libvirt-pool</name>\
    <host name='m' port='6789'/></source></pool>";

const SECRET: &str = "<secret ephemeral='no' private='no'><uuid>8e22b0ac-b429-4ad1-8783-6d792db31349</uuid>\
    <usage type='ceph'><name>client.libvirt secret</name></usage></secret>";

const FILES: &[(&str, &str)] = &[
    ("/etc/hostname", "z-ubuntu20-rbd\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n192.168.6.247 z-ubuntu20-rbd.huatai.me z-ubuntu20-rbd\n"),
    ("/etc/motd", "hello\n"),
    ("/usr/share/zoneinfo/Asia/Shanghai", "TZif2"),
    ("/usr/lib/systemd/systemd", "\x7fELF"),
    ("/etc/machine-id", "8f3c0e5a7b6d4e2f9a1b0c3d5e7f9a1b\n"),
    ("/etc/os-release", "ID=ubuntu\nVERSION_ID=\"20.04\"\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nadmin:x:1000:1000::/home/admin:/bin/bash\n"),
    ("/etc/fstab", "/dev/vda2 / ext4 defaults 0 1\n"),
    (
        "/etc/netplan/01-netcfg.yaml",
        "network:\n  version: 2\n  renderer: networkd\n  ethernets:\n    enp1s0:\n      dhcp4: no\n      \
         addresses: [192.168.6.247/24]\n      gateway4: 192.168.6.200\n",
    ),
    ("/etc/ssh/ssh_host_ed25519_key", "old\n"),
    ("/etc/ssh/ssh_host_ed25519_key.pub", "old\n"),
];

/// What the examples take for granted: the seed's names.
fn example_site() -> Site {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "libvirt-pool", &Default::default()).expect("a pool");
    let caps = [("mon".to_string(), "profile rbd".to_string())].into();
    ceph::api::Write::auth_get_or_create(&site, "client.libvirt", &caps).expect("a user");
    let template = ImageSpec::new("libvirt-pool", TEMPLATE);
    rbd::api::Write::create(&site, &template, 7 << 30, &Default::default()).expect("an image");
    let files: Vec<Seed> =
        FILES.iter().map(|(path, text)| Seed { path, mode: 0o644, owner: (0, 0), content: text.as_bytes() }).collect();
    site.seed_guest(&template, &files).expect("files");
    virsh::api::Write::define(&site, DOMAIN, false).expect("a domain");
    virsh::api::Write::pool_define(&site, STORAGE).expect("a storage pool");
    virsh::api::Write::pool_start(&site, "images_rbd").expect("a storage pool");
    virsh::api::Write::secret_define(&site, SECRET).expect("a secret");
    site
}

fn run(code: &str) -> Result<Dynamic, String> {
    let state = tempfile::tempdir().expect("a directory");
    let events = Arc::new(Events::new(false, Verbosity::Quiet, false, false));
    let cancel = Cancel::default();
    let setup = Setup {
        state: state.path().into(),
        script: "example".into(),
        argv: vec![],
        ceph_conf: None,
        ceph_id: "admin".into(),
    };
    let rights = Rights::new(false, &[], &[], &[]).expect("rights");
    let gate = Gate::new(Arc::new(example_site()), setup, rights, true, events.clone(), cancel.clone()).expect("gate");
    let host = Arc::new(Host {
        config: Config::default(),
        gate,
        events,
        cancel,
        script: "example".into(),
        args: vec![],
        jobs: None,
        finished: Mutex::new(false),
    });
    let engine = engine::build(&host);
    let source = Source { name: "example".into(), text: code.into(), dir: None };
    let said =
        |e: &rhai::EvalAltResult| report::render(&report::failure(e, "example", Some(&engine)), Some(code), false);
    let ast = engine::compile(&engine, &source).map_err(|e| said(&e))?;
    engine.eval_ast_with_scope::<Dynamic>(&mut Scope::new(), &ast).map_err(|e| said(&e))
}

fn all() -> Vec<Entry> {
    entries(&engine::bare())
}

/// Checks each function with `wrong`, which says what is wrong; tells all of it at once.
fn check(wrong: impl Fn(&Entry) -> Vec<String>) {
    let found: Vec<String> =
        all().iter().flat_map(|e| wrong(e).into_iter().map(|w| format!("{}: {w}", signature(e)))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn is_backend(e: &Entry) -> bool {
    ["Ceph", "CephPool", "CephAuth", "Rbd", "Virsh", "Guestfs", "Guest"]
        .contains(&e.receiver.as_deref().unwrap_or_default())
}

#[test]
fn every_function_is_documented() {
    assert!(all().len() > 150);
    check(|e| {
        let mut wrong = vec![];
        let first = e.summary();
        if first.is_empty() {
            return vec!["has no doc".into()];
        }
        if !first.ends_with('.') && !first.contains(". ") && !first.ends_with('…') {
            wrong.push(format!("the first line is no sentence: {first}"));
        }
        let verb = first.split([' ', ',']).next().unwrap_or_default();
        if !verb.ends_with('s') || !verb.starts_with(char::is_uppercase) {
            wrong.push(format!("the doc begins with a verb in the third person, not with {verb:?}"));
        }
        if e.example().is_none_or(|x| x.trim().is_empty()) {
            wrong.push("has no example".into());
        }
        if is_backend(e) && !e.doc.lines().any(|l| l.strip_prefix("Implements: ").is_some_and(|r| r.contains('('))) {
            wrong.push("does not say what it implements: `Implements: rbd_clone3 (rbd clone)`".into());
        }
        wrong
    });
}

#[test]
fn every_parameter_is_of_a_known_kind() {
    check(|e| {
        let unknown = e.params.iter().filter(|p| KINDS.iter().all(|(k, _)| k != p));
        unknown.map(|p| format!("`{p}` is none of registry::KINDS")).collect()
    });
    let used: BTreeSet<String> = all().into_iter().flat_map(|e| e.params).collect();
    let idle: Vec<_> = KINDS.iter().map(|(k, _)| *k).filter(|k| !used.contains(*k)).collect();
    assert!(idle.is_empty(), "kinds that no function uses: {idle:?}");
}

#[test]
fn every_example_runs() {
    check(|e| e.example().and_then(|code| run(&code).err()).into_iter().collect());
    assert!(run("rbd.info(\"libvirt-pool/nope\")").is_err_and(|e| e.contains("not_found")));
}

/// Rhai's own function of the same name takes the call where it knows the arguments' types better.
#[test]
fn no_function_hides_behind_one_of_rhai() {
    let std: BTreeSet<String> = rhai::Engine::new()
        .collect_fn_metadata(None, |f| Some(f.metadata.name.to_string()), true)
        .into_iter()
        .collect();
    assert!(std.contains("bytes") && std.contains("sleep"));
    // Ours has overloads for the types that Rhai's takes.
    const OVERRIDDEN: [&str; 1] = ["sleep"];
    let free = all().into_iter().filter(|e| e.receiver.is_none()).map(|e| e.name);
    let hidden: Vec<String> = free.filter(|n| std.contains(n) && !OVERRIDDEN.contains(&n.as_str())).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    // A plan takes no time.
    let begun = std::time::Instant::now();
    for time in ["3600", "3600.0", "\"1h\""] {
        assert!(run(&format!("sleep({time})")).is_ok());
    }
    assert!(begun.elapsed().as_secs() < 60);
    // Examples that compare are true.
    check(|e| match e.example().filter(|x| x.contains(" == ")).map(|code| run(&code)) {
        Some(Ok(v)) if v.as_bool() == Ok(false) => vec!["its example says false".into()],
        _ => vec![],
    });
}

/// A value of each kind that the model takes.
fn sample(kind: &str) -> &'static str {
    match kind {
        "image" | "source" => "\"libvirt-pool/z-ubuntu20-rbd\"",
        "new_image" => "\"libvirt-pool/new\"",
        "snap" | "new_snap" => "\"libvirt-pool/z-ubuntu20-rbd@s\"",
        "pool" => "\"libvirt-pool\"",
        "domain" | "guest" => "\"z-ubuntu20-rbd\"",
        "storage_pool" => "\"images_rbd\"",
        "volume" => "\"z-ubuntu20-rbd\"",
        "size" => "\"8G\"",
        "list" => "[1]",
        "callback" => "|x| x",
        "path" => "\"/etc/hostname\"",
        _ => "\"x\"",
    }
}

/// The keys that a function accepts, from what it says to one that it cannot know.
fn accepted(e: &Entry) -> Result<BTreeSet<String>, String> {
    let receiver = match e.receiver.as_deref() {
        Some("Guest") => "guestfs.open(\"z-ubuntu20-rbd\").".into(),
        Some(r) => format!("{}.", namespace_of(r).unwrap_or_default()),
        None => String::new(),
    };
    let args = e.params.iter().map(|p| if p == "options_" { "#{ zs_no_such_key: 1 }" } else { sample(p) });
    let call = format!("{receiver}{}({})", e.name, args.collect::<Vec<_>>().join(", "));
    let caught = run(&format!("try {{ {call}; }} catch (e) {{ return e; }}"))?;
    let map = caught.try_cast::<Map>().ok_or_else(|| format!("accepts any option: {call}"))?;
    let text = |k: &str| map.get(k).map(ToString::to_string).unwrap_or_default();
    if !text("message").contains("zs_no_such_key") {
        return Err(format!("{call}: {}", text("message")));
    }
    Ok(text("hint").split('`').skip(1).step_by(2).map(String::from).collect())
}

#[test]
fn documented_options_are_those_accepted() {
    check(|e| {
        let Some(section) = e.section("Options") else {
            return e.params.iter().filter(|p| *p == "options_").map(|_| "has no # Options".into()).collect();
        };
        // Its options are a map in the map, by clap's words; tested where it is written.
        if e.name == "parse" {
            return vec![];
        }
        let keys = section.lines().filter_map(|l| l.strip_prefix("- ")?.split_once(':'));
        let told: BTreeSet<String> =
            keys.flat_map(|(k, _)| k.split(", ").map(|k| k.trim_matches('`').to_string())).collect();
        match accepted(e) {
            Ok(known) if known == told => vec![],
            Ok(known) => vec![format!("documented are {told:?}, accepted {known:?}")],
            Err(e) => vec![e],
        }
    });
}
