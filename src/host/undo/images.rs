//! Images that are taken back.

use super::{Outcome, find, gone_is_fine};
use crate::bindings::World;
use crate::bindings::rbd::api::{Snap, Watcher};
use crate::bindings::spec::{ImageSpec, Progress, SnapSpec};
use crate::error::{Error, Result};
use crate::host::gate::ask::users;
use std::time::{Duration, Instant};

/// A crashed client's watch lives on for up to 30 s.
const WATCHER_EXPIRY: Duration = Duration::from_secs(40);

pub(super) fn is_image(world: &dyn World, image: &ImageSpec, id: &str) -> Result<bool> {
    Ok(find(world.rbd().info(image))?.is_some_and(|i| i.id == id))
}

/// Removes those snapshots of an image that are `ours`, protected ones too; how many.
pub(super) fn remove_snaps(world: &dyn World, image: &ImageSpec, ours: impl Fn(&Snap) -> bool) -> Result<usize> {
    let found: Vec<Snap> = world.rbd().snap_ls(image, false)?.into_iter().filter(|s| ours(s)).collect();
    for s in &found {
        let snap = image.at(&s.name);
        if s.protected {
            world.snap_unprotect(&snap)?;
        }
        find(world.snap_rm(&snap))?;
    }
    Ok(found.len())
}

/// Finishes the removal of a snapshot that was killed half way, in the trash of its image; one that was not begun is left
/// as it is.
pub fn finish_snap_removal(world: &dyn World, subject: &str) -> Result<()> {
    let Ok(snap) = subject.parse::<SnapSpec>() else { return Ok(()) };
    let there = find(world.rbd().snap_ls(&snap.image, true))?.unwrap_or_default();
    let half_gone = |s: &Snap| s.original_name.as_ref() == Some(&snap.snap);
    if there.iter().any(half_gone) && !there.iter().any(|s| s.name == snap.snap) {
        find(world.snap_rm(&snap))?;
    }
    Ok(())
}

/// Puts an image back to `base`, unless somebody has written to it since the diff was in.
pub(super) fn roll_back(
    world: &dyn World,
    image: &ImageSpec,
    base: (&str, u64),
    temp: &SnapSpec,
    end: Option<&(SnapSpec, Option<u64>)>,
    notice: &dyn Fn(&str),
) -> Result<Outcome> {
    let snap = image.at(base.0);
    let left = |what: String| Ok(Outcome::Left { what, command: format!("rbd snap rollback {snap}") });
    let there = world.rbd().snap_ls(image, false)?;
    if !there.iter().any(|s| s.name == base.0 && s.id == base.1) {
        return left(format!("{image} cannot be put back: its snapshot {} is gone", base.0));
    }
    let is_end = |s: &Snap| s.name == temp.snap || end.is_some_and(|(e, id)| s.name == e.snap && Some(s.id) == *id);
    if let Some(end) = there.iter().find(|s| is_end(s))
        && !world.rbd().diff(&image.into(), Some(&end.name))?.is_empty()
    {
        return left(format!("{image} was written to since"));
    }
    wait_for_watchers(world, image, notice)?;
    remove_snaps(world, image, is_end)?;
    world.snap_rollback(&snap, &Progress::none())?;
    Ok(Outcome::Done(format!("rolled {image} back to its snapshot {}", base.0)))
}

/// What a removal that was killed half way has left: librbd moves an image to the trash before it deletes its objects.
/// From there `rbd trash ls --all` does not show it, and `rbd ls` lists it as if it were still there (Ceph 16). An image
/// whose making was cut off is listed, too, before it has anything else.
fn finish_removal(world: &dyn World, image: &ImageSpec, temp: &ImageSpec, id: Option<&str>) -> Result<bool> {
    let (pool, namespace) = (&temp.pool, &temp.namespace);
    let mut removed = false;
    for found in world.rbd().ls(pool, namespace)? {
        let ours = found.image == temp.image || found.image == image.image && id == Some(found.id.as_str());
        let listed = temp.sibling(&found.image);
        if ours && find(world.rbd().info(&listed))?.is_none() {
            let p = Progress::none();
            removed |= find(world.trash_rm(pool, namespace, &found.id, true, &p))?.is_some()
                || find(world.remove(&listed, &p))?.is_some();
        }
    }
    Ok(removed)
}

pub(super) fn rename_back(world: &dyn World, now: &ImageSpec, was: &ImageSpec, id: &str) -> Result<Outcome> {
    one_name(world, [now, was], id)?;
    if !is_image(world, now, id)? {
        return Ok(Outcome::Gone);
    }
    gone_is_fine(world.rename(now, was), format!("renamed {now} back to {was}"))
}

/// After a renaming that was killed half way both names lead to the image: the one that is listed stays.
fn one_name(world: &dyn World, names: [&ImageSpec; 2], id: &str) -> Result<()> {
    names.into_iter().try_for_each(|name| world.forget_name(name, id))
}

pub(super) fn remove_image(
    world: &dyn World,
    image: &ImageSpec,
    temp: &ImageSpec,
    id: Option<&str>,
    snaps: &[u64],
    notice: &dyn Fn(&str),
) -> Result<Outcome> {
    if let Some(id) = id {
        one_name(world, [temp, image], id)?;
    }
    let mut removed = finish_removal(world, image, temp, id)?;
    for name in [temp, image] {
        let Some(found) = find(world.rbd().info(name))? else { continue };
        let ours = name == temp || id == Some(found.id.as_str());
        if !ours {
            continue;
        }
        // Defined by somebody since, as by virt-install: what this run defined has been taken back before.
        if name == image
            && let Some(domain) = users(name, world).first()
        {
            return Ok(Outcome::Left {
                what: format!("is the disk of domain {domain}, which this run did not define"),
                command: format!("zs destroy.rhai {}", domain.split(' ').next().unwrap_or_default()),
            });
        }
        wait_for_watchers(world, name, notice)?;
        // librbd cannot remove an image with snapshots. Under the temporary name all are ours.
        let ours = |s: &Snap| name == temp || snaps.contains(&s.id);
        let busy = |why: String| Error::busy(why).op("rbd.remove").subject(name);
        let there = world.rbd().snap_ls(name, false)?;
        if let Some(snap) = there.iter().find(|s| !ours(s)) {
            return Err(busy(format!("has snapshot {}, which this run did not make", snap.name)));
        }
        // Without its name a snapshot with clones would still be there, and hold the image.
        if !there.is_empty()
            && let Some(child) = world.rbd().children(&name.into())?.first()
        {
            return Err(busy(format!("{}/{} is a clone of it, which this run did not make", child.pool, child.image)));
        }
        remove_snaps(world, name, ours)?;
        find(world.remove(name, &Progress::none()))?;
        removed = true;
    }
    Ok(if removed { Outcome::Done(format!("removed image {image}")) } else { Outcome::Gone })
}

/// Puts an image back into the trash, for what was left of its time there.
pub(super) fn move_to_trash(
    world: &dyn World,
    image: &ImageSpec,
    id: &str,
    expires: &str,
    notice: &dyn Fn(&str),
) -> Result<Outcome> {
    if !is_image(world, image, id)? {
        return Ok(Outcome::Gone);
    }
    wait_for_watchers(world, image, notice)?;
    let until = expires.parse::<jiff::Timestamp>().map_or(0, |t| t.as_second());
    let seconds = until - jiff::Timestamp::now().as_second();
    world.trash_mv(image, Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))?;
    Ok(Outcome::Done(format!("moved {image} to the trash again")))
}

pub(super) fn wait_for_watchers(world: &dyn World, image: &ImageSpec, notice: &dyn Fn(&str)) -> Result<()> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let watchers = world.rbd().watchers(image)?;
        let Some(Watcher { address, client, .. }) = watchers.first() else { return Ok(()) };
        if start.elapsed() > WATCHER_EXPIRY || !world.is_live() {
            return Err(Error::busy(format!("open by client.{client} at {address}")).op("rbd.remove").subject(image));
        }
        if !told {
            told = true;
            notice(&format!(
                "{image} is still open by client.{client} at {address}; the watch of a dead client ends within 30 s: waiting"
            ));
        }
        std::thread::sleep(Duration::from_millis(250));
    }
}
