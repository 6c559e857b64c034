//! Whose turn it is: few are worked on at once, what may have to go back first, and no namespace before all others.
//!
//! [`Line`] decides and is pure; [`Turns`] lets tasks wait in it. Thousands may wait: each is a few bytes in a queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// How urgent something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Users may be on something that has to be left.
    First,
    /// Everything else.
    Usual,
}

/// Who waits, by namespace; the namespaces take turns.
#[derive(Debug)]
struct Waiting<T> {
    /// The namespaces in which somebody waits, the next one first.
    order: VecDeque<String>,
    tickets: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), tickets: HashMap::new() }
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, namespace: &str, ticket: T) {
        let tickets = self.tickets.entry(namespace.to_owned()).or_default();
        if tickets.is_empty() {
            self.order.push_back(namespace.to_owned());
        }
        tickets.push_back(ticket);
    }

    fn pop(&mut self) -> Option<T> {
        let namespace = self.order.pop_front()?;
        let tickets = self.tickets.get_mut(&namespace)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.tickets.remove(&namespace);
        } else {
            self.order.push_back(namespace);
        }
        ticket
    }

    fn len(&self) -> usize {
        self.tickets.values().map(VecDeque::len).sum()
    }
}

/// A line before a few places, some of which are kept for what goes first.
#[derive(Debug)]
pub struct Line<T> {
    places: usize,
    kept: usize,
    first: usize,
    usual: usize,
    waiting_first: Waiting<T>,
    waiting_usual: Waiting<T>,
}

impl<T> Line<T> {
    /// Makes a line before so many places, of which so many are kept.
    #[must_use]
    pub fn new(places: usize, kept: usize) -> Self {
        let (waiting_first, waiting_usual) = (Waiting::default(), Waiting::default());
        Self { places, kept, first: 0, usual: 0, waiting_first, waiting_usual }
    }

    /// Joins the line.
    pub fn join(&mut self, namespace: &str, urgency: Urgency, ticket: T) {
        match urgency {
            Urgency::First => self.waiting_first.push(namespace, ticket),
            Urgency::Usual => self.waiting_usual.push(namespace, ticket),
        }
    }

    /// Gives a place to whoever comes next, when there is one for it.
    pub fn let_in(&mut self) -> Option<(T, Urgency)> {
        if self.first + self.usual >= self.places {
            return None;
        }
        if let Some(ticket) = self.waiting_first.pop() {
            self.first += 1;
            return Some((ticket, Urgency::First));
        }
        if self.usual + self.kept >= self.places {
            return None;
        }
        let ticket = self.waiting_usual.pop()?;
        self.usual += 1;
        Some((ticket, Urgency::Usual))
    }

    /// Takes a place back.
    pub fn leave(&mut self, urgency: Urgency) {
        let taken = match urgency {
            Urgency::First => &mut self.first,
            Urgency::Usual => &mut self.usual,
        };
        *taken = taken.saturating_sub(1);
    }

    /// Returns how many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting_first.len() + self.waiting_usual.len()
    }
}

/// Lets tasks wait for their turn.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Mutex<Line<oneshot::Sender<Place>>>>);

/// A place that was given; it is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    turns: Turns,
    urgency: Urgency,
}

impl Turns {
    /// Makes so many places, of which so many are kept for what goes first.
    #[must_use]
    pub fn new(places: usize, kept: usize) -> Self {
        Self(Arc::new(Mutex::new(Line::new(places, kept))))
    }

    /// Waits for a place.
    pub async fn wait(&self, namespace: &str, urgency: Urgency) -> Option<Place> {
        let (ticket, place) = oneshot::channel();
        self.lock().join(namespace, urgency, ticket);
        self.give();
        place.await.ok()
    }

    /// Returns how many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Gives away what is free.
    fn give(&self) {
        loop {
            // Not while the line is locked: a place that nobody takes any more comes back at once.
            let next = self.lock().let_in();
            let Some((ticket, urgency)) = next else { return };
            let _ = ticket.send(Place { turns: self.clone(), urgency });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line<oneshot::Sender<Place>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.lock().leave(self.urgency);
        self.turns.give();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets everybody in who may come in, in order.
    fn all_in(line: &mut Line<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| line.let_in().map(|(ticket, _)| ticket)).collect()
    }

    #[test]
    fn rule_14_input_64_a_burst_in_one_namespace_does_not_delay_another() {
        let mut line = Line::new(8, 2);
        for _ in 0..5_000 {
            line.join("noisy", Urgency::Usual, "noisy");
        }
        assert_eq!(all_in(&mut line), ["noisy"; 6], "two places are kept");
        line.join("quiet", Urgency::Usual, "quiet");
        line.leave(Urgency::Usual);
        line.leave(Urgency::Usual);
        assert_eq!(all_in(&mut line), ["noisy", "quiet"], "the second to come in, not the five thousandth");
        assert_eq!(line.waiting(), 4_993);
    }

    #[test]
    fn rule_14_what_may_have_to_go_back_goes_first_and_finds_a_place_whatever_else_is_under_way() {
        let mut line = Line::new(8, 2);
        for _ in 0..100 {
            line.join("noisy", Urgency::Usual, "usual");
        }
        assert_eq!(all_in(&mut line).len(), 6);
        line.join("noisy", Urgency::First, "back");
        assert_eq!(all_in(&mut line), ["back"], "though no other has ended");
        line.join("noisy", Urgency::First, "back");
        line.join("noisy", Urgency::First, "back");
        assert_eq!(all_in(&mut line), ["back"], "no more than eight in all");
        line.leave(Urgency::Usual);
        assert_eq!(all_in(&mut line), ["back"], "before those that came earlier");
        line.leave(Urgency::First);
        assert_eq!(all_in(&mut line), ["usual"], "six others are at work again");
        line.leave(Urgency::First);
        assert_eq!(all_in(&mut line), ["usual"; 0], "one place is free, and kept");
    }

    #[test]
    fn rule_14_ways_back_are_fair_among_each_other() {
        let mut line = Line::new(1, 0);
        for _ in 0..3 {
            line.join("a", Urgency::First, "a");
        }
        line.join("b", Urgency::First, "b");
        let mut order = vec![];
        while let Some((ticket, urgency)) = line.let_in() {
            order.push(ticket);
            line.leave(urgency);
        }
        assert_eq!(order, ["a", "b", "a", "a"]);
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_it_is_left_or_nobody_waits_for_it_any_more() {
        let turns = Turns::new(1, 0);
        let place = turns.wait("a", Urgency::Usual).await;
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, turns.wait("a", Urgency::Usual)).await;
        assert!(given_up.is_err());
        assert_eq!(turns.waiting(), 1, "it still stands in the line");
        drop(place);
        assert!(turns.wait("b", Urgency::Usual).await.is_some());
        assert_eq!(turns.waiting(), 0);
    }
}
