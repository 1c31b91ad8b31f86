//! A machine without librbd, libvirt and libguestfs: a root directory that holds zs and the C library alone.

use crate::site::site;

#[test]
fn without_the_libraries() {
    let Some(site) = site() else { return };
    let run = |code: &str| {
        let zs = env!("CARGO_BIN_EXE_zs");
        site.try_sh(&format!(
            "root=$(mktemp -d); trap 'rm -rf $root' EXIT
             for file in {zs} $(ldd {zs} | grep -o '/lib[^ ]*'); do install -D $file $root$file; done
             env -i $(command -v chroot) $root {zs} -e '{code}' 2>&1"
        ))
    };
    assert_eq!(run("1 + 1"), (true, "2\n".into()));
    for (code, package) in [("rbd.ls(\"p\")", "librados2"), ("virsh.list()", "libvirt0")] {
        let (ok, text) = run(code);
        assert!(!ok && text.contains("error[unsupported]") && text.contains(package), "{text}");
    }
}
