//! The cluster: whether it answers, what it says of itself, how full it is.

use super::{Finding, Level, Site};
use crate::bindings::World;
use crate::bindings::ceph::api::{Pool, PoolStats};
use crate::error::Result;
use crate::helpers::units::human_size as human;
use serde_json::{Value, json};

/// Beyond these parts of what there is, a warning; the second is the end.
const NEAR: f64 = 0.85;
const FULL: f64 = 0.95;

pub fn health(site: &Site) -> Result<Vec<Finding>> {
    if let Err(e) = site.ceph() {
        return Ok(vec![Finding::of(&e, "Ceph")]);
    }
    let answer = site.live.ceph().query(&json!({"prefix": "health", "detail": "detail"}))?;
    Ok(health_findings(&answer))
}

fn health_findings(answer: &Value) -> Vec<Finding> {
    let checks = answer["checks"].as_object().into_iter().flatten();
    let seen = checks.filter(|(_, c)| c["muted"].as_bool() != Some(true));
    let finding = |(name, c): (&String, &Value)| {
        let level = if c["severity"] == "HEALTH_ERR" { Level::Bad } else { Level::Warn };
        let detail = c["detail"][0]["message"].as_str().map(|d| format!("; {d}")).unwrap_or_default();
        let what = format!("{}{detail}", c["summary"]["message"].as_str().unwrap_or("no word more"));
        Finding::new(level, name.as_str(), what).mend(cure(name))
    };
    seen.map(finding).collect()
}

/// What the operator of a cluster does about its complaints.
fn cure(check: &str) -> &'static str {
    match check {
        "OSD_DOWN" | "OSD_HOST_DOWN" => "systemctl start ceph-osd@ID on the host that `ceph osd tree` shows",
        "MON_DOWN" => "systemctl start ceph-mon@NAME on its host",
        "MON_CLOCK_SKEW" => "chronyc makestep on the monitors' hosts",
        "OSD_NEARFULL" | "OSD_BACKFILLFULL" | "OSD_FULL" | "POOL_NEARFULL" | "POOL_BACKFILLFULL" => {
            "zs orphans.rhai; then `ceph osd df`: add OSDs, or remove images"
        }
        "POOL_FULL" => "ceph osd pool set-quota POOL max_bytes N, or remove images",
        _ => "ceph health detail",
    }
}

pub fn space(site: &Site) -> Result<Vec<Finding>> {
    let name = site.pool();
    let Some(pool) = site.live.ceph().pools()?.into_iter().find(|p| p.pool_name == name) else {
        return Ok(vec![Finding::bad(name, "there is no such pool").mend("zs pool.rhai")]);
    };
    let mut found = space_findings(&pool, &site.live.ceph().pool_stats(&name)?);
    if !pool.applications.iter().any(|a| a == "rbd") {
        found.push(Finding::warn(name, "is not marked for use by RBD").mend("zs pool.rhai"));
    }
    Ok(found)
}

fn space_findings(pool: &Pool, stats: &PoolStats) -> Vec<Finding> {
    let name = &pool.pool_name;
    let mut found = Vec::new();
    let quotas = [
        ("max_bytes", stats.stored, pool.quota_max_bytes, human(stats.stored), human(pool.quota_max_bytes)),
        (
            "max_objects",
            stats.objects,
            pool.quota_max_objects,
            stats.objects.to_string(),
            pool.quota_max_objects.to_string(),
        ),
    ];
    for (key, used, quota, used_text, quota_text) in quotas {
        let mend = format!("ceph osd pool set-quota {name} {key} N, or remove images: zs orphans.rhai");
        if quota > 0 && used >= quota {
            let what = format!("is over its quota: {used_text} of {quota_text}; writes of guests hang");
            found.push(Finding::bad(name, what).mend(mend));
        } else if quota > 0 && used as f64 >= quota as f64 * NEAR {
            found.push(Finding::warn(name, format!("is near its quota: {used_text} of {quota_text}")).mend(mend));
        }
    }
    if pool.full && found.iter().all(|f| f.level != Level::Bad) {
        let mend = "`ceph df`, `ceph osd df`; raise the quota, add OSDs, or remove images: zs orphans.rhai";
        found.push(Finding::bad(name, "is marked full: writes of guests hang").mend(mend));
    }
    let part = stats.stored as f64 / (stats.stored as f64 + stats.max_avail as f64).max(1.0);
    if part >= NEAR {
        let level = if part >= FULL { Level::Bad } else { Level::Warn };
        let what = format!("is {:.0} % full: {} left", part * 100.0, human(stats.max_avail));
        found.push(Finding::new(level, name, what).mend("add OSDs, or remove images: zs orphans.rhai"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_a_pool_is() {
        let pool =
            |quota: u64, full: bool| Pool { pool_name: "p".into(), quota_max_bytes: quota, full, ..Pool::default() };
        let stats = |stored: u64, left: u64| PoolStats { stored, max_avail: left, ..PoolStats::default() };
        let levels = |p: &Pool, s: &PoolStats| space_findings(p, s).iter().map(|f| f.level).collect::<Vec<_>>();
        assert_eq!(levels(&pool(0, false), &stats(10, 90)), []);
        assert_eq!(levels(&pool(100, false), &stats(90, 1000)), [Level::Warn]);
        assert_eq!(levels(&pool(100, true), &stats(120, 1000)), [Level::Bad]);
        assert_eq!(levels(&pool(0, true), &stats(0, 0)), [Level::Bad]);
        assert_eq!(levels(&pool(0, false), &stats(90, 10)), [Level::Warn]);
        assert_eq!(levels(&pool(0, false), &stats(99, 1)), [Level::Bad]);
    }

    #[test]
    fn what_the_cluster_says() {
        let answer = json!({"checks": {
            "OSD_NEARFULL": {"severity": "HEALTH_WARN", "summary": {"message": "1 nearfull osd(s)"},
                             "detail": [{"message": "osd.0 is near full"}], "muted": false},
            "POOL_FULL": {"severity": "HEALTH_ERR", "summary": {"message": "1 pool(s) full"}, "detail": []},
            "X": {"severity": "HEALTH_WARN", "summary": {"message": "old"}, "muted": true}
        }});
        let found = health_findings(&answer);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].level, found[0].what.as_str()), (Level::Warn, "1 nearfull osd(s); osd.0 is near full"));
        assert_eq!(found[1].level, Level::Bad);
    }
}
