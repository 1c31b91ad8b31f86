//! A copy-on-write map: what a model has changed, over what lies beneath.

use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `None` in the map: removed here, whatever the base says.
pub struct Layer<K, V>(Mutex<BTreeMap<K, Option<V>>>);

impl<K, V> Default for Layer<K, V> {
    fn default() -> Self {
        Layer(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone, V: Clone> Layer<K, V> {
    fn own(&self) -> MutexGuard<'_, BTreeMap<K, Option<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value here, else the one of `base`.
    pub fn get(&self, key: &K, base: impl FnOnce() -> Result<Option<V>>) -> Result<Option<V>> {
        if let Some(v) = self.own().get(key) {
            return Ok(v.clone());
        }
        base()
    }

    pub fn put(&self, key: K, value: V) {
        self.own().insert(key, Some(value));
    }

    pub fn remove(&self, key: K) {
        self.own().insert(key, None);
    }

    /// All keys, own and of the base, without the removed ones; sorted.
    pub fn keys(&self, base: Vec<K>) -> Vec<K> {
        let own = self.own();
        let mut all: BTreeMap<K, ()> = base.into_iter().filter(|k| !own.contains_key(k)).map(|k| (k, ())).collect();
        all.extend(own.iter().filter(|(_, v)| v.is_some()).map(|(k, _)| (k.clone(), ())));
        all.into_keys().collect()
    }

    /// What this layer itself holds (not the removed keys).
    pub fn own_values(&self) -> Vec<(K, V)> {
        self.own().iter().filter_map(|(k, v)| v.clone().map(|v| (k.clone(), v))).collect()
    }
}
