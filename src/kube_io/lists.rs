//! Whether watches have listed: a cache that was never filled shows nothing, which is not the same as nothing being
//! there.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

/// Counts the lists of one scope that were not read yet. Each has its own: a namespace that is gone, or whose rights
/// are, must not keep the others waiting.
#[derive(Debug)]
pub struct Lists {
    open: AtomicUsize,
    filled: watch::Sender<bool>,
}

/// Whether all lists of a scope were read, by namespace; one without a name where all are served.
#[derive(Debug)]
pub struct Filled(HashMap<Option<String>, watch::Receiver<bool>>);

/// Returns a counter of `lists` lists for each scope, and what they amount to.
#[must_use]
pub fn counted(scopes: &[Option<String>], lists: usize) -> (Vec<Lists>, Filled) {
    let (counters, receivers): (Vec<_>, Vec<_>) = scopes
        .iter()
        .map(|scope| {
            let (filled, receiver) = watch::channel(false);
            (Lists { open: AtomicUsize::new(lists), filled }, (scope.clone(), receiver))
        })
        .unzip();
    (counters, Filled(receivers.into_iter().collect()))
}

impl Lists {
    /// Counts a list that was read for the first time.
    pub fn read_one(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.filled.send_replace(true);
        }
    }
}

impl Filled {
    /// Waits until every watch over a namespace has listed; false when that will never be.
    pub async fn wait(&self, namespace: Option<String>) -> bool {
        let Some(filled) = self.0.get(&namespace).or_else(|| self.0.get(&None)) else { return false };
        filled.clone().wait_for(|filled| *filled).await.is_ok()
    }

    /// Returns whether every watch over every namespace has listed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.values().all(|filled| *filled.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_scope_waits_for_its_own_lists() {
        let (lists, filled) = counted(&[Some("a".into()), Some("b".into())], 2);
        lists[0].read_one();
        assert!(!*filled.0[&Some("a".into())].borrow(), "one of two");
        lists[0].read_one();
        assert!(filled.wait(Some("a".into())).await && !filled.is_whole());
        assert!(!filled.wait(Some("c".into())).await, "nobody watches that one");
        lists[1].read_one();
        drop(lists);
        assert!(!filled.wait(Some("b".into())).await, "its watches ended before they had listed");
    }

    #[tokio::test]
    async fn one_scope_may_be_all_namespaces() {
        let (lists, filled) = counted(&[None], 1);
        lists[0].read_one();
        assert!(filled.wait(Some("any".into())).await && filled.is_whole());
    }
}
