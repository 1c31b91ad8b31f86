//! Domains.

use super::*;

#[test]
fn a_definition_gets_what_it_lacks() {
    for (world, w) in worlds() {
        let n = name(world, "fill");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        let channel = "<channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-9-x/\
                       org.qemu.guest_agent.0'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
                       <channel type='unix'><source mode='bind' path='/var/lib/libvirt/qemu/x.agent'/>\
                       <target type='virtio' name='old.style'/></channel>";
        let devices = format!("<interface type='user'/>{channel}");
        let d = w.define(&xml(&n, "<genid/>", &uefi(""), &devices), false).expect("defined");
        assert_eq!((d.name.as_str(), d.state.as_str(), d.id, d.persistent), (n.as_str(), "shut off", None, true));
        assert_eq!((d.max_memory, d.used_memory, d.cpus), (64 << 20, 64 << 20, 1));
        assert!(Uuid::try_parse(&d.uuid).is_ok(), "{}", d.uuid);

        let doc = Doc::parse(&w.dumpxml(&n, true, false).expect("xml")).expect("parsed");
        assert_eq!(doc.text("uuid").as_deref(), Some(d.uuid.as_str()));
        assert_eq!(
            doc.text("os/nvram"),
            Some(format!("/var/lib/libvirt/qemu/nvram/{n}_VARS.fd")),
            "as libvirt names it in {world}"
        );
        assert!(doc.text("genid").is_some());
        let mac = doc.attr_at("devices/interface/mac", "address").expect("mac");
        assert!(mac.starts_with("52:54:00:") && mac.len() == 17, "{mac}");
        let devices = doc.find("devices").expect("devices");
        let paths: Vec<_> = doc
            .children(devices, "channel")
            .map(|c| doc.below(c, "source").and_then(|s| doc.attr(s, "path")).map(String::from))
            .collect();
        assert_eq!(paths, [None, Some("/var/lib/libvirt/qemu/x.agent".to_string())]);
    }
}

#[test]
fn names_and_uuids_are_taken_once() {
    for (world, w) in worlds() {
        let (a, b) = (name(world, "take-a"), name(world, "take-b"));
        let _sweep = Sweep(&*w, vec![a.clone(), b.clone()]);
        let first = w.define(&xml(&a, "", "", ""), false).expect("defined");
        let uuid = |u: &str| format!("<uuid>{u}</uuid>");

        let e = refused(w.define(&xml(&a, "", "", ""), false), Kind::Exists);
        assert_eq!((e.subject.as_str(), e.code), (a.as_str(), Some(9)));
        refused(w.define(&xml(&a, &uuid(&Uuid::new_v4().to_string()), "", ""), false), Kind::Exists);
        refused(w.define(&xml(&b, &uuid(&first.uuid), "", ""), false), Kind::Exists);
        refused(w.dominfo(&b), Kind::NotFound);

        let again = xml(&a, &format!("{}<title>new</title>", uuid(&first.uuid)), "", "");
        assert_eq!(w.define(&again, false).expect("redefined").uuid, first.uuid);
        assert!(w.dumpxml(&a, true, false).expect("xml").contains("<title>new</title>"));
    }
}

#[test]
fn bad_definitions_are_invalid() {
    for (world, w) in worlds() {
        let n = name(world, "bad");
        let _sweep = Sweep(&*w, vec![n.clone(), "a b".into()]);
        for bad in ["", "<domain", "<foo/>", "<domain type='qemu'><memory>1</memory><os><type>hvm</type></os></domain>"]
        {
            refused(w.define(bad, false), Kind::Invalid);
        }
        let long = "l".repeat(300);
        for bad in ["", ".", "..", "a/b", "a\nb"] {
            refused(w.define(&xml(bad, "", "", ""), false), Kind::Invalid);
        }
        refused(w.define(&xml(&long, "", "", ""), false), Kind::Failed);
        let (os, memory) = ("<os><type>hvm</type></os>", "<memory>65536</memory>");
        for bad in [memory, os] {
            refused(w.define(&format!("<domain type='qemu'><name>{n}</name>{bad}</domain>"), false), Kind::Invalid);
        }
        refused(w.define(&format!("<domain><name>{n}</name>{memory}{os}</domain>"), false), Kind::Invalid);
        let unknown = format!("<domain type='nope'><name>{n}</name>{memory}{os}</domain>");
        refused(w.define(&unknown, false), Kind::Unsupported);
        let entry =
            format!("<sysinfo type='smbios'><system><entry name='uuid'>{}</entry></system></sysinfo>", Uuid::nil());
        let other = format!("<uuid>{}</uuid>{entry}", Uuid::new_v4());
        refused(w.define(&xml(&n, &other, "", ""), false), Kind::Invalid);
        assert!(!w.exists(&n).expect("asked"));
        assert!(!w.exists("..").expect("asked"));
    }
}

#[test]
fn a_domain_lives_and_ends() {
    for (world, w) in worlds() {
        let n = name(world, "life");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        let uuid = w.define(&xml(&n, "", "", ""), false).expect("defined").uuid;
        for off in [w.shutdown(&n), w.destroy(&n), w.reboot(&n), w.suspend(&n), w.resume(&n)] {
            let e = refused(off, Kind::Invalid);
            assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(55)), "{world}");
        }
        refused(w.domifaddr(&n, "lease"), Kind::Invalid);
        refused(w.qemu_agent_command(&n, r#"{"execute":"guest-ping"}"#, Duration::from_secs(1)), Kind::Invalid);

        w.start(&n).expect("started");
        let d = w.dominfo(&n).expect("info");
        let id = d.id.expect("runs");
        assert_eq!((d.state.as_str(), d.active()), ("running", true));
        for by in [&n, &uuid, &id.to_string()] {
            assert_eq!(w.domstate(by).expect("state"), "running");
        }
        let id_in = |inactive: bool| -> Option<String> {
            let doc = Doc::parse(&w.dumpxml(&n, inactive, false).expect("xml")).expect("parsed");
            doc.attr(doc.root(), "id").map(String::from)
        };
        assert_eq!((id_in(false), id_in(true)), (Some(id.to_string()), None));
        assert!(w.domifaddr(&n, "lease").expect("none yet").is_empty());
        refused(w.start(&n), Kind::Busy);
        refused(w.resume(&n), Kind::Busy);
        refused(w.domrename(&n, &name(world, "other")), Kind::Busy);
        let e = refused(w.undefine(&n, &UndefineOpts::default()), Kind::Busy);
        assert!(e.hint.is_some());
        assert_eq!(w.domstate(&n).expect("still there"), "running");

        w.suspend(&n).expect("suspended");
        w.suspend(&n).expect("again is fine");
        assert_eq!(w.domstate(&n).expect("state"), "paused");
        refused(w.shutdown(&n), Kind::Invalid);
        refused(w.start(&n), Kind::Busy);
        w.resume(&n).expect("resumed");
        w.destroy(&n).expect("destroyed");
        let d = w.dominfo(&n).expect("info");
        assert_eq!((d.state.as_str(), d.id), ("shut off", None));

        w.autostart(&n, true).expect("on");
        assert!(w.dominfo(&n).expect("info").autostart);
        w.autostart(&n, false).expect("off");
        w.undefine(&n, &UndefineOpts::default()).expect("undefined");
        let e = refused(w.domstate(&n), Kind::NotFound);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(42)));
        assert!(!w.exists(&uuid).expect("asked"));
        assert!(w.list().expect("list").iter().all(|d| d.name != n));
    }
}

#[test]
fn a_new_name_keeps_the_nvram_file() {
    for (world, w) in worlds() {
        let (a, b, c) = (name(world, "ren-a"), name(world, "ren-b"), name(world, "ren-c"));
        let _sweep = Sweep(&*w, vec![a.clone(), b.clone(), c.clone()]);
        w.define(&xml(&a, "", &uefi(""), ""), false).expect("a");
        w.define(&xml(&c, "", "", ""), false).expect("c");
        assert_eq!(refused(w.domrename(&a, &c), Kind::Exists).subject, c);
        refused(w.domrename(&a, &a), Kind::Invalid);
        for bad in ["", "..", "x/y"] {
            refused(w.domrename(&a, bad), Kind::Invalid);
        }
        refused(w.domrename(&b, &c), Kind::NotFound);
        w.domrename(&a, &b).expect("renamed");
        assert!(!w.exists(&a).expect("asked"));
        assert!(w.dumpxml(&b, true, false).expect("xml").contains(&format!("/{a}_VARS.fd")), "OPERATIONS 0.2");
    }
}

#[test]
fn nvram_files_are_removed_only_on_demand_and_only_once() {
    for (world, w) in worlds() {
        let (a, b) = (name(world, "nv-a"), name(world, "nv-b"));
        let _sweep = Sweep(&*w, vec![b.clone(), a.clone()]);
        let path = format!("/var/lib/libvirt/qemu/nvram/{a}_VARS.fd");
        w.define(&xml(&a, "", &uefi(""), ""), false).expect("a");
        assert_eq!(w.host_file(&path).expect("asked"), None);
        w.start(&a).expect("started");
        let id = w.host_file(&path).expect("asked").expect("made at the first start");
        assert!(id.size > 0);
        w.destroy(&a).expect("destroyed");

        let e = refused(w.undefine(&a, &UndefineOpts::default()), Kind::Invalid);
        assert!(e.hint.is_some_and(|h| h.contains("keep_nvram")));
        let nvram = UndefineOpts { nvram: true, ..UndefineOpts::default() };
        let keep = UndefineOpts { keep_nvram: true, ..UndefineOpts::default() };
        refused(
            w.undefine(&a, &UndefineOpts { nvram: true, keep_nvram: true, ..UndefineOpts::default() }),
            Kind::Invalid,
        );

        w.define(&xml(&b, "", &uefi(&path), ""), false).expect("b, which names the file of a");
        for shared in [&a, &b] {
            let e = refused(w.undefine(shared, &nvram), Kind::Busy);
            assert!(e.message.contains(&path), "{e}");
        }
        assert_eq!(w.host_file(&path).expect("asked").as_ref(), Some(&id));
        w.undefine(&b, &keep).expect("b");
        w.undefine(&a, &nvram).expect("a");
        assert_eq!(w.host_file(&path).expect("asked"), None, "{world}");
    }
}

/// libvirt names this file nowhere in the definition of a stopped domain, and removes it all the same.
#[test]
fn firmware_efi_has_an_nvram_file_too() {
    for (world, w) in worlds() {
        let (a, b) = (name(world, "efi-a"), name(world, "efi-b"));
        let _sweep = Sweep(&*w, vec![b.clone(), a.clone()]);
        let path = format!("/var/lib/libvirt/qemu/nvram/{a}_VARS.fd");
        w.define(&xml(&a, "", "", "").replace("<os>", "<os firmware='efi'>"), false).expect("a");
        w.start(&a).expect("started");
        w.destroy(&a).expect("destroyed");
        assert!(w.host_file(&path).expect("asked").is_some(), "{world}");
        w.define(&xml(&b, "", &uefi(&path), ""), false).expect("b");
        let nvram = UndefineOpts { nvram: true, ..UndefineOpts::default() };
        refused(w.undefine(&a, &nvram), Kind::Busy);
        refused(w.undefine(&b, &nvram), Kind::Busy);
        w.undefine(&b, &UndefineOpts { keep_nvram: true, ..UndefineOpts::default() }).expect("b");
        w.undefine(&a, &nvram).expect("a");
        assert_eq!(w.host_file(&path).expect("asked"), None, "{world}");
    }
}

#[test]
fn devices_come_and_go() {
    for (world, w) in worlds() {
        let n = name(world, "dev");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", ""), false).expect("defined");
        let disk = |image: &str, target: &str| {
            format!(
                "<disk type='network' device='disk'><driver name='qemu' type='raw'/>\
                 <source protocol='rbd' name='{image}'><host name='127.0.0.1'/></source>\
                 <target dev='{target}' bus='virtio'/></disk>"
            )
        };
        let images = || -> Vec<String> {
            let doc = Doc::parse(&w.dumpxml(&n, true, false).expect("xml")).expect("parsed");
            rbd_disks(&doc).iter().map(|i| i.to_string()).collect()
        };
        w.attach_device(&n, &disk("p/a", "vda")).expect("attached");
        assert_eq!(images(), ["p/a"]);
        refused(w.attach_device(&n, &disk("p/b", "vda")), Kind::Exists);
        refused(w.attach_device(&n, "<foo/>"), Kind::Unsupported);
        refused(w.attach_device(&n, "<disk"), Kind::Invalid);
        w.attach_device(&n, &disk("p/b", "vdb")).expect("second");
        assert_eq!(images(), ["p/a", "p/b"]);
        w.detach_device(&n, &disk("p/a", "vda")).expect("detached");
        assert_eq!(images(), ["p/b"]);
        let e = refused(w.detach_device(&n, &disk("p/a", "vda")), Kind::NotFound);
        assert_eq!((e.subject.as_str(), e.code), (n.as_str(), Some(99)));

        let card = "<interface type='user'><mac address='52:54:00:11:22:33'/></interface>";
        refused(w.detach_device(&n, card), Kind::NotFound);
        w.attach_device(&n, card).expect("card");
        w.detach_device(&n, card).expect("and gone");
        refused(w.attach_device(&name(world, "nobody"), card), Kind::NotFound);
    }
}

#[test]
fn cpus_and_memory_change() {
    for (world, w) in worlds() {
        let n = name(world, "size");
        let _sweep = Sweep(&*w, vec![n.clone()]);
        w.define(&xml(&n, "", "", ""), false).expect("defined");
        w.setvcpus(&n, 4).expect("more");
        assert_eq!(w.dominfo(&n).expect("info").cpus, 4);
        w.setvcpus(&n, 2).expect("fewer");
        assert_eq!(w.dominfo(&n).expect("info").cpus, 2);
        refused(w.setvcpus(&n, 0), Kind::Invalid);
        w.setmem(&n, 128 << 20).expect("more");
        let d = w.dominfo(&n).expect("info");
        assert_eq!((d.max_memory, d.used_memory), (128 << 20, 128 << 20));
        w.setmem(&n, 64 << 20).expect("less");
        let d = w.dominfo(&n).expect("info");
        assert_eq!((d.max_memory, d.used_memory), (128 << 20, 64 << 20), "{world}");
        w.start(&n).expect("started");
        refused(w.setvcpus(&n, 16), Kind::Invalid);
        refused(w.setmem(&n, 1 << 30), Kind::Invalid);
    }
}

#[test]
fn an_agent_that_is_not_there() {
    if !lab() {
        return;
    }
    let w = live(None);
    let n = name("live", "agent");
    let _sweep = Sweep(&w, vec![n.clone()]);
    let channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
    w.define(&xml(&n, "", "", channel), false).expect("defined");
    w.start(&n).expect("started");
    let ping = || w.qemu_agent_command(&n, r#"{"execute":"guest-ping"}"#, Duration::from_secs(1));
    let e = refused(ping(), Kind::Unreachable);
    assert!(e.hint.is_some(), "{e}");
    assert!(!w.agent_ping(&n).expect("no error: it may come yet"));
    w.destroy(&n).expect("stopped");
    assert!(!w.agent_ping(&n).expect("stopped"));
    refused(w.agent_ping(&name("live", "nobody")), Kind::NotFound);
}

#[test]
fn host_files_are_told_apart() {
    for (world, w) in worlds() {
        let dir = "/var/lib/libvirt/qemu/nvram";
        let path = |what: &str| format!("{dir}/{}", name(world, what));
        let (from, to, temp) = (path("from"), path("to"), path(".temp"));
        let id = w.host_file_restore(&from, b"variables").expect("written");
        assert_eq!(refused(w.host_file_restore(&from, b""), Kind::Exists).subject, from);
        assert_eq!(w.host_file_read(&from).expect("read"), b"variables");
        let mut told = None;
        let copy = w.host_file_copy(&from, &temp, &to, &mut |id| {
            told = Some(id);
            Ok(())
        });
        let copy = copy.expect("copied");
        assert_eq!((told.as_ref(), copy.size), (Some(&copy), 9));
        assert_ne!(copy.ino, id.ino);
        assert_eq!(w.host_file(&to).expect("asked").as_ref(), Some(&copy));
        assert_eq!(w.host_file(&temp).expect("asked"), None);
        refused(w.host_file_copy(&from, &temp, &to, &mut |_| Ok(())), Kind::Exists);
        refused(w.host_file_copy(&path("none"), &temp, &path("x"), &mut |_| Ok(())), Kind::NotFound);
        assert!(!w.host_file_remove(&to, &id).expect("another file"));
        assert!(!w.host_file_remove(&path("none"), &FileId::default()).expect("none"));
        assert!(w.host_file_remove(&to, &copy).expect("ours"));
        assert!(w.host_file_remove(&from, &id).expect("ours"));
        refused(w.host_file_read(&from), Kind::NotFound);
    }
}
