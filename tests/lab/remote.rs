//! Another hypervisor, by ssh: the lab's own libvirtd behind an ssh server on loopback.

use crate::site::site;

/// With a ~/.ssh and a /run/libvirt of its own: nothing of the machine's is seen or changed.
const SCRIPT: &str = r#"
    set -euo pipefail
    made=$([ -d /root/.ssh ] || echo yes)
    mkdir -p /root/.ssh
    mount -t tmpfs -o mode=700 none /root/.ssh
    mount --bind "$LAB_DIR/libvirt/run" /run/libvirt
    cd /root/.ssh
    ssh-keygen -q -t ed25519 -N "" -f id_ed25519
    install -m 600 id_ed25519.pub authorized_keys
    dropbearkey -t ed25519 -f host >/dev/null 2>&1
    port=$(python3 -c "import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); print(s.getsockname()[1])")
    dropbear -F -r host -p 127.0.0.1:$port -P pid 2>/dev/null &
    server=$!
    # /run/libvirt stays: it is the lab's mount point, and rmdir would take the mounts of every lab away.
    trap 'kill $server; cd /; umount -l /root/.ssh; [ -z "$made" ] || rmdir /root/.ssh' EXIT
    for _ in $(seq 50); do ssh-keyscan -p $port 127.0.0.1 2>/dev/null >seen; [ ! -s seen ] || break; sleep 0.1; done
    uri=qemu+ssh://root@127.0.0.1:$port/system

    # A server that nobody knows yet is not trusted.
    zs --connect $uri -e 'virsh.list()' 2>&1 | grep -E 'unreachable|hint' | sed s/:$port//g || true
    mv seen known_hosts
    zs --connect $uri -e 'virsh.domstate("z-ubuntu20-rbd")'
    zs -e "let there = virsh.connect(\"$uri\"); there.define(\"<domain type='qemu'><name>z-far</name><memory>65536</memory><os><type>hvm</type></os></domain>\"); print(there.exists(\"z-far\")); fail(\"no\")" 2>&1 | grep -E '^(true|undone|left)' || true
    zs --connect $uri clone.rhai z-k8s-n-4 2>&1 | grep -E 'error|left' | sed s/:$port//g || true
    virsh -q list --all --name | grep -E 'z-far|z-k8s-n-4' || true
"#;

#[test]
fn a_hypervisor_by_ssh() {
    let Some(site) = site() else { return };
    let before = site.state();
    let out = site.sh(&format!("unshare --mount --propagation private bash -c '{}'", SCRIPT.replace('\'', "'\\''")));
    let want = [
        "error[unreachable] virsh.list qemu+ssh://root@127.0.0.1/system: Cannot recv data: Host key verification failed.",
        "hint: this has to work without a question: `ssh -p",
        "shut off",
        "true",
        "undone: undefined domain z-far",
        "left behind: nothing",
        "error[unsupported] virsh.host_file_exists qemu+ssh://root@127.0.0.1/system: files of another host",
        "left behind: nothing",
    ];
    let lines: Vec<&str> = out.lines().filter(|l| !l.is_empty()).collect();
    assert_eq!(lines.len(), want.len(), "{out}");
    for (line, want) in lines.iter().zip(want) {
        assert!(line.starts_with(want), "{line}\nis not: {want}\n{out}");
    }
    assert_eq!(site.state(), before);
}
