//! Appliances that have done with one guest and wait for the next: a start costs seconds, to exchange the disk a tenth.

use super::launch::Appliance;
use super::lock;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Then the memory is given back. Of a fleet, the next guest comes within moments.
const KEPT: Duration = Duration::from_secs(15);

#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<Vec<(Instant, Appliance)>>>);

fn end(a: Appliance) {
    let Appliance { h, .. } = a;
    h.drop_at_once();
}

impl Idle {
    fn list(&self) -> MutexGuard<'_, Vec<(Instant, Appliance)>> {
        lock(&self.0)
    }

    /// One with a drive of this size. Another makes room, since the next to come is of the size that is asked for now.
    pub fn take(&self, size: Option<u64>) -> Option<Appliance> {
        let mut list = self.list();
        let fits = list.iter().position(|(_, a)| Some(a.drive.size) == size);
        let found = fits.or_else(|| list.len().checked_sub(1)).map(|i| list.swap_remove(i).1);
        drop(list);
        match found {
            Some(a) if fits.is_some() => Some(a),
            other => {
                other.into_iter().for_each(end);
                None
            }
        }
    }

    /// Keeps one for a while. Its drive is empty.
    pub fn put(&self, a: Appliance) {
        a.seat.leave();
        self.list().push((Instant::now(), a));
        let idle = self.clone();
        let late = std::thread::Builder::new().name("idle".into()).spawn(move || {
            std::thread::sleep(KEPT);
            idle.end_older_than(KEPT);
        });
        if late.is_err() {
            self.end_all();
        }
    }

    fn end_older_than(&self, age: Duration) {
        let mut list = self.list();
        let (old, kept): (Vec<_>, Vec<_>) = list.drain(..).partition(|(since, _)| since.elapsed() >= age);
        *list = kept;
        drop(list);
        old.into_iter().for_each(|(_, a)| end(a));
    }

    pub fn end_all(&self) {
        self.end_older_than(Duration::ZERO);
    }
}
