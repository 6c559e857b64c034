//! Who leads: what a candidate for a lease does next; pure.
//!
//! In: the lease as last read and since when it has not changed, what this candidate did itself, the time on its own
//! monotonic clock. Out: [`Next`]. Times of other machines are never compared with ours: that the lease *changes* is
//! the sign of life, as in client-go, so that clocks may differ by any amount and only their rates matter.

use std::time::Duration;

/// How long a lease holds, and how it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease must not have changed before somebody else takes it.
    pub lease: Duration,
    /// How long after its last renewal a leader stops to write.
    pub renew: Duration,
    /// How long between two tries.
    pub retry: Duration,
}

impl Terms {
    /// Says what is wrong with them.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { lease, renew, retry } = self;
        if lease <= renew {
            return Some(format!(
                "the lease ({lease:?}) must last longer than its holder may act without renewing it ({renew:?}), or two \
                 would lead at once"
            ));
        }
        // Two tries must fit in, and what the clocks' rates differ by.
        let twice = *retry * 2;
        (retry.is_zero() || *renew <= twice).then(|| {
            format!("a leader must be able to try twice before it gives up: {renew:?} is not more than twice {retry:?}")
        })
    }
}

/// A candidate: what it is called and what it has done.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its name, which nobody else has.
    pub identity: String,
    /// How long it holds the lease, and how often it tries.
    pub terms: Terms,
    /// How much longer than needed it waits for a lease that is over, so that not all followers try at once.
    pub jitter: Duration,
    /// When it sent the last renewal that was granted; `None` while it does not lead.
    pub renewed: Option<Duration>,
    /// When it last tried in vain.
    pub failed: Option<Duration>,
}

/// What is known of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It must be read.
    Nothing,
    /// There is none.
    Absent,
    /// It was seen like this.
    Seen(LeaseSeen),
}

/// A lease as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSeen {
    /// Who holds it; nobody when it was given back.
    pub holder: String,
    /// How long it lasts, by the word of whoever holds it.
    pub lasts: Duration,
    /// How many times it has changed hands.
    pub transitions: i32,
    /// Since when, on our own clock, it has been seen like this.
    pub since: Duration,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Reads it.
    Read,
    /// Makes it.
    Create,
    /// Writes our name over the version that was seen.
    Take {
        /// How many times it has then changed hands.
        transitions: i32,
    },
    /// Writes our name once more.
    Renew,
    /// Nothing until then, unless it changes.
    Wait(Duration),
}

/// Decides what to do next.
#[must_use]
pub fn decide(known: &Known, me: &Me, now: Duration) -> Next {
    let (due, next) = match known {
        Known::Nothing => (Duration::ZERO, Next::Read),
        Known::Absent => (Duration::ZERO, Next::Create),
        Known::Seen(lease) => due(lease, me),
    };
    let again = me.failed.map_or(Duration::ZERO, |failed| failed + me.terms.retry);
    let at = due.max(again);
    if at <= now { next } else { Next::Wait(at) }
}

fn due(lease: &LeaseSeen, me: &Me) -> (Duration, Next) {
    let take = Next::Take { transitions: lease.transitions.saturating_add(1) };
    match me.renewed {
        Some(renewed) if lease.holder == me.identity => (renewed + me.terms.retry, Next::Renew),
        // It was ours and our time went by: nobody took it meanwhile, but what we had begun is over. A term of its own,
        // so that what is still on its way from the one before is fenced like anybody else's.
        None | Some(_) if lease.holder == me.identity || lease.holder.is_empty() => (Duration::ZERO, take),
        None | Some(_) => (lease.since + lease.lasts + me.jitter, take),
    }
}

/// Returns until when a leader may write.
#[must_use]
pub fn writes_until(me: &Me) -> Option<Duration> {
    me.renewed.map(|renewed| renewed + me.terms.renew)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const TERMS: Terms = Terms { lease: s(15), renew: s(10), retry: s(2) };

    fn me(renewed: Option<u64>, failed: Option<u64>) -> Me {
        Me { identity: "a".into(), terms: TERMS, jitter: s(1), renewed: renewed.map(s), failed: failed.map(s) }
    }

    fn seen(holder: &str, since: u64) -> Known {
        Known::Seen(LeaseSeen { holder: holder.into(), lasts: s(15), transitions: 3, since: s(since) })
    }

    #[test]
    fn what_a_candidate_does_next() {
        let take = Next::Take { transitions: 4 };
        let table = [
            ("nothing is known", Known::Nothing, me(None, None), 0, Next::Read),
            ("reading has just failed", Known::Nothing, me(None, Some(4)), 5, Next::Wait(s(6))),
            ("reading failed a while ago", Known::Nothing, me(None, Some(4)), 6, Next::Read),
            ("there is none", Known::Absent, me(None, None), 0, Next::Create),
            ("it was given back", seen("", 100), me(None, None), 100, take),
            (
                "it was given back, but a try has just failed",
                seen("", 100),
                me(None, Some(100)),
                101,
                Next::Wait(s(102)),
            ),
            ("somebody renews it", seen("b", 100), me(None, None), 101, Next::Wait(s(116))),
            (
                "it has not changed for nearly as long as it lasts",
                seen("b", 100),
                me(None, None),
                115,
                Next::Wait(s(116)),
            ),
            ("it has not changed for as long as it lasts, and a bit", seen("b", 100), me(None, None), 116, take),
            ("we lead", seen("a", 100), me(Some(100), None), 101, Next::Wait(s(102))),
            ("we lead and it is time", seen("a", 100), me(Some(100), None), 102, Next::Renew),
            ("we lead and renewing has just failed", seen("a", 100), me(Some(100), Some(102)), 103, Next::Wait(s(104))),
            ("our time went by and nobody took it", seen("a", 100), me(None, None), 111, take),
            ("somebody took it from us", seen("b", 116), me(None, None), 117, Next::Wait(s(132))),
        ];
        for (when, known, me, now, next) in table {
            assert_eq!(decide(&known, &me, s(now)), next, "{when}");
        }
    }

    #[test]
    fn a_leader_has_stopped_before_anybody_else_begins() {
        // It renews at 100; the follower sees that at once, or later. Both clocks run alike.
        let leader = me(Some(100), None);
        let stops = writes_until(&leader).unwrap();
        let mut follower = me(None, None);
        follower.identity = "b".into();
        follower.jitter = Duration::ZERO;
        for delay in 0..5 {
            let known = seen("a", 100 + delay);
            let begins = (0..).map(s).find(|now| matches!(decide(&known, &follower, *now), Next::Take { .. }));
            assert!(begins.unwrap() >= stops + s(5), "seen {delay} s later");
        }
        assert_eq!(writes_until(&me(None, None)), None, "who does not lead does not write");
    }

    #[test]
    fn the_others_clocks_do_not_matter() {
        // Whatever time the holder may have written, only when we saw it counts; so nothing of it is kept.
        let known = seen("b", 5);
        assert_eq!(decide(&known, &me(None, None), s(6)), Next::Wait(s(21)));
    }

    #[test]
    fn terms_under_which_two_could_lead_are_refused() {
        assert_eq!(TERMS.problem(), None);
        for bad in
            [Terms { lease: s(10), ..TERMS }, Terms { renew: s(4), ..TERMS }, Terms { retry: Duration::ZERO, ..TERMS }]
        {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }
}
