//! DatabaseBackup: from a wish to copies that are proven.
//!
//! ```text
//!   created ──▶ Waiting ──▶ Running ──▶ Completed
//!                  ▲           │  └──▶ Failed: final, another DatabaseBackup is needed
//!                  └───────────┘ gave way, was busy, lost its pod: another attempt, three at most
//! ```
//!
//! Deleting a DatabaseBackup stops what runs and keeps what is stored.

mod manifests;
mod observe;
pub mod observed;
pub mod plan;
mod result;

use crate::{
    api::{Condition, DatabaseBackup, DatabaseBackupStatus},
    databases::{AllWritten, Kind, Plan, Shared},
    kube_io::written::Written,
};

/// The kind DatabaseBackup.
#[derive(Debug, Clone, Copy)]
pub struct Backups;

impl Kind for Backups {
    type Object = DatabaseBackup;
    type Status = DatabaseBackupStatus;

    fn written(all: &AllWritten) -> &Written<DatabaseBackup> {
        &all.backups
    }

    fn status(object: &DatabaseBackup) -> Option<&DatabaseBackupStatus> {
        object.status.as_ref()
    }

    fn conditions(status: &mut DatabaseBackupStatus) -> &mut Vec<Condition> {
        &mut status.conditions
    }

    fn plan(shared: &Shared, object: &DatabaseBackup) -> Plan<DatabaseBackupStatus> {
        plan::plan(&observe::observe(shared, object))
    }
}
