//! Works on objects while this process leads: kube's queue, started with each term and ended with it.
//!
//! Watches go on whoever leads, so that a follower that takes over has everything before its eyes. What a deposed leader
//! was in the middle of is dropped where it stands, as if the process had been killed there.
//!
//! What panics is an error of the one object that was worked on: a process that ended would end the work on all of them,
//! ways back included, and meet the same object again when it starts.

use std::{
    any::Any,
    convert::Infallible,
    fmt::Debug,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{StreamExt as _, channel::mpsc, future::Either, stream};
use kube::{
    Resource,
    runtime::{
        applier, controller,
        reflector::{ObjectRef, Store},
    },
};
use tokio::{sync::watch, task::JoinError};
use tokio_util::task::AbortOnDropHandle;

use super::leadership::{Leadership, Role};
use crate::error::Error;

/// Turns true when the process has been told to end.
pub type Stop = watch::Receiver<bool>;

/// Waits until the process is told to end.
pub async fn stopped(stop: &Stop) {
    // A sender that is gone has ended the program.
    let _ = stop.clone().wait_for(|stop| *stop).await;
}

/// What is worked on.
pub struct Work<K: Resource<DynamicType = ()> + Debug + 'static> {
    /// All objects that there are.
    pub store: Store<K>,
    /// Those that something has happened to.
    pub woken: mpsc::Receiver<ObjectRef<K>>,
    /// How many are worked on at once; 0 for as many as there are.
    pub concurrency: u16,
    /// Whether this process leads.
    pub leadership: Arc<Leadership>,
    /// Whether it has been told to end.
    pub stop: Stop,
}

impl<K> Work<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    ObjectRef<K>: Hash + Eq,
{
    /// Works whenever this process leads, until it is told to stop: then what has begun is finished.
    pub async fn run<C, F>(
        mut self,
        context: &Arc<C>,
        reconcile: impl Fn(Arc<K>, Arc<C>) -> F,
        error_policy: impl Fn(Arc<K>, &Error, Arc<C>) -> controller::Action,
    ) where
        C: Send + Sync + 'static,
        F: Future<Output = Result<controller::Action, Error>> + Send + 'static,
    {
        let mut role = self.leadership.role();
        loop {
            let now = *role.borrow_and_update();
            let ended = stopped(&self.stop);
            if now == Role::Follows {
                tokio::select! {
                    () = ended => return,
                    _ = role.changed() => {}
                    // Nobody works on it here; all are looked at when somebody does.
                    _ = self.woken.next() => {}
                }
                continue;
            }
            let all = self.store.state().into_iter().map(|object| ObjectRef::from_obj(&*object));
            let all: Vec<_> = all.collect();
            let woken = stream::iter(all).chain(self.woken.by_ref()).map(Ok::<_, Infallible>);
            let config = controller::Config::default().concurrency(self.concurrency);
            let begin = |object: Arc<K>, context| {
                let name = words(&*object);
                Joined { task: AbortOnDropHandle::new(tokio::spawn(reconcile(object, context))), object: name }
            };
            let queue = woken.take_until(Box::pin(ended));
            let policy = |object: Arc<K>, error: &Error, context| match self.store.get(&ObjectRef::from_obj(&*object)) {
                Some(_) => error_policy(object, error, context),
                // It went meanwhile: nothing is remembered of it.
                None => controller::Action::await_change(),
            };
            let done = applier(begin, policy, Arc::clone(context), self.store.clone(), queue, config);
            // Errors of reconciles are told where they are waited out, and one that is gone needs no work.
            let done = std::pin::pin!(done.for_each(|_| std::future::ready(())));
            let changed = std::pin::pin!(role.changed());
            match futures::future::select(done, changed).await {
                Either::Left(_) => return,
                Either::Right(_) => tracing::info!("ends what it was working on: this process does not lead as before"),
            }
        }
    }
}

/// Names an object as errors do.
fn words<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let meta = object.meta();
    let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    format!("{} {}/{}", K::kind(&()), namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// A reconcile in a task of its own, which ends with it.
struct Joined {
    task: AbortOnDropHandle<Result<controller::Action, Error>>,
    object: String,
}

impl Future for Joined {
    type Output = Result<controller::Action, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::task::ready!(Pin::new(&mut self.task).poll(cx)).map_err(JoinError::try_into_panic) {
            Ok(result) => Poll::Ready(result),
            Err(Ok(panic)) => {
                Poll::Ready(Err(Error::Panicked { object: self.object.clone(), words: said(panic.as_ref()) }))
            }
            // Aborted, so nobody asks.
            Err(Err(_)) => Poll::Pending,
        }
    }
}

/// Returns what a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it does not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use futures::SinkExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        ResourceExt as _,
        core::ObjectMeta,
        runtime::{reflector, watcher::Event},
    };

    use super::*;
    use crate::kube_io::backoff::Backoff;

    /// What was done of each object, and what became of it.
    #[derive(Default)]
    struct Seen {
        done: Mutex<BTreeMap<String, usize>>,
        failed: Mutex<Vec<(String, String, Duration)>>,
        backoff: Backoff,
    }

    impl Seen {
        fn done(&self, name: &str) -> usize {
            self.done.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
        }
    }

    fn object(name: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("prod".to_owned()),
            uid: Some(format!("uid-{name}")),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    async fn reconcile(object: Arc<ConfigMap>, seen: Arc<Seen>) -> Result<controller::Action, Error> {
        let name = object.name_any();
        // Poisons what it holds, as a plan does that panics while it reads a cache.
        let mut done = seen.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done.entry(name.clone()).or_default() += 1;
        assert!(name != "bad", "no plan for {name}");
        Ok(controller::Action::await_change())
    }

    fn error_policy(object: Arc<ConfigMap>, error: &Error, seen: Arc<Seen>) -> controller::Action {
        let wait = seen.backoff.failed(object.metadata.uid.as_deref().unwrap(), error.class());
        seen.failed.lock().unwrap().push((object.name_any(), error.to_string(), wait));
        controller::Action::requeue(wait)
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("it never happens that {what}"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn threat_t20_an_object_that_panics_stops_no_other() {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for name in ["bad", "good"] {
            writer.apply_watcher_event(&Event::InitApply(object(name)));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let (mut wake, woken) = mpsc::channel(16);
        let (end, stop) = watch::channel(false);
        let seen = Arc::new(Seen::default());
        // One place alone: whoever panics gives it back.
        let work = Work { store, woken, concurrency: 1, leadership: Arc::new(Leadership::alone()), stop };
        let shared = Arc::clone(&seen);
        let works = tokio::spawn(async move { work.run(&shared, reconcile, error_policy).await });
        until("the bad one is tried three times", || seen.done("bad") >= 3).await;
        until("the good one is worked on", || seen.done("good") >= 1).await;
        // What happens to others is taken up as ever, and the bad one waits longer each time.
        let before = seen.done("good");
        wake.send(ObjectRef::from_obj(&object("good"))).await.unwrap();
        until("the good one is worked on again", || seen.done("good") > before).await;
        end.send(true).unwrap();
        works.await.expect("the work on all objects ended by the panic of one");
        let failed = seen.failed.lock().unwrap();
        assert!(failed.iter().all(|(name, ..)| name == "bad"), "{failed:?}");
        assert!(failed[0].1.starts_with("work on ConfigMap prod/bad: it panicked: no plan for bad"), "{failed:?}");
        assert!(failed.is_sorted_by(|one, other| one.2 < other.2), "{failed:?}");
    }
}
