//! Results that many claims of a run ask for again: pure functions of a few numbers, each computed once a thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

/// The most results that are kept; a run asks for a handful.
const MOST_KEPT: usize = 256;

/// What was computed before. To remember changes no bit of a result.
pub struct Memo<K, V>(RefCell<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(RefCell::new(HashMap::new()))
    }

    /// What `compute` gives, from the first time that it was asked for.
    pub fn get(&self, key: K, compute: impl FnOnce() -> V) -> V {
        if let Some(found) = self.0.borrow().get(&key) {
            return found.clone();
        }
        let value = compute();
        let mut kept = self.0.borrow_mut();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_computed_once_and_no_more_than_so_many_are_kept() {
        let (memo, mut computed) = (Memo::new(), 0);
        for _ in 0..3 {
            let mut compute = || {
                computed += 1;
                7
            };
            assert_eq!(memo.get("a", &mut compute), 7);
        }
        assert_eq!(computed, 1);
        let memo = Memo::new();
        for key in 0..10 * MOST_KEPT {
            assert_eq!(memo.get(key, || key + 1), key + 1);
            assert!(memo.0.borrow().len() <= MOST_KEPT);
        }
    }
}
