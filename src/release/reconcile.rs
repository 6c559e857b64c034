//! Reconciles one Release: look, plan, remember, act, look again.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use kube::{Client, Resource, ResourceExt, core::DeserializeGuard, runtime::controller};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    Arrivals, act,
    contests::Contests,
    observe::{self, Around, Cache},
    observed::{ContestSeen, Guard, Observed, Settings, TakenSeen},
    plan::{self, Action, Plan},
    status,
};
use crate::{
    api::{DecisionKind, Release, ReleaseStatus, Step},
    clock::{self, Stopwatch},
    error::Error,
    kube_io::{
        backoff::Backoff,
        calls::{self, Place},
        leadership::Leadership,
        lists::Filled,
        merge,
        news::Announcer,
        turns::{Turns, Urgency},
        unreadable,
        written::Written,
    },
    metrics::Metrics,
};

/// How many times one reconcile looks: each look may record a step and the next one act on it.
const LOOKS: usize = 8;
/// How many rounds of questions one look may take.
const ROUNDS: usize = 4;

/// What every reconcile needs.
pub struct Context {
    /// The client; its account can read no secret.
    pub client: Client,
    /// What the watches have shown.
    pub cache: Cache,
    /// Whether the caches have been filled once.
    pub filled: Filled,
    /// Whether the admission policies guard Decisions.
    pub guard: watch::Receiver<Guard>,
    /// Whether the API server stamps who changed a Release.
    pub stamp: watch::Receiver<Guard>,
    /// Whether this process may write.
    pub leadership: Arc<Leadership>,
    /// Whose turn it is.
    pub turns: Turns,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// Errors in a row, per object.
    pub backoff: Backoff,
    /// Selectors that were put back lately.
    pub contests: Contests,
    /// Publishes events.
    pub announcer: Announcer,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// When the events came that Releases wait to be looked at for.
    pub arrivals: Arrivals,
    /// Releases as our last status write left them, until the watch has shown them.
    pub written: Written<Release>,
}

impl Context {
    /// Notes that something has happened to a Release; a follower, who acts on nothing, notes nothing.
    pub fn arrived(&self, namespace: &str, name: &str) {
        if self.leadership.may_write() {
            self.arrivals.note(namespace, name);
        }
    }

    /// Forgets a Release that is gone.
    pub fn forget(&self, uid: &str) {
        self.backoff.succeeded(uid);
        self.written.forget(uid);
        self.contests.forget(uid);
    }
}

/// Returns how urgent a Release is: whether its users may be on a version that has to be left.
#[must_use]
pub fn urgency(object: &DeserializeGuard<Release>) -> Urgency {
    let step = object.0.as_ref().ok().and_then(|release| release.status.as_ref()).map(|status| status.record.step);
    match step {
        Some(Step::Switch | Step::Watch | Step::SwitchBack) => Urgency::First,
        _ => Urgency::Usual,
    }
}

/// Brings one Release one or more steps further; the caches over its namespace must have been filled once.
///
/// # Errors
/// When the API server cannot be asked or refuses; what was done stays done.
pub async fn reconcile(
    object: Arc<DeserializeGuard<Release>>,
    context: Arc<Context>,
    arrived: Stopwatch,
) -> Result<controller::Action, Error> {
    let watch = Stopwatch::start();
    let release = match &object.0 {
        Ok(release) => context.written.newest(release),
        Err(invalid) => {
            unreadable::tell::<Release>(&context.client, invalid).await?;
            return Ok(controller::Action::await_change());
        }
    };
    let key = release.uid().unwrap_or_default();
    let result = advance(&context, release, arrived).await;
    context.metrics.reconciled("Release", result.is_ok(), watch.elapsed());
    match result {
        Ok(action) => {
            context.backoff.succeeded(&key);
            Ok(action)
        }
        // What was refused may wait; what was planned for a time may not.
        Err(Failed { error, recheck: Some(at) }) => {
            let wait = wait_after(&object, &error, &context);
            Ok(controller::Action::requeue(wait.min(until(at))))
        }
        Err(Failed { error, recheck: None }) => Err(error),
    }
}

/// A look that failed.
struct Failed {
    error: Error,
    /// When its plan asked to look again all the same.
    recheck: Option<Timestamp>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, recheck: None }
    }
}

/// Returns how long to wait after an error.
#[must_use]
pub fn error_policy(
    object: Arc<DeserializeGuard<Release>>,
    error: &Error,
    context: Arc<Context>,
) -> controller::Action {
    controller::Action::requeue(wait_after(&object, error, &context))
}

/// Tells of an error; returns how long to wait after it.
fn wait_after(object: &DeserializeGuard<Release>, error: &Error, context: &Context) -> Duration {
    let meta = object.meta();
    let wait = context.backoff.failed(meta.uid.as_deref().unwrap_or_default(), error.class());
    let name = meta.name.as_deref().unwrap_or_default();
    if matches!(error, Error::Panicked { .. }) {
        context.metrics.panicked("Release");
    }
    tracing::warn!(namespace = meta.namespace.as_deref(), release = name, %error, wait_ms = wait.as_millis(), "will look again");
    wait
}

async fn advance(context: &Context, mut release: Release, arrived: Stopwatch) -> Result<controller::Action, Failed> {
    let mut taken = None;
    for _ in 0..LOOKS {
        let (mut seen, plan) = look(context, &release, taken.clone()).await?;
        let acted_first = if plan.act_first { Some(go_back(context, (&seen, &plan), arrived).await) } else { None };
        let written = remember(context, &release, (&seen, &plan)).await?;
        if let Some(fresh) = &written {
            seen.release.resource_version = fresh.resource_version().unwrap_or_default();
        }
        let acted = match acted_first {
            Some(acted) => acted,
            None => act_all(context, &seen, &plan).await,
        };
        match acted {
            // The plan is told once; where it can do nothing about it, somebody has to.
            Err(Error::NameTaken { object, controller }) if taken.is_none() => {
                taken = Some(TakenSeen { object, controller });
            }
            Err(error) => return Err(Failed { error, recheck: plan.recheck }),
            Ok(()) => {}
        }
        if seen.release.deleting {
            context.written.forget(&seen.release.uid);
            observe::forget_contents(&context.cache, &seen);
        }
        let Some(fresh) = written else {
            if taken.is_some() {
                continue;
            }
            return Ok(rest(context, &seen, &plan));
        };
        release = fresh;
    }
    // Whatever is left is taken up at once; giving others their turn in between.
    Ok(controller::Action::requeue(Duration::ZERO))
}

/// Looks and plans, asking what the plan must know first.
async fn look(context: &Context, release: &Release, taken: Option<TakenSeen>) -> Result<(Observed, Plan), Error> {
    let around = Around {
        guard: context.guard.borrow().clone(),
        stamp: context.stamp.borrow().clone(),
        term: context.leadership.term(),
        contests: context.contests.of(&release.uid().unwrap_or_default()),
        settings: context.settings.clone(),
        taken,
    };
    let mut seen = observe::observe(&context.client, &context.cache, release, around).await?;
    for _ in 0..ROUNDS {
        let plan = plan::plan(&seen);
        let open: Vec<_> = plan.asks.iter().filter(|ask| seen.answer(ask).is_none()).cloned().collect();
        if open.is_empty() {
            return Ok((seen, plan));
        }
        let namespace = seen.release.namespace.clone();
        let answers =
            join_all(open.iter().map(|ask| observe::answer(&context.client, &context.cache, &namespace, ask))).await;
        for (ask, answer) in open.into_iter().zip(answers) {
            match answer {
                Ok(answer) => seen.learn(ask, answer),
                // What cannot be read keeps nothing else from going back.
                Err(_) if plan.act_first => return Ok((seen, plan)),
                Err(error) => return Err(error),
            }
        }
    }
    let plan = Plan { upkeep: vec![], actions: vec![], ..plan::plan(&seen) };
    Ok((seen, plan))
}

/// Does what was planned first of all, and measures how long that took from its cause on.
async fn go_back(context: &Context, (seen, plan): (&Observed, &Plan), arrived: Stopwatch) -> Result<(), Error> {
    let acted = act_all(context, seen, plan).await;
    // What is left of a way back that began earlier has another cause.
    if acted.is_ok() && seen.record().step != Step::SwitchBack {
        context.metrics.went_back(arrived.elapsed());
    }
    acted
}

/// Does what was planned, in its order. The first error ends it, but not of upkeep, and not on the way back: there one
/// Service that cannot be moved must not keep the others.
async fn act_all(context: &Context, seen: &Observed, plan: &Plan) -> Result<(), Error> {
    let (mut kept, mut failed) = (Ok(()), Ok(()));
    let upkeep = plan.upkeep.iter().map(|action| (action, true));
    for (action, is_upkeep) in upkeep.chain(plan.actions.iter().map(|action| (action, false))) {
        tracing::debug!(namespace = seen.release.namespace, release = seen.release.name, ?action, "acting");
        let acted = act::act(context, &seen.release, action).await;
        if let Action::PutBack { service, by, .. } = action {
            // Also when it was refused: it is looked at again in a moment, and no sooner.
            let contest = ContestSeen { service: service.clone(), by: by.clone(), at: clock::now() };
            context.contests.note(&seen.release.uid, contest);
        }
        if let (Ok(()), Action::Settle { decision, status, .. }) = (&acted, action) {
            let decided = seen.decisions.iter().find(|known| known.name == *decision);
            let kind = decided.and_then(|known| known.kind.as_ref()).map_or("unknown", DecisionKind::as_str);
            context.metrics.decided(kind, &status.state);
        }
        if is_upkeep {
            kept = kept.and(acted);
            continue;
        }
        let ends = acted.is_err() && !plan.act_first;
        failed = failed.and(acted);
        if ends {
            break;
        }
    }
    // What the step has met may decide about the attempt.
    failed.and(kept)
}

/// Writes the status when it differs; returns the Release as written.
async fn remember(
    context: &Context,
    release: &Release,
    (seen, plan): (&Observed, &Plan),
) -> Result<Option<Release>, Error> {
    if !seen.release.finalizer {
        return Ok(None);
    }
    let before = release.status.clone().unwrap_or_default();
    let after = status::status(seen, plan);
    let Some(patch) = patch(&before, &after) else { return Ok(None) };
    // The resourceVersion makes the API server refuse what was decided on an outdated Release.
    let patch = json!({ "metadata": { "resourceVersion": release.resource_version() }, "status": patch });
    let place = Place::new::<Release>(&seen.release.namespace, &seen.release.name);
    let written: Release = calls::merge(&context.client, &place, &patch, true).await?;
    context.written.keep(&written);
    tell_step(context, seen, &after);
    let about = release.object_ref(&());
    for news in status::news(seen, plan) {
        context.announcer.tell(&about, news.warning, (&news.reason, &news.action, &news.note)).await;
    }
    Ok(Some(written))
}

fn patch(before: &ReleaseStatus, after: &ReleaseStatus) -> Option<Value> {
    let before = serde_json::to_value(before).unwrap_or_default();
    let after = serde_json::to_value(after).unwrap_or_default();
    merge::diff(&before, &after)
}

fn tell_step(context: &Context, seen: &Observed, after: &ReleaseStatus) {
    let (from, to) = (seen.record().step, after.record.step);
    if from != to {
        let (since, until) = (&seen.record().step_since, &after.record.step_since);
        // At rest nothing is under way that could take long.
        if let Some((since, until)) = since.as_ref().zip(until.as_ref()).filter(|_| from != Step::Idle) {
            context.metrics.step_ended(from.as_str(), until.0.duration_since(since.0).unsigned_abs());
        }
        let (namespace, release) = (&seen.release.namespace, &seen.release.name);
        let version = &seen.release.spec.version;
        tracing::info!(namespace, release, version, from = from.as_str(), to = to.as_str(), "step");
    }
}

/// Says when to look again by itself.
fn rest(context: &Context, seen: &Observed, plan: &Plan) -> controller::Action {
    if plan.record.step == Step::Idle {
        observe::forget_contents(&context.cache, seen);
    }
    match plan.recheck {
        Some(at) => controller::Action::requeue(until(at)),
        None => controller::Action::await_change(),
    }
}

/// Returns how long it is until then.
fn until(at: Timestamp) -> Duration {
    at.duration_since(clock::now()).try_into().unwrap_or(Duration::ZERO)
}
