//! Kept: what our own writes have left goes into the caches at once, until a watch shows it.
//!
//! In: the answers of the API server. Out: what the next look sees, which may begin before the watch has caught up. What
//! this version cannot read is left to the watch, which says so. ([`crate::kube_io::index`] has the rules.)

use std::sync::{Arc, PoisonError};

use kube::{
    Resource, ResourceExt as _,
    core::{DeserializeGuard, DynamicObject},
};
use serde::de::DeserializeOwned;

use super::{
    manifests::Kind,
    observe::{self, Cache},
    watched::{self, Entry},
};
use crate::{api::DatabaseBackup, kube_io::index::Index};

impl Cache {
    /// Takes in an object of a kind as a write of ours has left it.
    pub fn keep(&self, kind: Kind, written: DynamicObject) {
        match kind {
            Kind::Deployment => keep(&self.deployments, written, watched::deployment),
            Kind::Service => keep(&self.services, written, watched::service),
            Kind::Job => keep(&self.jobs, written, watched::job),
            Kind::HorizontalPodAutoscaler => keep(&self.autoscalers, written, watched::autoscaler),
            Kind::DatabaseBackup => {
                keep::<DeserializeGuard<DatabaseBackup>, _>(&self.backups, written, watched::backup);
            }
            Kind::ControllerRevision => {
                self.keep_content(&written);
                keep::<watched::ControllerRevision, _>(&self.attempts, written, watched::attempt);
            }
            // Nobody watches these.
            Kind::ConfigMap | Kind::PodDisruptionBudget | Kind::Pod => {}
        }
    }

    /// Takes in that a deletion of ours has left no object of this kind, namespace, name and UID.
    pub fn forget(&self, kind: Kind, which: (&str, &str, &str)) {
        match kind {
            Kind::Deployment => self.deployments.forget(which),
            Kind::Service => self.services.forget(which),
            Kind::Job => self.jobs.forget(which),
            Kind::HorizontalPodAutoscaler => self.autoscalers.forget(which),
            Kind::DatabaseBackup => self.backups.forget(which),
            Kind::ControllerRevision => {
                self.contents.lock().unwrap_or_else(PoisonError::into_inner).remove(which.2);
                self.attempts.forget(which);
            }
            Kind::ConfigMap | Kind::PodDisruptionBudget | Kind::Pod => {}
        }
    }

    /// Remembers a content that was just frozen, as it was stored: it never changes, so it need not be read.
    fn keep_content(&self, written: &DynamicObject) {
        let data = written.data.get("data").cloned().unwrap_or_default();
        // The anchor holds none.
        if let (Some(uid), Ok(content)) = (written.uid(), observe::parse_content(data)) {
            self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, Arc::new(content));
        }
    }
}

fn keep<K, S>(index: &Index<S>, written: DynamicObject, read: fn(&K) -> Entry<S>)
where
    K: Resource + DeserializeOwned,
    S: Clone,
{
    match written.try_parse::<K>() {
        Ok(written) => index.keep(&written, read),
        Err(error) => tracing::debug!(%error, "what was written is seen when the watch shows it"),
    }
}
