//! Works on objects while this process leads: kube's queue, started with each term and ended with it.
//!
//! Watches go on whoever leads, so that a follower that takes over has everything before its eyes. What a deposed leader
//! was in the middle of is dropped where it stands, as if the process had been killed there.

use std::{
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
            let begin = |object, context| Joined(AbortOnDropHandle::new(tokio::spawn(reconcile(object, context))));
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

/// A reconcile in a task of its own, which ends with it.
struct Joined<T>(AbortOnDropHandle<T>);

impl<T> Future for Joined<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match std::task::ready!(Pin::new(&mut self.0).poll(cx)).map_err(JoinError::try_into_panic) {
            Ok(result) => Poll::Ready(result),
            // A panic ends the process, as it would anywhere else.
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Aborted, so nobody asks.
            Err(Err(_)) => Poll::Pending,
        }
    }
}
