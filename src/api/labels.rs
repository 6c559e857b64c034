//! Labels, annotations and names that are API: people select by them, other controllers see them.

use strum::VariantArray;

/// Label: UID of the Release an object belongs to. Every watch of ours selects by its existence.
pub const RELEASE_UID: &str = "switchback.dev/release-uid";
/// Label: UID of the DatabaseInstance that a Job works on.
pub const DATABASE_UID: &str = "switchback.dev/database-uid";
/// Label: UID of the BackupStorage that a Job tries.
pub const STORAGE_UID: &str = "switchback.dev/storage-uid";
/// Label: UID of the DatabaseBackup that a Job takes.
pub const BACKUP_UID: &str = "switchback.dev/backup-uid";
/// Label: what the agent does in a Job on a database or a storage: `inspect`, `mark`, `backup` or `migrate`. The
/// watches of these Jobs select by its existence.
pub const VERB: &str = "switchback.dev/verb";
/// Label: name of the workload inside the Release.
pub const WORKLOAD: &str = "switchback.dev/workload";
/// Label: ten digits of the revision; the one label by which traffic moves.
pub const REVISION: &str = "switchback.dev/revision";
/// Label: what an object of ours is for; see [`Role`].
pub const ROLE: &str = "switchback.dev/role";
/// Annotation of a Deployment: the version text (not a label: `2.4.0+build` is no label value).
pub const VERSION: &str = "switchback.dev/version";
/// Annotation of a `ControllerRevision`: names of the config that its content brings.
pub const CONFIG: &str = "switchback.dev/config";
/// Annotation of a HorizontalPodAutoscaler: what its spec asks for, as JSON. While a release is under way it may be held at
/// more pods than that.
pub const AUTOSCALING: &str = "switchback.dev/autoscaling";
/// Annotation of a Service: the last attempt that gave up a recorded switch. Writing it changes the
/// resourceVersion, so that a patch still under way from before is refused by the API server.
pub const FENCE: &str = "switchback.dev/fence";
/// Annotation of a Release: who changed its spec, stamped by the API server; see [`super::ChangedBy`].
pub const CHANGED_BY: &str = "switchback.dev/changed-by";
/// Annotation that a CRD of ours needs before the admission policy lets it be deleted.
pub const ALLOW_DELETE: &str = "switchback.dev/allow-delete";
/// Annotation by which people offer a Deployment or a Service to the Release of this name.
pub const ADOPT: &str = "switchback.dev/adopt";
/// Finalizer of a Release.
pub const FINALIZER: &str = "switchback.dev/release";
/// Finalizer by which a Release holds the DatabaseBackup that its way back rests on.
pub const IN_USE: &str = "switchback.dev/in-use";
/// Field manager of every write of the controller.
pub const FIELD_MANAGER: &str = "switchback";
/// Value of the revision label in a Service's selector before its first switch: no pod carries it.
pub const NO_REVISION: &str = "none";
/// What a preview Service's name ends with.
pub const PREVIEW_SUFFIX: &str = "-preview";

/// What an object of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum Role {
    /// A Deployment of a revision, and its pods.
    Workload,
    /// A Deployment that ran before its Release did; its pods have none of our labels.
    Adopted,
    /// A Service that carries users' traffic.
    Active,
    /// The preview twin of such a Service.
    Preview,
    /// A Job that runs checks.
    Check,
    /// A Job of a hook.
    Hook,
    /// A Job that works on a database, or a backup.
    Database,
    /// A ConfigMap of a revision.
    Config,
    /// A `ControllerRevision` that holds an attempt's frozen content.
    Attempt,
    /// The `ControllerRevision` that keeps Services from a foreground deletion.
    Anchor,
}

impl Role {
    /// Returns the label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Adopted => "adopted",
            Self::Active => "active",
            Self::Preview => "preview",
            Self::Check => "check",
            Self::Hook => "hook",
            Self::Database => "database",
            Self::Config => "config",
            Self::Attempt => "attempt",
            Self::Anchor => "anchor",
        }
    }

    /// Reads the label's value; `None` for a value this version does not know.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|role| role.as_str() == value)
    }
}
