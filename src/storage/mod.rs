//! BackupStorage: is it there, does it take, keep and return what it is given?
//!
//! ```text
//!   spec changed ──▶ Inspecting ──▶ Ready=True/Usable
//!                        ▲   └─────▶ Stalled, with the reason ──▶ looked at again after a while
//!                        └──────────────────────────────────────┘
//! ```
//!
//! The agent looks, in a Job; the controller never speaks to a storage.

mod observe;
pub mod plan;

use crate::{
    api::{BackupStorage, BackupStorageStatus, Condition},
    databases::{AllWritten, Kind, Plan, Shared},
    kube_io::written::Written,
};

/// The kind BackupStorage.
#[derive(Debug, Clone, Copy)]
pub struct Storages;

impl Kind for Storages {
    type Object = BackupStorage;
    type Status = BackupStorageStatus;

    fn written(all: &AllWritten) -> &Written<BackupStorage> {
        &all.storages
    }

    fn status(object: &BackupStorage) -> Option<&BackupStorageStatus> {
        object.status.as_ref()
    }

    fn conditions(status: &mut BackupStorageStatus) -> &mut Vec<Condition> {
        &mut status.conditions
    }

    fn plan(shared: &Shared, object: &BackupStorage) -> Plan<BackupStorageStatus> {
        plan::plan(&observe::observe(shared, object))
    }
}
