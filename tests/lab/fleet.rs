//! Many VMs at once: rows of the inventory, one of which fails.

use crate::site::{Disk, POOL, Site, site};

/// Its tests share one: it takes seconds to make.
fn small_template(site: &Site) {
    site.sh("virsh dominfo z-small >/dev/null 2>&1 || lab/template-small z-small");
}

#[test]
fn the_rows_that_match_and_are_not_there_yet() {
    let Some(site) = site() else { return };
    small_template(&site);
    let before = site.state();
    site.sh(&format!("rbd create -s 1M {POOL}/z-k8s-m-2"));
    let all = ["--yes", "clone.rhai", "--from", "z-small", "--all", "z-k8s-m-*"];
    site.zs(&["clone.rhai", "--all", "z-k8s-m-*"]).refused("denied", 3);
    site.zs(&["--yes", "clone.rhai", "--all", "z-nobody-*"]).refused("not_found", 1);

    let run = site.zs(&all).ok().says("z-k8s-m-2: skipped").says("Clone 3 VMs");
    assert!(run.out.contains("z-k8s-m-1") && run.out.contains("z-k8s-m-3"), "{}", run.out);
    site.zs(&all).ok().says("z-k8s-m-1: skipped").says("z-k8s-m-3: skipped");
    let mut strict = all.to_vec();
    strict.extend(["--on-exists", "fail"]);
    site.zs(&strict).refused("exists", 1).says("3 things are in the way");

    for vm in ["z-k8s-m-1", "z-k8s-m-3"] {
        site.destroy(vm);
    }
    site.sh(&format!("rbd rm --no-progress {POOL}/z-k8s-m-2"));
    assert_eq!(site.state(), before);
    site.settled();
}

#[test]
fn one_that_fails_takes_nothing_of_the_others_with_it() {
    let Some(site) = site() else { return };
    small_template(&site);
    let before = site.state();
    let vms = ["z-k8s-n-4", "z-k8s-n-5", "z-k8s-n-6"];
    let mut fleet = vec!["--jobs", "1", "clone.rhai", "--from", "z-small"];
    fleet.extend(vms);
    let plan = site.zs(&[&["-n", "--json"], fleet.as_slice()].concat()).ok().out;
    let ops: Vec<&str> = plan.lines().filter(|l| l.starts_with("{\"event\":\"plan\"")).collect();
    let clones = ops.iter().enumerate().filter(|(_, l)| l.contains("\"rbd.clone\""));
    let second = clones.map(|(i, _)| i + 1).nth(1).expect("three clones are planned");
    let fault = format!("fail:{second}");
    let fault = [("ZS_FAULT", fault.as_str())];
    let run = site.zs_with(&fleet, &fault);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.err.contains("1 of 3 failed; the others are kept") && run.err.contains("z-k8s-n-5"), "{}", run.err);
    assert!(run.out.contains(vms[0]) && !run.out.contains(vms[1]) && run.out.contains(vms[2]), "{}", run.out);
    let list = site.sh(&format!("rbd ls {POOL}; virsh -q list --all --name"));
    assert_eq!(list.lines().filter(|l| vms.contains(l)).count(), 4, "{list}");
    for vm in [vms[0], vms[2]] {
        site.destroy(vm);
    }

    fleet.push("--all-or-nothing");
    let run = site.zs_with(&fleet, &fault);
    assert!(run.code == 1 && run.err.contains("all were taken back"), "{}", run.err);
    assert_eq!(site.state(), before);

    let run = site.zs(&["clone.rhai", "--from", "z-small", "z-k8s-n-{1..9}", "--start"]);
    run.refused("failed", 1).says("9 VMs want 36.0 GiB of memory").says("--overcommit");
    assert_eq!(site.state(), before);
    site.settled();
}

/// One appliance does for all three: what one of them has is not in another, and the one that fails within its guest goes.
#[test]
fn by_the_appliance() {
    let Some(site) = site() else { return };
    let before = site.state();
    let config = crate::crash::config(&site, "appliance").display().to_string();
    let vms = ["z-k8s-n-1", "z-k8s-n-2", "z-k8s-n-3"];
    let fleet = [&["--config", config.as_str(), "--jobs", "1", "clone.rhai"], vms.as_slice()].concat();
    let plan = site.zs(&[&["-n", "--json"], fleet.as_slice()].concat()).ok().out;
    let ops = plan.lines().filter(|l| l.starts_with("{\"event\":\"plan\""));
    let hosts = ops.enumerate().filter(|(_, l)| l.contains("\"guestfs.set_hosts_entry\""));
    let second = hosts.map(|(i, _)| i + 1).nth(1).expect("three guests are edited");
    let run = site.zs_with(&fleet, &[("ZS_FAULT", &format!("fail:{second}"))]);
    assert!(run.code == 1 && run.err.contains("1 of 3 failed; the others are kept"), "{}", run.err);
    let ids = [vms[0], vms[2]].map(|vm| {
        let disk = Disk::of(&site, vm);
        disk.is_clean(&site);
        assert_eq!(disk.read(&site, "/etc/hostname").trim(), vm);
        site.destroy(vm);
        disk.read(&site, "/etc/machine-id")
    });
    assert_ne!(ids[0], ids[1]);
    assert_eq!(site.state(), before);
    site.settled();
}

/// The CPUs that a row names; a node that is all of the host needs no words.
#[test]
fn bound_to_the_cpus_of_its_row() {
    let Some(site) = site() else { return };
    small_template(&site);
    let before = site.state();
    let dir = tempfile::tempdir().expect("a directory");
    let (rows, config) = (dir.path().join("rows.csv"), dir.path().join("zs.toml"));
    std::fs::write(&rows, "layer,ip,name,cpu,NUMA\n1,192.168.6.9,z-bound,1,0(1)\n1,192.168.6.10,z-far,1,7\n")
        .expect("rows");
    let toml = std::fs::read_to_string(site.dir.join("zs.toml")).expect("zs.toml");
    let own = |l: &str| if l.starts_with("inventory") { format!("inventory = {rows:?}") } else { l.to_string() };
    std::fs::write(&config, toml.lines().map(own).collect::<Vec<_>>().join("\n")).expect("zs.toml");
    let config = config.to_str().expect("UTF-8");
    let run =
        site.zs(&["--config", config, "clone.rhai", "--from", "z-small", "--ip", "192.168.6.9/24", "z-bound"]).ok();
    assert!(!run.err.contains("not bound"), "{}", run.err);
    let xml = site.sh("virsh dumpxml --inactive z-bound");
    for line in ["<memory mode='strict' nodeset='0'/>", "cpuset='1'>1</vcpu>", "<vcpupin vcpu='0' cpuset='1'/>"] {
        assert!(xml.contains(line), "{line}: {xml}");
    }
    site.zs(&["--config", config, "clone.rhai", "--from", "z-small", "--ip", "192.168.6.10/24", "z-far"])
        .ok()
        .says("z-far: the inventory asks for NUMA node 7, and this host has 0: not bound to it");
    for vm in ["z-bound", "z-far"] {
        site.destroy(vm);
    }
    assert_eq!(site.state(), before);
}
