//! Who has images open: only the hypervisor on which their domain runs should.

use super::{Finding, Site};
use crate::bindings::World;
use crate::bindings::rbd::api::{Read as _, Watcher};
use crate::bindings::spec::ImageSpec;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Images asked at the same time: each is opened for it, which takes some 10 ms.
const AT_ONCE: usize = 8;

pub fn look(site: &Site) -> Result<Vec<Finding>> {
    let pool = site.pool();
    let mut images: BTreeMap<ImageSpec, bool> = BTreeMap::new();
    for entry in site.live.rbd().ls(&pool, "")? {
        images.insert(ImageSpec::new(&pool, &entry.image), false);
    }
    for vm in site.domains()? {
        for image in vm.images() {
            *images.entry(image).or_default() |= vm.info.active();
        }
    }
    let images: Vec<(ImageSpec, bool)> = images.into_iter().collect();
    let mut found = Vec::new();
    for ((image, runs), watchers) in images.iter().zip(ask(site, &images)) {
        let watchers = match watchers {
            Err(e) if e.kind == Kind::NotFound => continue,
            watchers => watchers?,
        };
        let list: Vec<String> = watchers.iter().map(|w| format!("client.{} at {}", w.client, w.address)).collect();
        if let (false, Some(first)) = (*runs, watchers.first()) {
            let elsewhere = if site.hosts().is_empty() { "here" } else { "on the hypervisors of this site" };
            let what = format!("is open by {}, and no domain that runs {elsewhere} has it", list.join(", "));
            let mend = format!(
                "stop what runs there; what has died is gone after 30 s, else: ceph osd blocklist add {}",
                first.address
            );
            found.push(Finding::warn(image.to_string(), what).mend(mend));
        } else if *runs && hosts(&watchers) > 1 {
            let what = format!("is open on several hosts at once: {}", list.join(", "));
            found.push(Finding::bad(image.to_string(), what).mend("shut its VM down on all hosts but one, at once"));
        }
    }
    Ok(found)
}

/// The hosts among watchers, by address: `192.168.6.200:0/437947446`.
fn hosts(watchers: &[Watcher]) -> usize {
    let host = |w: &Watcher| w.address.rsplit_once(':').map_or(w.address.clone(), |(host, _)| host.to_string());
    watchers.iter().map(host).collect::<std::collections::BTreeSet<_>>().len()
}

fn ask(site: &Site, images: &[(ImageSpec, bool)]) -> Vec<Result<Vec<Watcher>>> {
    let live = &*site.live;
    let next = AtomicUsize::new(0);
    let answers = Mutex::new((0..images.len()).map(|_| Err(Error::failed("not asked"))).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    let Some((image, _)) = images.get(n) else { break };
                    let answer = live.watchers(image);
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[n] = answer;
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}
