//! What lists showed last: a kubelet asks for all pods and containers every second, and hardly any has changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Each record with what was made of it. A record that changes is another one, so nothing here is ever old.
#[derive(Debug)]
pub(super) struct Shown<R, T>(Mutex<HashMap<String, (Arc<R>, T)>>);

impl<R, T> Default for Shown<R, T> {
    fn default() -> Self {
        Shown(Mutex::default())
    }
}

impl<R, T> Shown<R, T> {
    /// What `pick` takes of `all`, in their order. `show` answers `None` for what is no item of this list.
    pub(super) fn list<U>(
        &self,
        all: &[Arc<R>],
        id: impl Fn(&R) -> &str,
        show: impl Fn(&R) -> Option<T>,
        pick: impl Fn(&T) -> Option<U>,
    ) -> Vec<U> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > 2 * all.len() {
            // Most of it is gone.
            known.clear();
        }
        let mut listed = Vec::new();
        for it in all {
            let is_same = known.get(id(it)).is_some_and(|(record, _)| Arc::ptr_eq(record, it));
            if !is_same {
                let Some(item) = show(it) else { continue };
                known.insert(id(it).to_owned(), (Arc::clone(it), item));
            }
            listed.extend(known.get(id(it)).and_then(|(_, item)| pick(item)));
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn record(id: &str) -> Arc<String> {
        Arc::new(id.to_owned())
    }

    #[test]
    fn only_what_changed_is_made_anew() {
        let shown = Shown::default();
        let made = Cell::new(0);
        let show = |it: &String| {
            made.set(made.get() + 1);
            (it != "none").then(|| it.clone())
        };
        let any = |it: &String| Some(it.clone());
        let mut all = vec![record("one"), record("none"), record("two")];
        for _ in 0..2 {
            assert_eq!(shown.list(&all, |it| it, show, any), ["one", "two"]);
        }
        assert_eq!(made.get(), 4, "what is no item is looked at again");
        assert_eq!(shown.list(&all, |it| it, show, |id| any(id).filter(|id| id == "two")), ["two"]);
        all[0] = record("one");
        made.set(0);
        assert_eq!(shown.list(&all, |it| it, show, any), ["one", "two"]);
        assert_eq!(made.get(), 2);
        assert_eq!(shown.list(&[], |it| it, show, any), Vec::<String>::new());
    }
}
