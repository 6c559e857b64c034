//! Why something is as it is. Reasons are API: people alert on them, each has an entry in `docs/reasons.md`.

use serde::{Deserialize, Serialize};
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::Outcome;

/// A reason of a condition, an event or a Decision's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, EnumString, IntoStaticStr)]
pub enum Reason {
    // What moves.
    /// The plan is being made; nothing is written but status.
    Inspecting,
    /// The plan is in status and waits for a Decision on its digest.
    WaitingForApproval,
    /// What was approved is no longer what would run; it needs a new approval.
    ApprovalStale,
    /// The cluster is inspected once more, then claims and new Services are made.
    Preflight,
    /// A backup is taken and proven; nothing is migrated before.
    BackingUp,
    /// The backup is restored into a scratch server and the migration runs there; production is not touched.
    Rehearsing,
    /// The migration runs under the database's lock; the old version serves.
    Migrating,
    /// The candidate's Deployments come up beside the active ones.
    Deploying,
    /// Checks run against the preview Services.
    Verifying,
    /// Services are moved to the candidate.
    Switching,
    /// The candidate serves and is watched; the active revision stays at full size.
    Watching,
    /// A check cannot tell; the window does not end.
    WatchOnHold,
    /// The former revision drains and is scaled to zero.
    Retiring,
    /// Services go back to the active revision.
    SwitchingBack,
    /// `down` takes the migration back; traffic has gone back before.
    RestoringData,
    /// On the way back the data of the backup wait for an approval of what is lost by them; the earlier version serves.
    DataLossPending,
    /// A Contract migration waits for an approval of its own; the version that serves does not need it.
    ContractPending,
    /// A Contract migration begins: the database is looked at once more, and what was kept of earlier versions goes.
    Contracting,
    /// What the candidate left is removed.
    CleaningUp,
    /// Nothing goes on: the spec or a Decision says so.
    Suspended,
    /// The Decision that suspended it holds no longer.
    Resumed,
    /// The Release is being deleted.
    Deleting,
    // What was reached.
    /// The spec's revision serves.
    Released,
    /// The revision in question serves, though pods of it are not ready.
    ActiveUnhealthy,
    /// Nothing of this Release serves users yet.
    NothingServes,
    /// The database answers and is the one that was recorded.
    Reachable,
    /// The storage takes, keeps and returns objects.
    Usable,
    /// The backup is stored and proven as far as was asked.
    BackedUp,
    /// The ledger says that the migration was applied.
    Migrated,
    /// Traffic went back, by itself or because a person asked.
    RolledBack,
    /// A person rejected the plan.
    Rejected,
    /// A person aborted the attempt.
    Aborted,
    /// A newer spec took the attempt's place.
    Superseded,
    // What refuses or fails.
    /// The attempt failed for a reason that this version does not know.
    AttemptFailed,
    /// The candidate did not get ready in time.
    GreenNotReady,
    /// The candidate did not get ready in time, because an image of it cannot be had.
    ImagePullFailed,
    /// A check said no, or did not say yes.
    ChecksFailed,
    /// A check of the spec cannot be made: its regular expression is none.
    CheckInvalid,
    /// Readiness fell below what `watch` allows.
    ReadinessLost,
    /// Neither revision is well; no traffic moves by itself.
    BothUnhealthy,
    /// The endpoints did not follow the Service in time.
    SwitchTimedOut,
    /// The former version's workers did not stop, or the new version's did not get ready, in time.
    HandoverTimedOut,
    /// A pod of a worker has not ended, so the other version's is not started: a queue has one reader.
    WorkerNotGone,
    /// Something of an earlier version still runs, so a Contract migration does not begin.
    EarlierVersionRuns,
    /// A hook failed, or did not end in time.
    HookFailed,
    /// The frozen content of an attempt was deleted.
    ContentLost,
    /// The spec names the active revision again.
    SpecReverted,
    /// What a version needs may be gone when traffic goes back to it.
    WayBackAtRisk,
    /// An object that is not ours has a name that is needed.
    NameTaken,
    /// Something of somebody else's selects the pods of this release as well.
    SelectedElsewhere,
    /// An autoscaler of somebody else's scales a Deployment of this Release.
    ReplicasOwnedByAutoscaler,
    /// The Deployment or Service that is to be adopted does not exist beside the Release.
    TargetNotFound,
    /// The Deployment or Service that is to be adopted is being deleted.
    TargetTerminating,
    /// The Deployment or Service that is to be adopted belongs to something else, which would go on writing it.
    TargetOwned,
    /// The Deployment or Service that is to be adopted does not say that this Release may.
    AdoptionNotOffered,
    /// The Service that is needed, or what is to be adopted, belongs to another Release.
    ServiceClaimed,
    /// Traffic of the Service that is to be adopted cannot be told apart, or no switch would reach its clients.
    ServiceNotSwitchable,
    /// The API server refuses an object of this release.
    DryRunRefused,
    /// Something that has a say in an object of this release takes no dry runs, so whether it would be taken is not known.
    DryRunUnsupported,
    /// The namespace's quota or limits refuse an object of this release.
    QuotaExceeded,
    /// The namespace's Pod Security level refuses a pod of this release.
    PodSecurityViolation,
    /// A Service account that a pod names does not exist.
    ServiceAccountNotFound,
    /// A ConfigMap that pods need does not exist.
    ConfigMapNotFound,
    /// A ReleasePolicy lets nothing begin now; it waits until the freeze is over.
    Frozen,
    /// A ReleasePolicy lets only so many Releases be under way at once; it waits until one of them has ended.
    WaitingForSlot,
    /// A ReleasePolicy asks that the same served elsewhere first, for so long, and it has not.
    NotPromoted,
    /// A ReleasePolicy asks for images by digest, and one is a tag.
    DigestRequired,
    /// A ReleasePolicy asks for semantic versions, and this one is none.
    VersionNotSemantic,
    /// A ReleasePolicy cannot be read or evaluated, so nothing begins.
    PolicyUnusable,
    /// The admission policies that guard Decisions are absent or changed, or who changed the spec is not known.
    ApprovalPolicyMissing,
    /// A ReleasePolicy asks that no author approves, and an account that acts for others changed the spec.
    AuthorIsAutomation,
    /// The DatabaseInstance that is named does not exist beside the object.
    DatabaseNotFound,
    /// The BackupStorage that is named does not exist beside the object, or none is named at all.
    StorageNotFound,
    /// The DatabaseInstance is not ready: it was not reached yet, or is not who it was.
    DatabaseNotReady,
    /// Another Release has claimed the database; one Release per database.
    DatabaseClaimed,
    /// Nothing answers at the database's address, or TLS fails.
    DatabaseUnreachable,
    /// The database, or the storage, does not accept the credentials.
    AuthenticationFailed,
    /// The role lacks a right that is needed.
    InsufficientPrivilege,
    /// The Secret lacks a key that is needed, or its value is empty.
    SecretKeyNotFound,
    /// The server is a replica or in recovery.
    NotPrimary,
    /// The server's version is not supported, or the tool image is of another major version.
    UnsupportedVersion,
    /// A connection pooler stands before the server; session locks do not hold behind it.
    PoolerNotSupported,
    /// The database is not the one that was recorded. Everything that could destroy stops.
    IdentityUncertain,
    /// The database was never marked as ours, so no backup can be named after it.
    NotMarked,
    /// The database's lock is held: a backup, a migration or a backend of an earlier attempt still works.
    DatabaseBusy,
    /// The storage does not take, keep or return an object.
    DestinationNotWritable,
    /// The BackupStorage does not allow this database.
    DestinationNotAllowed,
    /// The storage or the scratch volume is full.
    NoSpace,
    /// The database uses an extension, library or locale that the tool image lacks, so it cannot be restored there.
    ExtensionNotInTools,
    /// The backup gave way to somebody who waited for its locks.
    YieldedToDDL,
    /// The backup could not be taken; nothing is left that looks like one.
    BackupFailed,
    /// What was stored is not what was sent, or does not restore to what was counted.
    BackupVerificationFailed,
    /// A statement of the migration waited too long for a lock; it was undone or never began.
    LockTimeout,
    /// The migration ended without success; the message names the statement.
    MigrationFailed,
    /// `migration.pending` did not say whether anything is due.
    PendingUnknown,
    /// The migration did not pass on a restored copy of the data; production was not touched.
    RehearsalFailed,
    /// A pod of the old version did not get ready on the migrated copy, though the migration says that it would.
    ContractTestFailed,
    /// Production's address answers from where the migration is rehearsed.
    RehearsalReachesProduction,
    /// The schema is not the one that was backed up and rehearsed: something else changed it meanwhile.
    SchemaChanged,
    /// Taking the migration back would lose rows: the schema stays as it was migrated.
    WouldLoseData,
    /// The backup is of another database, or of another major version of the server.
    BackupMismatch,
    /// The backup that is to be restored is not what was proven: its manifest or its data was altered, cut short or taken
    /// away.
    BackupCorrupt,
    /// The role that would restore a backup may do more than own a database: code in a dump would run as that role.
    SuperuserNotAllowed,
    /// Something is bound to the database that a swap would tear off: a prepared transaction, a replication slot, a
    /// subscription, pg_cron.
    SwapBlocked,
    /// The DatabaseInstance does not say what restoring a backup in the place of its database needs.
    RestoreNotPossible,
    /// A backup could not be restored beside the database, or not be put in its place; what serves was not replaced.
    RestoreFailed,
    /// Whether a backup is in the place of its database was not found out: the server, or its answer, was lost.
    RestoreUncertain,
    /// The migration began and its end is not known.
    MigrationUncertain,
    /// The command ended with success, but never came to the database or left sessions at work there.
    MigrationResultMismatch,
    /// A file that was applied earlier has another content now, is missing, or stands behind one that was not.
    MigrationHistoryDiverged,
    /// It took longer than it may; child and backends were ended before the lock was given back.
    DeadlineExceeded,
    /// A Job's pod ended without saying what it did.
    JobLost,
    /// Something still depends on the object; its deletion waits.
    InUse,
    /// Somebody else changed a Service's selector; it is put back.
    TrafficContested,
    /// The stored object does not fit this version's schema.
    InvalidStoredObject,
    // What becomes of a Decision.
    /// It took effect.
    Used,
    /// It is older than a Decision may be.
    Expired,
    /// It names another digest than the plan's.
    OtherDigest,
    /// It names another object: the UID differs.
    OtherUid,
    /// It was created before the plan it approves.
    TooEarly,
    /// It came when it could not change anything any more.
    TooLate,
    /// It was created while the admission policies did not guard.
    CreatedUnguarded,
    /// It names a revision that never served, serves already, or whose content is kept no longer.
    NoSuchRevision,
    /// It names a version that does not work on what a Contract migration made of the schema.
    Withdrawn,
    /// It does not say the sentence that a ReleasePolicy asks for.
    StatementMissing,
    /// Whoever made it changed what it approves, and a ReleasePolicy asks for somebody else.
    AuthorMayNotApprove,
    /// It counts, and waits for what it speaks of.
    Waiting,
    /// It is of a kind that this version of the operator does not know.
    UnknownDecision,
}

impl Reason {
    /// Returns the reason as conditions and events carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads a reason that status remembers; one that only a newer version knows says no more than that the
    /// attempt failed.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::parse_or(text, Self::AttemptFailed)
    }

    /// Reads a reason that another controller gave; `other` for one that only a newer version knows.
    #[must_use]
    pub fn parse_or(text: &str, other: Self) -> Self {
        text.parse().unwrap_or(other)
    }

    /// Returns the reason by which people know how an attempt ended: what a person or the way back did counts
    /// more than its cause, which the message tells.
    #[must_use]
    pub fn of_outcome(outcome: Outcome, cause: &str) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Released,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Failed => Self::parse(cause),
            Outcome::Rejected => Self::Rejected,
            Outcome::Aborted => Self::Aborted,
            Outcome::Superseded => Self::Superseded,
        }
    }
}
