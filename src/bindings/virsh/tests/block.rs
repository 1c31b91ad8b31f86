//! Disks of running domains.

use super::*;

/// Ends what a test began, also when it fails.
struct Files<'a>(&'a dyn Write, String);

impl Drop for Files<'_> {
    fn drop(&mut self) {
        let _ = self.0.vol_delete(&self.1, "disk");
        let _ = self.0.pool_destroy(&self.1);
        let _ = self.0.pool_undefine(&self.1);
    }
}

#[test]
fn disks_grow_under_a_guest() {
    for (world, w) in worlds() {
        let dir = tempfile::tempdir().expect("dir");
        let n = name(world, "grow");
        let _files = Files(&*w, n.clone());
        let _sweep = Sweep(&*w, vec![n.clone()]);
        let target = format!("<target><path>{}</path></target>", dir.path().display());
        w.pool_define(&format!("<pool type='dir'><name>{n}</name>{target}</pool>")).expect("a pool");
        w.pool_start(&n).expect("started");
        let volume = w.vol_create_as(&n, "disk", 4 << 20, &VolumeOpts::default()).expect("a volume");
        let disk = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/>\
             <target dev='vda' bus='virtio'/></disk>",
            volume.path
        );
        w.define(&xml(&n, "", "", &disk), false).expect("defined");
        assert_eq!(refused(w.blockresize(&n, "vda", 8 << 20, false), Kind::Invalid).code, Some(55), "{world}");
        w.start(&n).expect("started");
        let size = |disk: &str| w.block_capacity(&n, disk).expect("size");
        assert_eq!((size("vda"), size(&volume.path)), (4 << 20, 4 << 20));
        w.blockresize(&n, "vda", 8 << 20, false).expect("grown");
        w.blockresize(&n, &volume.path, (8 << 20) + 512, false).expect("grown, in bytes");
        assert_eq!(size("vda"), (8 << 20) + 512);
        let e = refused(w.blockresize(&n, "vda", 4 << 20, false), Kind::Invalid);
        assert!(e.hint.is_some_and(|h| h.contains("allow_shrink")));
        assert_eq!(size("vda"), (8 << 20) + 512);
        w.blockresize(&n, "vda", 2 << 20, true).expect("shrunk");
        assert_eq!(size("vda"), 2 << 20, "{world}");
        refused(w.blockresize(&n, "vdz", 8 << 20, false), Kind::NotFound);
        refused(w.block_capacity(&n, "/no/such/file"), Kind::NotFound);
        refused(w.blockresize("zs-test-none", "vda", 8 << 20, false), Kind::NotFound);
    }
}
