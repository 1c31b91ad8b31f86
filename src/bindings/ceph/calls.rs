//! Calls into librados and librbd that are going on: for which pool, and how long there has been no sign of life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The calls of one connection.
#[derive(Default)]
pub struct Calls(Mutex<List>);

#[derive(Default)]
struct List {
    next: u64,
    going_on: BTreeMap<u64, (Arc<str>, Instant)>,
}

/// A call that is going on, until this is dropped.
pub struct Ticket {
    calls: Arc<Calls>,
    number: u64,
}

impl Calls {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(self: &Arc<Self>, pool: &Arc<str>) -> Ticket {
        let mut list = self.list();
        list.next += 1;
        let number = list.next;
        list.going_on.insert(number, (pool.clone(), Instant::now()));
        Ticket { calls: self.clone(), number }
    }

    /// The call that has been silent for longest.
    pub fn longest(&self) -> Option<(Arc<str>, Duration)> {
        let list = self.list();
        let (pool, since) = list.going_on.values().min_by_key(|(_, since)| *since)?;
        Some((pool.clone(), since.elapsed()))
    }
}

impl Ticket {
    /// The call has said how far it is.
    pub fn alive(&self) {
        if let Some((_, since)) = self.calls.list().going_on.get_mut(&self.number) {
            *since = Instant::now();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.calls.list().going_on.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_counts() {
        let calls = Arc::new(Calls::default());
        assert!(calls.longest().is_none());
        let (a, b) = ("a".into(), "b".into());
        let first = calls.begin(&a);
        std::thread::sleep(Duration::from_millis(20));
        let second = calls.begin(&b);
        let pool = |c: &Calls| c.longest().map(|(pool, _)| pool.to_string());
        assert_eq!(pool(&calls), Some("a".into()));
        assert!(calls.longest().is_some_and(|(_, silent)| silent >= Duration::from_millis(20)));
        first.alive();
        assert_eq!(pool(&calls), Some("b".into()));
        drop(second);
        assert_eq!(pool(&calls), Some("a".into()));
        drop(first);
        assert!(calls.longest().is_none());
    }
}
