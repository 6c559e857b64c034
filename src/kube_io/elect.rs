//! Keeps a lease, or waits for it: reads, writes, and says through [`Leadership`] what came of it. What to do next is
//! decided by [`lease::decide`].
//!
//! Every write replaces the version that was seen, so of two who try one is refused. Followers watch: one that hears
//! that the lease was given back takes it at once, and none asks again and again.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use uuid::Uuid;

use super::{
    calls,
    leadership::Leadership,
    lease::{self, Known, LeaseSeen, Me, Next, Terms},
    written,
};
use crate::{clock, error::Error};

/// How long a lease lasts that was given back: somebody who does not know what no holder means waits this long.
const GIVEN_BACK: i32 = 1;
/// How many times giving back is tried when somebody writes meanwhile.
const TRIES: usize = 3;

/// One candidate for one lease.
pub struct Election {
    leases: Api<Lease>,
    place: String,
    name: String,
    me: Me,
    known: Known,
    /// The lease as last read or written: what is in it beside ours stays.
    object: Lease,
    leadership: Arc<Leadership>,
}

impl Election {
    /// Makes a candidate for the lease of this name in the client's own namespace.
    #[must_use]
    pub fn new(client: &Client, name: &str, terms: Terms, leadership: Arc<Leadership>) -> Self {
        let id = Uuid::new_v4();
        // What a person may recognise, and what makes it unique: a container that starts again is somebody else.
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "switchback".to_owned());
        let share = id.as_bytes().first().copied().unwrap_or_default();
        let me = Me {
            identity: format!("{host}_{id}"),
            terms,
            jitter: terms.retry * u32::from(share) / u32::from(u8::MAX),
            renewed: None,
            failed: None,
        };
        Self {
            leases: Api::default_namespaced(client.clone()),
            place: format!("Lease {}/{name}", client.default_namespace()),
            name: name.to_owned(),
            me,
            known: Known::Nothing,
            object: Lease::default(),
            leadership,
        }
    }

    /// Takes part until `over`, then gives back what it holds.
    pub async fn run(mut self, over: impl Future<Output = ()>) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = watcher::watcher(self.leases.clone(), config).default_backoff().boxed();
        let mut over = pin!(over);
        loop {
            let now = self.leadership.now();
            if lease::writes_until(&self.me).is_some_and(|until| until <= now) {
                tracing::warn!(lease = self.place, "could not renew in time and stops: another one may lead by now");
                self.lose();
            }
            match lease::decide(&self.known, &self.me, now) {
                Next::Wait(at) => {
                    let at = lease::writes_until(&self.me).map_or(at, |until| until.min(at));
                    tokio::select! {
                        () = &mut over => break,
                        () = tokio::time::sleep(at.saturating_sub(now)) => {}
                        event = next(&mut events) => self.hear(event),
                    }
                }
                Next::Read => self.read().await,
                Next::Create => self.write(self.transitions().map_or(0, |before| before.saturating_add(1))).await,
                Next::Take { transitions } => self.write(transitions).await,
                Next::Renew => self.write(self.transitions().unwrap_or_default()).await,
            }
        }
        self.give_back().await;
    }

    /// Takes in what the watch shows, unless it is older than what is known.
    fn hear(&mut self, event: Event<Lease>) {
        match event {
            Event::Apply(lease) | Event::InitApply(lease) => {
                if written::version(&lease.metadata) > written::version(&self.object.metadata) {
                    self.note(lease);
                }
            }
            Event::Delete(_) => self.known = Known::Nothing,
            Event::Init | Event::InitDone => {}
        }
    }

    fn note(&mut self, lease: Lease) {
        let spec = lease.spec.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let seen = LeaseSeen {
            holder: spec.holder_identity.unwrap_or_default(),
            lasts: lasts.map_or(self.me.terms.lease, Duration::from_secs),
            transitions: spec.lease_transitions.unwrap_or_default(),
            since: self.leadership.now(),
        };
        if self.me.renewed.is_some() && seen.holder != self.me.identity {
            tracing::warn!(lease = self.place, holder = seen.holder, "another one leads now");
            self.lose();
        }
        self.known = Known::Seen(seen);
        self.object = lease;
    }

    fn lose(&mut self) {
        self.me.renewed = None;
        self.leadership.follows();
    }

    /// Returns how many times the lease had changed hands, also one that somebody has deleted since.
    fn transitions(&self) -> Option<i32> {
        self.object.spec.as_ref()?.lease_transitions
    }

    async fn read(&mut self) {
        match within(self.patience(), ("read", &self.place), self.leases.get_opt(&self.name)).await {
            Ok(Some(lease)) => self.note(lease),
            Ok(None) => {
                self.object.metadata = ObjectMeta::default();
                self.known = Known::Absent;
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Writes our name into the version that was seen, or into a new lease.
    async fn write(&mut self, transitions: i32) {
        let sent = self.leadership.now();
        let lease = self.lease(transitions);
        let params = PostParams { field_manager: Some(crate::api::labels::FIELD_MANAGER.to_owned()), dry_run: false };
        let (patience, place) = (self.patience(), self.place.clone());
        let written = if lease.resource_version().is_some() {
            within(patience, ("take", &place), self.leases.replace(&self.name, &params, &lease)).await
        } else {
            within(patience, ("create", &place), self.leases.create(&params, &lease)).await
        };
        match written {
            Ok(lease) => {
                self.me.failed = None;
                let first = self.me.renewed.replace(sent).is_none();
                self.note(lease);
                if first {
                    tracing::info!(lease = self.place, identity = self.me.identity, transitions, "leads");
                }
                self.leadership.leads(i64::from(transitions), sent + self.me.terms.renew);
            }
            Err(error) => {
                self.fail(&error);
                // Somebody wrote meanwhile, or our own answer was lost.
                if error.refusal().is_some() {
                    self.known = Known::Nothing;
                    self.read().await;
                }
            }
        }
    }

    /// Returns the lease as we want it.
    fn lease(&self, transitions: i32) -> Lease {
        let now = MicroTime(clock::now());
        let before = self.object.spec.clone().unwrap_or_default();
        let acquired = before.acquire_time.clone().filter(|_| self.me.renewed.is_some());
        let spec = LeaseSpec {
            holder_identity: Some(self.me.identity.clone()),
            // A part of a second counts as a whole one: never less than we were told.
            lease_duration_seconds: i32::try_from(self.me.terms.lease.as_millis().div_ceil(1000)).ok(),
            lease_transitions: Some(transitions),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            ..before
        };
        self.with(spec)
    }

    fn with(&self, spec: LeaseSpec) -> Lease {
        let metadata =
            ObjectMeta { name: Some(self.name.clone()), managed_fields: None, ..self.object.metadata.clone() };
        Lease { metadata, spec: Some(spec) }
    }

    fn fail(&mut self, error: &Error) {
        self.me.failed = Some(self.leadership.now());
        tracing::warn!(%error, leads = self.me.renewed.is_some(), "the lease is tried again");
    }

    /// How long one call may take: two must fit into the time that a leader has, and none may outlast it.
    fn patience(&self) -> Duration {
        let half = self.me.terms.renew / 2;
        let left = lease::writes_until(&self.me).map(|until| until.saturating_sub(self.leadership.now()));
        left.map_or(half, |left| left.min(half))
    }

    /// Gives the lease back, so that whoever follows need not wait until it is over.
    async fn give_back(mut self) {
        for _ in 0..TRIES {
            if self.me.renewed.is_none() {
                return;
            }
            // From here on nothing is written.
            self.leadership.follows();
            let before = self.object.spec.clone().unwrap_or_default();
            let spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(GIVEN_BACK),
                renew_time: Some(MicroTime(clock::now())),
                ..before
            };
            let lease = self.with(spec);
            let params = PostParams::default();
            match within(self.patience(), ("give back", &self.place), self.leases.replace(&self.name, &params, &lease))
                .await
            {
                Ok(_) => {
                    tracing::info!(lease = self.place, "gave the lease back");
                    return;
                }
                Err(error) => {
                    self.fail(&error);
                    self.read().await;
                }
            }
        }
    }
}

/// Returns what the watch shows next; its errors are waited out by the watch, and what it does not show is asked for.
async fn next(events: &mut BoxStream<'_, watcher::Result<Event<Lease>>>) -> Event<Lease> {
    loop {
        match events.next().await {
            Some(Ok(event)) => return event,
            Some(Err(error)) => tracing::debug!(%error, "the watch of the lease failed and is tried again"),
            None => std::future::pending().await,
        }
    }
}

async fn within<T>(
    patience: Duration,
    (doing, place): (&'static str, &str),
    answer: impl Future<Output = Result<T, kube::Error>> + Send,
) -> Result<T, Error> {
    let timeout = || Error::Timeout { doing, object: place.to_owned(), limit: patience };
    tokio::time::timeout(patience, calls::call(doing, place, answer)).await.unwrap_or_else(|_| Err(timeout()))
}
