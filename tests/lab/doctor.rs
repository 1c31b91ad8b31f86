//! `zs doctor`: each fault is made, found, mended by the command that it names, and gone.

use crate::site::{After, POOL, Run, Site, TEMPLATE, site};
use serde_json::Value;

struct Report {
    findings: Vec<Value>,
    run: Run,
}

fn doctor(site: &Site, args: &[&str]) -> Report {
    let run = site.zs(&[&["--json"], args, &["doctor"]].concat());
    let line: Value = serde_json::from_str(run.out.trim()).unwrap_or_else(|e| panic!("{e}: {}\n{}", run.out, run.err));
    assert_eq!(line["event"], "result");
    let findings = line["result"].as_array().expect("findings").clone();
    let bad = findings.iter().any(|f| f["level"] == "bad");
    assert_eq!(run.code, i32::from(bad), "{}", run.out);
    Report { findings, run }
}

impl Report {
    /// The finding of this check about this object that says this; its mending.
    #[track_caller]
    fn has(&self, level: &str, check: &str, object: &str, what: &str) -> String {
        let text = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_string();
        let is = |f: &&Value| {
            f["level"] == level
                && f["check"] == check
                && text(f, "object").contains(object)
                && text(f, "what").contains(what)
        };
        let found = self.findings.iter().find(is);
        let found = found.unwrap_or_else(|| panic!("no {level} {check} {object:?} {what:?} in\n{:#?}", self.findings));
        let mend = text(found, "mend");
        assert!(!mend.is_empty(), "no command for {found}");
        mend
    }

    /// Nothing bad, and nothing of this check.
    #[track_caller]
    fn fine(&self, check: &str) {
        let bad = |f: &&Value| f["level"] == "bad" || f["check"] == check && f["level"] != "ok";
        let found: Vec<_> = self.findings.iter().filter(bad).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// A domain on an image, both made by hand.
fn domain(site: &Site, name: &str, image: &str, edit: &str) {
    site.sh(&format!("rbd info {image} >/dev/null 2>&1 || rbd create --size 8M {image}"));
    site.sh(&format!(
        "virsh dumpxml --inactive {TEMPLATE} | sed -e '/<uuid>/d; /<mac /d; s|<name>.*</name>|<name>{name}</name>|' \
         -e 's|{TEMPLATE}_VARS|{name}_VARS|; s|{POOL}/{TEMPLATE}|{image}|' -e \"{edit}\" | virsh define /dev/stdin"
    ));
}

#[test]
fn a_healthy_site() {
    let Some(site) = site() else { return };
    let before = site.state();
    for check in ["secret", "caps", "monitors", "domains", "watchers", "template", "inventory", "space", "runs"] {
        doctor(&site, &[]).fine(check);
    }
    let run = site.zs(&["doctor"]).ok().says("ok    secret");
    assert!(!run.out.contains("bad "), "{}", run.out);
    assert_eq!(site.state(), before);
}

#[test]
fn keys_and_caps() {
    let Some(site) = site() else { return };
    let good = format!("mon 'profile rbd' osd 'profile rbd pool={POOL}' mgr 'profile rbd pool={POOL}'");
    let zs = env!("CARGO_BIN_EXE_zs");
    let put_back = format!(
        "for d in z-holds; do virsh destroy $d || true; virsh undefine --nvram $d || true; done; \
         ceph --id admin auth caps client.libvirt {good}; {zs} --yes pool.rhai; \
         rbd rm --no-progress {POOL}/z-holds || true"
    );
    let _after = After(&site, &put_back);
    let caps = |caps: &str| site.sh(&format!("ceph --id admin auth caps client.libvirt {caps} 2>&1"));
    caps(&format!("mon 'allow r' osd 'profile rbd pool={POOL}'"));
    doctor(&site, &[]).has("bad", "caps", "client.libvirt", "dead clients");
    caps(&format!("mon 'profile rbd' osd 'profile rbd-read-only pool={POOL}'"));
    let mend = doctor(&site, &["--ceph-id", "admin"]).has("bad", "caps", "client.libvirt", "not make or clone");
    assert_eq!(mend, "zs pool.rhai");
    caps("mon 'allow *' osd 'allow *'");
    doctor(&site, &[]).has("warn", "caps", "client.libvirt", "everything");
    caps(&good);
    doctor(&site, &[]).fine("caps");
    let config = site.dir.join("cache/admin.toml");
    site.sh(&format!("grep -v '^id' $ZS_CONFIG > {}", config.display()));
    doctor(&site, &["--config", &config.display().to_string()]).has("warn", "caps", "client.admin", "by default");

    // A running domain, and then another value of the secret: first a wrong one, then the right one again.
    let secret = site.sh("virsh -q secret-list | awk '{print $1}'");
    let secret = secret.trim();
    domain(&site, "z-holds", &format!("{POOL}/z-holds"), "");
    site.sh("virsh start --paused z-holds");
    doctor(&site, &[]).fine("old keys");
    let wrong = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
    for value in [wrong, "bm9uc2Vuc2U="] {
        site.sh(&format!("sleep 1; virsh secret-set-value {secret} --base64 {value} 2>/dev/null"));
        let mend = doctor(&site, &[]).has("bad", "secret", secret, "does not take its value");
        assert_eq!(mend, "zs pool.rhai");
    }
    site.zs(&["pool.rhai"]).ok();
    let report = doctor(&site, &[]);
    report.fine("secret");
    assert!(report.has("warn", "old keys", "z-holds", "holds the old one").contains("virsh shutdown z-holds"));
    site.sh("virsh destroy z-holds; virsh start --paused z-holds");
    doctor(&site, &[]).fine("old keys");
    site.sh(&format!("virsh destroy z-holds; virsh undefine --nvram z-holds; rbd rm --no-progress {POOL}/z-holds"));
}

#[test]
fn domains_that_clash() {
    let Some(site) = site() else { return };
    let before = site.state();
    let (one, two) = (format!("{POOL}/z-one"), format!("{POOL}/z-two"));
    let put_back = format!(
        "for d in one two three; do virsh undefine --nvram z-$d || true; rbd rm --no-progress {POOL}/z-$d || true; done; \
         {} pool.rhai",
        env!("CARGO_BIN_EXE_zs")
    );
    let _after = After(&site, &put_back);
    let mac = "s|<interface [^>]*>|&<mac address='52:54:00:00:00:77'/>|";
    domain(&site, "z-one", &one, mac);
    domain(&site, "z-two", &two, &format!("{mac}; s|z-two_VARS|z-one_VARS|; s|{two}|{one}|"));
    // A monitor that has moved.
    domain(&site, "z-three", &two, "s|<host name='127.0.0.1'|<host name='127.0.0.9'|");
    site.sh("virsh pool-destroy images_rbd; virsh pool-dumpxml images_rbd --inactive | sed \"s/127.0.0.1/127.0.0.9/\" | virsh pool-define /dev/stdin");
    let report = doctor(&site, &[]);
    report.has("bad", "domains", &one, "z-one, z-two");
    report.has("warn", "pools", "storage pool images_rbd", "is off");
    report.has("bad", "domains", "z-one_VARS.fd", "z-one, z-two");
    report.has("bad", "domains", "52:54:00:00:00:77", "z-one, z-two");
    report.has("bad", "monitors", "z-three", "not in the monmap");
    report.has("bad", "monitors", "z-three", "does not name mon.a");
    let (mend, pool) = (
        report.has("bad", "monitors", "z-three", "127.0.0.9"),
        report.has("bad", "monitors", "storage pool images_rbd", "127.0.0.9"),
    );
    assert_eq!((mend.as_str(), pool.as_str()), ("zs monitors.rhai z-three", "zs pool.rhai"));
    site.zs(&["pool.rhai"]).ok().says("mended");
    site.zs(&["-n", "monitors.rhai"]).ok().says("virsh.define");
    site.zs(&["monitors.rhai", "z-three"]).ok().says("z-three");
    site.zs(&["monitors.rhai"]).ok().says("nothing to change");
    site.sh("virsh undefine --keep-nvram z-two");
    doctor(&site, &[]).fine("monitors");
    // A disk that is gone, to the trash and altogether; one that somebody has open.
    site.sh(&format!("rbd trash mv {two}"));
    let mend = doctor(&site, &[]).has("bad", "disks", "z-three", &two);
    site.sh(&mend);
    site.sh(&format!(
        "sleep 60 2>/dev/null | rbd watch {one} >/dev/null 2>&1 & echo $! >$LAB_DIR/cache/watch.pid; sleep 1"
    ));
    let mend = doctor(&site, &[]).has("warn", "watchers", &one, "is open by client.");
    site.sh("kill $(cat $LAB_DIR/cache/watch.pid)");
    assert!(mend.contains("ceph osd blocklist add"), "{mend}");
    site.sh(&format!("rbd rm --no-progress {two}"));
    doctor(&site, &[]).has("bad", "disks", "z-three", &two);
    site.sh("virsh undefine --nvram z-one; virsh undefine --nvram z-three");
    site.sh(&format!("timeout 60 bash -c 'until rbd rm --no-progress {one}; do sleep 1; done' 2>/dev/null"));
    doctor(&site, &[]).fine("domains");
    assert_eq!(site.state(), before);
}

/// Quota, a run that was killed, a template that was pulled the plug, a table with clashes, a wrong zs.toml.
#[test]
fn the_site_itself() {
    let Some(site) = site() else { return };
    let put_back = format!(
        "ceph --id admin osd pool set-quota {POOL} max_bytes 0 2>/dev/null; virsh undefine --nvram z-dirty || true; \
         rbd rm --no-progress {POOL}/z-dirty || true; timeout 60 bash -c 'while ceph osd dump | grep -q full_quota; do sleep 1; done'"
    );
    let _after = After(&site, &put_back);
    site.sh(&format!("ceph --id admin osd pool set-quota {POOL} max_bytes 1000000 2>/dev/null"));
    let mend = doctor(&site, &[]).has("bad", "space", POOL, "over its quota");
    site.sh(&format!("ceph --id admin osd pool set-quota {POOL} max_bytes 0 2>/dev/null"));
    site.sh("timeout 60 bash -c 'while ceph osd dump | grep -q full_quota; do sleep 1; done'");
    assert!(mend.contains("set-quota"), "{mend}");

    let killed = site.zs_with(&["-e", &format!("rbd.create(\"{POOL}/z-cut\", \"8M\")")], &[("ZS_FAULT", "kill:1")]);
    assert_ne!(killed.code, 0);
    assert_eq!(doctor(&site, &[]).has("bad", "runs", "run ", "cut off"), "zs recover");
    site.zs(&["recover"]).ok();
    doctor(&site, &[]).fine("runs");

    let cache = site.dir.join("cache").display().to_string();
    site.sh(&format!(
        "rbd export --no-progress {POOL}/{TEMPLATE} {cache}/dirty.raw; \
         start=$(sgdisk -i 2 {cache}/dirty.raw | awk '/First sector/ {{print $3}}'); \
         debugfs -w -R 'feature needs_recovery' \"{cache}/dirty.raw?offset=$((start * 512))\" 2>&1; \
         rbd import --no-progress {cache}/dirty.raw {POOL}/z-dirty; rm {cache}/dirty.raw"
    ));
    domain(&site, "z-dirty", &format!("{POOL}/z-dirty"), "");
    let csv = "layer,name,ip,mac\\n1,a,10.9.9.1,\\n1,b,10.9.9.1,52:54:00:00:00:01\\n1,b,10.9.9.2,52:54:00:00:00:01\\n1,c,,\\n1,d,127.0.0.1,\\n";
    site.sh(&format!(
        "printf '{csv}' > {cache}/clash.csv; sed -e 's|{TEMPLATE}|z-dirty|; s|^inventory.*|inventory = \"clash.csv\"|' \
         $ZS_CONFIG > {cache}/clash.toml; printf '[ceph]\\nconff = 1\\n' > {cache}/wrong.toml"
    ));
    let report = doctor(&site, &["--config", &format!("{cache}/clash.toml")]);
    assert!(report.has("bad", "template", "z-dirty", "shut down cleanly").contains("virsh start z-dirty"));
    report.has("bad", "inventory", "clash.csv:3", "10.9.9.1");
    report.has("bad", "inventory", "clash.csv:4", "name b");
    report.has("bad", "inventory", "clash.csv:4", "52:54:00:00:00:01");
    report.has("warn", "inventory", "clash.csv:5", "no address");
    report.has("warn", "inventory", "clash.csv:6", "mon.a");
    site.sh(&format!("virsh undefine --nvram z-dirty; rbd rm --no-progress {POOL}/z-dirty"));
    let report = doctor(&site, &["--config", &format!("{cache}/clash.toml")]);
    report.has("bad", "template", "z-dirty", "no such domain");
    doctor(&site, &["--config", &format!("{cache}/wrong.toml")]).has("bad", "config", "wrong.toml", "conff");
}

/// What is not installed or not readable; in mount namespaces of their own.
#[test]
fn the_host() {
    let Some(site) = site() else { return };
    let zs = env!("CARGO_BIN_EXE_zs");
    let inside = |command: &str| site.try_sh(&format!("unshare --mount bash -ec '{command}'")).1;
    let hide = "mount -t tmpfs none";
    let text = inside(&format!(
        "for dir in /usr/lib/x86_64-linux-gnu/qemu /usr/lib/x86_64-linux-gnu/libvirt/storage-backend; do \
         {hide} $dir; touch $dir/block-curl.so $dir/libvirt_storage_backend_fs.so; done; mkdir /tmp/zs-empty.$$; \
         PATH=/tmp/zs-empty.$$ {zs} doctor; true"
    ));
    for package in ["qemu-block-extra", "libvirt-daemon-driver-storage-rbd", "qemu-utils", "virtinst"] {
        assert!(text.contains(&format!("apt install {package}")), "{package} not in\n{text}");
    }
    site.sh("rmdir /tmp/zs-empty.*");
    let text = inside(&format!(
        "cp {zs} /tmp/zs-nobody.$$; {hide} /boot; echo kernel > /boot/vmlinuz-6; chmod 600 /boot/vmlinuz-6; \
         setpriv --reuid 65534 --regid 65534 --clear-groups env -i /tmp/zs-nobody.$$ doctor; rm /tmp/zs-nobody.$$"
    ));
    assert!(text.contains("dpkg-statoverride --update --add root root 0644 /boot/vmlinuz-6"), "{text}");
    let text = inside(&format!(
        "mkdir $LAB_DIR/cache/none; touch $LAB_DIR/cache/none/libguestfs.so.0; rm -f /dev/kvm.$$; \
         LD_LIBRARY_PATH=$LAB_DIR/cache/none {zs} doctor; rm -r $LAB_DIR/cache/none"
    ));
    assert!(text.contains("apt install libguestfs0"), "{text}");
}

#[test]
fn services_that_are_down() {
    let Some(site) = site() else { return };
    // The monitor first: libvirtd's storage pool asks it when it starts.
    let start = "lab/ceph start mon; timeout 60 bash -c 'until ceph --connect-timeout 5 -s >/dev/null 2>&1; do sleep 1; done'; \
                 timeout 60 lab/libvirt start";
    let _back = After(&site, start);
    site.sh("lab/libvirt stop; lab/ceph stop mon");
    let report = doctor(&site, &[]);
    site.sh(start);
    assert!(report.run.took.as_secs() < 30, "{:?}", report.run.took);
    let level = |check: &str| report.findings.iter().find(|f| f["check"] == check).map(|f| f["level"].clone());
    assert_eq!((level("ceph"), level("libvirt")), (Some("bad".into()), Some("bad".into())));
    assert!(report.findings.iter().any(|f| f["what"] == "not looked at: Ceph does not answer"));
    assert_eq!(level("libraries"), Some("ok".into()));
    doctor(&site, &[]).fine("ceph");
}
