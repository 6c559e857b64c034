//! What is due when: the n-th request at a fixed time after the start, whatever happened to those before it. Pure.

use std::time::Duration;

use serde::Serialize;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Over a connection that a client keeps.
    Keepalive,
    /// Over a connection of its own.
    New,
    /// Over a connection of its own, and takes long.
    Long,
}

/// The requests of the fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: u32,
    clients: u16,
}

/// One request of the fixed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When it is due, after the start.
    pub due: Duration,
    /// How it travels.
    pub kind: Kind,
    /// Which of the clients with kept connections sends it, when one does.
    pub client: usize,
}

impl Schedule {
    /// `rate` requests per second; the kept connections belong to `clients` clients in turn.
    pub fn new(rate: u32, clients: u16) -> Self {
        Self { rate: rate.max(1), clients: clients.max(1) }
    }

    /// The n-th request, from 0.
    pub fn slot(&self, n: u64) -> Slot {
        let nanoseconds = u128::from(n) * 1_000_000_000 / u128::from(self.rate);
        Slot {
            due: Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)),
            kind: if n.is_multiple_of(2) { Kind::Keepalive } else { Kind::New },
            client: usize::try_from((n / 2) % u64::from(self.clients)).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_kept_half_is_new_and_clients_take_turns() {
        let schedule = Schedule::new(200, 3);
        let slots: Vec<Slot> = (0..8).map(|n| schedule.slot(n)).collect();
        let kept: Vec<usize> =
            slots.iter().filter(|slot| slot.kind == Kind::Keepalive).map(|slot| slot.client).collect();
        assert_eq!(kept, [0, 1, 2, 0]);
        assert_eq!(slots.iter().filter(|slot| slot.kind == Kind::New).count(), 4);
    }

    #[test]
    fn due_times_do_not_drift() {
        assert_eq!(Schedule::new(200, 8).slot(1).due, Duration::from_millis(5));
        assert_eq!(Schedule::new(300, 8).slot(300 * 1800).due, Duration::from_secs(1800));
    }
}
