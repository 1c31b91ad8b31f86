//! Guests on a network: a lab of its own in a network namespace, since a guest's address must exist nowhere else.

use crate::site::site;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the clone's run, its console and its ssh server say, between lines that name them.
const SCRIPT: &str = "
    set -euo pipefail
    trap 'lab/down >&2' EXIT
    lab/up >&2
    eval \"$(lab/env)\"
    zs --json -q clone.rhai z-k8s-m-3 --start --wait ssh --known-hosts $LAB_DIR/known_hosts | grep '\"event\":\"result\"'
    ssh-keyscan -T 30 192.168.6.103 2>/dev/null | ssh-keygen -lf -
    ssh-keyscan -T 30 192.168.6.103 2>/dev/null | cut -d' ' -f2- | sort >$LAB_DIR/keys
    cut -d' ' -f2- $LAB_DIR/known_hosts | sort | diff - $LAB_DIR/keys
    virsh -q domstate z-k8s-m-3
    zs --yes docs/k8s-fleet.rhai --masters z-k8s-m-[12] >&2 && exit 1
    zs -q --yes docs/k8s-fleet.rhai --nodes z-k8s-n-[2]
    zs --yes destroy.rhai z-k8s-m-{1..3} z-k8s-n-2 --purge --timeout 60 >&2
    virsh -q list --all --name
";

#[test]
fn clones_answer_to_ssh_with_their_own_keys() {
    let Some(site) = site() else { return };
    let dir = tempfile::Builder::new().prefix("zs-net.").tempdir_in("/tmp").expect("a directory");
    let lab = dir.path().join("lab");
    let zs = env!("CARGO_BIN_EXE_zs");
    let out = site.sh(&format!(
        "env LAB_DIR={} ZS={zs} lab/in-net bash -c '{}'",
        lab.display(),
        SCRIPT.replace('\'', "'\\''")
    ));

    let mut lines = out.lines();
    let result: Value = serde_json::from_str(lines.next().unwrap_or("")).expect("the result's line");
    let fingerprints: BTreeMap<String, String> =
        serde_json::from_value(result["result"][0]["host_keys"].clone()).expect("fingerprints by type");
    assert_eq!(fingerprints.len(), 3, "{fingerprints:?}");
    for (kind, fingerprint) in &fingerprints {
        let line = lines.next().unwrap_or("");
        assert!(
            out.contains(fingerprint.as_str()),
            "the server has another {kind} key than {fingerprint}: {line}\n{out}"
        );
    }
    // z-k8s-m-3 is there already, and is skipped.
    let rest: Vec<&str> = lines.filter(|l| !l.is_empty()).collect();
    let fleet = ["[masters]", "z-k8s-m-1 ansible_host=192.168.6.101", "z-k8s-m-2 ansible_host=192.168.6.102"];
    assert_eq!(rest[0], "running");
    assert_eq!(rest[1..4], fleet);
    assert_eq!(rest[4..], ["[nodes]", "z-k8s-n-2 ansible_host=192.168.6.112", "z-ubuntu20-rbd"]);
    assert!(!lab.exists(), "lab/down has left {}", lab.display());
}
