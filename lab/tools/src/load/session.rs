//! One run: sends what is due, takes in what has ended, and stops. Everything it changes it owns; requests run as
//! tasks and hand back their connection with their end, so there is no lock.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

use super::attempt::{self, Done, Request};
use super::report::{EndedBy, Report};
use super::schedule::{Kind, Schedule};
use super::settings::Settings;
use super::stop::Stop;
use super::tally::{Tally, milliseconds};
use crate::client::Connection;
use crate::{clock, lines};

/// How often a line says how it goes.
const PROGRESS: Duration = Duration::from_secs(5);
/// A long request that was lost is followed by the next one only after this: a server that refuses at once would
/// otherwise use up the count of requests in a moment.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Runs to the end. Bounded by time and count while sending, by the requests' own limits afterwards.
pub async fn run(settings: &Settings, mut stops: mpsc::UnboundedReceiver<Stop>) -> Report {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let mut session = Session::new(settings, ends);
    let ended_by = session.send(&mut ended, &mut stops).await;
    session.finish(&mut ended, &mut stops).await;
    session.report(ended_by)
}

struct Session<'a> {
    settings: &'a Settings,
    schedule: Schedule,
    started: Instant,
    started_at: Timestamp,
    kept: Vec<Option<Connection>>,
    tally: Tally,
    behind: Duration,
    ends: mpsc::UnboundedSender<Done>,
}

impl<'a> Session<'a> {
    fn new(settings: &'a Settings, ends: mpsc::UnboundedSender<Done>) -> Self {
        Self {
            settings,
            schedule: Schedule::new(settings.rate, settings.keepalive_clients),
            started: clock::now(),
            started_at: clock::wall(),
            kept: (0..settings.keepalive_clients).map(|_| None).collect(),
            tally: Tally::default(),
            behind: Duration::ZERO,
            ends,
        }
    }

    async fn send(
        &mut self,
        ended: &mut mpsc::UnboundedReceiver<Done>,
        stops: &mut mpsc::UnboundedReceiver<Stop>,
    ) -> EndedBy {
        let sending_time = self.settings.sending_time();
        let mut progress = interval(PROGRESS);
        // The first one comes at once and says nothing.
        progress.tick().await;
        for _ in 0..self.settings.long_in_flight {
            self.send_long(Duration::ZERO);
        }
        let mut next = 0;
        while self.tally.sent < self.settings.max {
            let due = self.schedule.slot(next).due;
            tokio::select! {
                Some(stop) = stops.recv() => return match stop {
                    Stop::Signal => EndedBy::Signal,
                    Stop::Stdin => EndedBy::Stdin,
                },
                // Late ones are not skipped, not even at the end: what ends the run is the first one due after it.
                () = sleep_until(self.started + due.min(sending_time)) => {
                    if due >= sending_time {
                        return EndedBy::Time;
                    }
                    self.send_due(next);
                    next += 1;
                }
                Some(done) = ended.recv() => {
                    let (kind, lost) = (done.kind, done.result.is_err());
                    self.take_in(done);
                    if kind == Kind::Long {
                        self.send_long(if lost { LONG_PAUSE } else { Duration::ZERO });
                    }
                }
                _ = progress.tick() => self.say_progress(),
            }
        }
        EndedBy::Count
    }

    /// Waits for the ends of what is in flight. Another signal ends the wait: somebody is in a hurry.
    async fn finish(&mut self, ended: &mut mpsc::UnboundedReceiver<Done>, stops: &mut mpsc::UnboundedReceiver<Stop>) {
        let mut progress = interval(PROGRESS);
        while self.tally.in_flight() > 0 {
            tokio::select! {
                Some(stop) = stops.recv() => if stop == Stop::Signal { return },
                Some(done) = ended.recv() => self.take_in(done),
                _ = progress.tick() => self.say_progress(),
            }
        }
    }

    fn send_due(&mut self, number: u64) {
        let slot = self.schedule.slot(number);
        let due = self.started + slot.due;
        self.behind = self.behind.max(clock::since(due));
        let kept = match slot.kind {
            // A client that still waits for an answer sends the next request over another connection: when the
            // server is slow, the rate must not sink.
            Kind::Keepalive => self.kept.get_mut(slot.client).and_then(Option::take),
            Kind::New | Kind::Long => None,
        };
        let target = self.settings.url.clone();
        let limit = self.settings.timeout;
        self.start(Request { target, kind: slot.kind, due, limit, client: slot.client, kept }, Duration::ZERO);
    }

    fn send_long(&mut self, pause: Duration) {
        let Some(path) = &self.settings.long else {
            return;
        };
        if self.tally.sent >= self.settings.max {
            return;
        }
        let target = self.settings.url.with_path(path.clone());
        let due = clock::now() + pause;
        let limit = self.settings.long_timeout;
        self.start(Request { target, kind: Kind::Long, due, limit, client: 0, kept: None }, pause);
    }

    fn start(&mut self, request: Request, pause: Duration) {
        self.tally.sent(request.kind);
        let ends = self.ends.clone();
        tokio::spawn(async move {
            if !pause.is_zero() {
                clock::sleep(pause).await;
            }
            // Nobody takes it in only when the end is no longer waited for; it is then counted as unfinished.
            let _ = ends.send(attempt::perform(request).await);
        });
    }

    fn take_in(&mut self, mut done: Done) {
        if let Some(connection) = done.kept.take()
            && let Some(place @ None) = self.kept.get_mut(done.client)
        {
            *place = Some(connection);
        }
        let at = done.at;
        if let Some(version) = self.tally.ended(&done)
            && self.settings.events
        {
            lines::out(format_args!("version {version} first seen at {}", clock::rfc3339(at)));
        }
    }

    fn say_progress(&self) {
        let tally = &self.tally;
        lines::err(format_args!(
            "load: {:.0} s, sent {}, ok {}, lost {}, retried {}, in flight {}",
            clock::since(self.started).as_secs_f64(),
            tally.sent,
            tally.ok,
            tally.lost,
            tally.retried,
            tally.in_flight(),
        ));
    }

    fn report(self, ended_by: EndedBy) -> Report {
        let (unfinished, by_version, latency_ms) =
            (self.tally.in_flight(), self.tally.versions(), self.tally.latency());
        Report {
            started_at: clock::rfc3339(self.started_at),
            ended_at: clock::rfc3339(clock::wall()),
            ended_by,
            sent: self.tally.sent,
            ok: self.tally.ok,
            lost: self.tally.lost,
            retried: self.tally.retried,
            unfinished,
            requests: self.tally.requests,
            reused: self.tally.reused,
            by_version,
            lost_by_cause: self.tally.lost_by_cause,
            lost_requests: self.tally.lost_requests,
            retried_requests: self.tally.retried_requests,
            latency_ms,
            behind_ms_max: milliseconds(self.behind),
        }
    }
}
