//! Whether this process may write: what the election says, as everything that writes sees it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::watch;

use crate::clock::Stopwatch;

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Another one leads, or nobody is known to.
    Follows,
    /// It leads; with an election, in this term: how many times the lease has changed hands.
    Leads(Option<i64>),
}

/// Whether this process may write.
#[derive(Debug)]
pub struct Leadership {
    clock: Stopwatch,
    /// Until when, in milliseconds on the clock. Looked at before each write: a process that was stopped meanwhile
    /// learns from it first that its time went by.
    until: AtomicU64,
    role: watch::Sender<Role>,
}

impl Leadership {
    /// Of a process that is alone and always leads.
    #[must_use]
    pub fn alone() -> Self {
        Self { until: AtomicU64::new(u64::MAX), role: watch::Sender::new(Role::Leads(None)), clock: Stopwatch::start() }
    }

    /// Of one that has to be elected first.
    #[must_use]
    pub fn to_be_elected() -> Self {
        Self { until: AtomicU64::new(0), role: watch::Sender::new(Role::Follows), clock: Stopwatch::start() }
    }

    /// Returns the time on the clock that counts here.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns whether a write may leave now.
    #[must_use]
    pub fn may_write(&self) -> bool {
        millis(self.now()) < self.until.load(Ordering::SeqCst)
    }

    /// Returns the role and its changes.
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Returns the term; nothing without an election or while another one leads.
    #[must_use]
    pub fn term(&self) -> Option<i64> {
        match *self.role.borrow() {
            Role::Leads(term) => term,
            Role::Follows => None,
        }
    }

    /// It leads, until then.
    pub(super) fn leads(&self, term: i64, until: Duration) {
        self.until.store(millis(until), Ordering::SeqCst);
        self.tell(Role::Leads(Some(term)));
    }

    /// It leads no longer.
    pub(super) fn follows(&self) {
        self.until.store(0, Ordering::SeqCst);
        self.tell(Role::Follows);
    }

    fn tell(&self, role: Role) {
        self.role.send_if_modified(|known| std::mem::replace(known, role) != role);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_writes_until_its_time_is_over() {
        let leadership = Leadership::to_be_elected();
        assert!(!leadership.may_write());
        leadership.leads(3, leadership.now() + Duration::from_secs(60));
        assert!(leadership.may_write());
        assert_eq!(leadership.term(), Some(3));
        // Nothing was told of it yet, as to a process that was stopped.
        leadership.leads(3, leadership.now());
        assert!(!leadership.may_write());
        leadership.follows();
        assert_eq!((leadership.term(), *leadership.role().borrow()), (None, Role::Follows));
        assert!(Leadership::alone().may_write());
    }
}
