//! DatabaseInstance: does it answer, is it who it was, and which backup of it is proven?
//!
//! ```text
//!   spec changed ──▶ Inspecting ──▶ as accepted ─────────────────────────▶ Ready=True/Reachable
//!                        ▲   │                                                  ▲
//!                        │   ├───▶ seen for the first time: accepted ───────────┤
//!                        │   ├───▶ another one: IdentityUncertain; only ────────┘ `spec.adoptIdentity` leads on
//!                        │   └───▶ does not answer: Stalled
//!                        └──────────────────────────┴── looked at again after a while
//! ```
//!
//! The first marker is written here only where `spec.adoptIdentity` names the database without one; otherwise by the
//! first Release that was approved. What Jobs of backups and Releases have learned later is taken over from their
//! results. The claim of a Release is never touched here.

mod identity;
mod learn;
mod manifests;
mod observe;
pub mod plan;
mod words;

use kube::ResourceExt;

use crate::{
    api::{Condition, ConditionType, DatabaseIdentity, DatabaseInstance, DatabaseInstanceStatus, Reason, condition},
    databases::{AllWritten, Kind, Plan, Shared},
    kube_io::written::Written,
};

/// The kind DatabaseInstance.
#[derive(Debug, Clone, Copy)]
pub struct Databases;

impl Kind for Databases {
    type Object = DatabaseInstance;
    type Status = DatabaseInstanceStatus;

    fn written(all: &AllWritten) -> &Written<DatabaseInstance> {
        &all.databases
    }

    fn status(object: &DatabaseInstance) -> Option<&DatabaseInstanceStatus> {
        object.status.as_ref()
    }

    fn conditions(status: &mut DatabaseInstanceStatus) -> &mut Vec<Condition> {
        &mut status.conditions
    }

    fn plan(shared: &Shared, object: &DatabaseInstance) -> Plan<DatabaseInstanceStatus> {
        plan::plan(&observe::observe(shared, object))
    }
}

/// Returns who a database is when its last look went well for the present spec; else why it cannot be worked on, with
/// [`Reason::Inspecting`] when that may change by itself in a moment.
///
/// # Errors
/// As said: a reason and a sentence.
pub fn usable(instance: &DatabaseInstance) -> Result<&DatabaseIdentity, (Reason, String)> {
    let name = instance.name_any();
    let status = instance.status.as_ref();
    let ready = status.and_then(|status| condition(&status.conditions, ConditionType::Ready));
    let known =
        ready.filter(|ready| ready.status != "Unknown" && ready.observed_generation == instance.metadata.generation);
    let Some(ready) = known else {
        return Err((Reason::Inspecting, format!("DatabaseInstance {name} is being looked at.")));
    };
    match status.and_then(|status| status.identity.as_ref()).filter(|_| ready.status == "True") {
        Some(identity) => Ok(identity),
        None => {
            let message = format!("DatabaseInstance {name} is not ready ({}): {}", ready.reason, ready.message);
            Err((Reason::DatabaseNotReady, message))
        }
    }
}
