//! What holds of libvirt, told once and tried on the model and on a real libvirt.
//!
//! `ZS_LAB=1` adds the libvirt of `$LIBVIRT_DEFAULT_URI`, and the model laid over it. Names begin with `zs-test-`.

use super::api::{FileId, Read, UndefineOpts, VolumeOpts, Write};
use super::definition::{Doc, rbd_disks};
use crate::bindings::ceph;
use crate::bindings::live::Settings;
use crate::bindings::spec::{Cancel, Progress};
use crate::bindings::{Live, Site};
use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

mod block;
mod connection;
mod domains;
mod overlay;
mod storage;

fn lab() -> bool {
    std::env::var("ZS_LAB").is_ok_and(|v| v == "1")
}

fn live(uri: Option<&str>) -> Live {
    let settings = Settings { libvirt_uri: uri.map(String::from), ceph_id: "admin".into(), ..Settings::default() };
    Live::new(settings, Cancel::default(), Arc::new(|_| {}))
}

/// The worlds to try on, with the word that keeps their names apart. The model over the lab leaves no trace in it.
fn worlds() -> Vec<(&'static str, Box<dyn Write>)> {
    let mut all: Vec<(&'static str, Box<dyn Write>)> = vec![("model", Box::new(model()))];
    if lab() {
        all.push(("over", Box::new(Site::over(Arc::new(live(None))))));
        all.push(("live", Box::new(live(None))));
    }
    all
}

/// With the Ceph pool `p`, for storage pools of type rbd.
fn model() -> Site {
    let site = Site::default();
    ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
    site
}

/// A name of its own for each test and world: tests run at once.
fn name(world: &str, what: &str) -> String {
    format!("zs-test-{}-{world}-{what}", std::process::id())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: Kind) -> Error {
    let e = result.expect_err("must be refused");
    assert_eq!(e.kind, kind, "{e} (code {:?})", e.code);
    e
}

/// A domain that starts on any machine: emulated, without disk.
fn xml(name: &str, more: &str, os: &str, devices: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name>{more}<memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type>{os}</os><features><acpi/></features>\
         <devices>{devices}</devices></domain>"
    )
}

fn uefi(nvram: &str) -> String {
    format!(
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>{}",
        if nvram.is_empty() { String::new() } else { format!("<nvram>{nvram}</nvram>") }
    )
}

/// Undoes what a test has defined, also when it fails.
struct Sweep<'a>(&'a dyn Write, Vec<String>);

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        for domain in &self.1 {
            let _ = self.0.destroy(domain);
            let all = UndefineOpts { nvram: true, managed_save: true, ..UndefineOpts::default() };
            let keep = UndefineOpts { keep_nvram: true, ..UndefineOpts::default() };
            let _ = self.0.undefine(domain, &all).or_else(|_| self.0.undefine(domain, &keep));
        }
    }
}
