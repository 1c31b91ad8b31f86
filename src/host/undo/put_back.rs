//! Undos that put back what was there, as a whole.

use super::images::{is_image, wait_for_watchers};
use super::{Outcome, find, gone_is_fine};
use crate::bindings::World;
use crate::bindings::rbd::api::Snap;
use crate::bindings::spec::{Progress, SnapSpec};
use crate::error::{Error, Result};

/// Puts an image back to a snapshot of this run, which goes then. `temp` is the name that it had before its id was
/// known: the image was not changed by then.
pub fn roll_back(
    world: &dyn World,
    snap: &SnapSpec,
    temp: &SnapSpec,
    image_id: &str,
    snap_id: Option<u64>,
    notice: &dyn Fn(&str),
) -> Result<Outcome> {
    let image = &snap.image;
    if !is_image(world, image, image_id)? {
        return Ok(Outcome::Gone);
    }
    let there = world.rbd().snap_ls(image, false)?;
    if there.iter().any(|s| s.name == temp.snap) {
        return gone_is_fine(world.snap_rm(temp), format!("removed snapshot {snap}"));
    }
    let is_ours = |s: &Snap| s.name == snap.snap && Some(s.id) == snap_id;
    if !there.iter().any(is_ours) {
        return Ok(match snap_id {
            None => Outcome::Gone,
            Some(_) => Outcome::Left {
                what: format!("{image} stays as it is now: snapshot {snap} is gone"),
                command: format!("rbd snap ls {image}"),
            },
        });
    }
    wait_for_watchers(world, image, notice)?;
    world.snap_rollback(snap, &silent())?;
    gone_is_fine(world.snap_rm(snap), format!("put {image} back to what it was"))
}

fn silent() -> Progress {
    Progress::new(Default::default(), |_, _| {})
}

/// Removes a directory of ours; false when there is none.
pub fn remove_temp_dir(path: &str) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let Some(found) = find(std::fs::symlink_metadata(path).map_err(Error::from))? else { return Ok(false) };
    // Of another user it is not ours, whatever its name.
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
        return Ok(false);
    }
    std::fs::remove_dir_all(path).map_err(|e| Error::from(e).subject(path))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::spec::ImageSpec;
    use crate::bindings::{Site, ceph, rbd};

    #[test]
    fn an_image_goes_back_whatever_was_done_in_it() {
        let site = Site::default();
        let image = ImageSpec::new("p", "a");
        ceph::api::Write::pool_create(&site, "p", &Default::default()).expect("a pool");
        let made = rbd::api::Write::create(&site, &image, 1 << 20, &Default::default());
        made.expect("an image");
        let (snap, temp) = (image.at("zs-resize-1"), image.at(".zs-1"));
        let id = || rbd::api::Read::info(&site, &image).expect("info").id;
        let back = |snap_id| roll_back(&site, &snap, &temp, &id(), snap_id, &|_| ()).expect("rolled back");
        assert_eq!(back(None), Outcome::Gone);

        // Cut short before its id was known: nothing was changed yet.
        rbd::api::Write::snap_create(&site, &temp).expect("a snapshot");
        assert!(matches!(back(None), Outcome::Done(_)));
        assert!(rbd::api::Read::snap_ls(&site, &image, false).expect("ls").is_empty());

        rbd::api::Write::snap_create(&site, &snap).expect("a snapshot");
        let snap_id = rbd::api::Read::snap_ls(&site, &image, false).expect("ls")[0].id;
        rbd::api::Write::resize(&site, &image, 2 << 20, false, &silent()).expect("resized");
        // Somebody else's of the same name.
        assert!(matches!(back(Some(snap_id + 1)), Outcome::Left { .. }));
        assert_eq!(rbd::api::Read::info(&site, &image).expect("info").size, 2 << 20);
        assert!(matches!(back(Some(snap_id)), Outcome::Done(_)));
        assert_eq!(rbd::api::Read::info(&site, &image).expect("info").size, 1 << 20);
        assert!(rbd::api::Read::snap_ls(&site, &image, false).expect("ls").is_empty());
        let other = roll_back(&site, &snap, &temp, "another image", Some(snap_id), &|_| ()).expect("looked");
        assert_eq!(other, Outcome::Gone);
    }
}
