//! Switchback takes a release to production, and back by itself when it is not well.
//!
//! # A map of the code
//!
//! | where | what |
//! |---|---|
//! | [`api`] | the kinds as types: what people write and read; imports nothing else |
//! | [`release`] | the controller of Releases: `observe` looks, `plan` decides (pure), `status` puts it into words (pure), `act` does it |
//! | [`release::plan`] | one pure function per step; `tests/model` has its table |
//! | [`database`], [`storage`], [`backup`] | the controllers of DatabaseInstances, BackupStorages and DatabaseBackups: one pure plan each |
//! | [`databases`] | what these three share: caches, watches, one reconcile |
//! | [`agent_job`] | the Jobs in which the agent works on databases and storages, for these and for Releases (pure) |
//! | [`decision`] | whether the admission policies guard Decisions |
//! | [`kube_io`] | how the API server is spoken to: deadlines, patches, caches, events; knows no kind of ours |
//! | [`protocol`] | what controller and agent say to each other |
//! | [`agent`] | what runs inside Jobs, without any right at the API server |
//! | [`cli`] | the kubectl plugin, one file per command |
//! | [`run`], [`config`], [`http`], [`metrics`], [`error`], [`clock`] | wiring, flags, pages, figures, errors, the one clock |
//!
//! # Invariants, and where each is kept
//!
//! - **Invariant: nothing runs unasked.** `release/plan/approve.rs` lets an attempt pass on a Decision on its digest
//!   or a guarded `Automatic` only; `release/plan/decisions.rs` says which Decisions count; `charts/switchback/policies`
//!   and [`decision`] make sure that the API server has proved who decided.
//! - **Invariant: traffic never points at nothing.** `release/plan/switch.rs` moves a Service only to a revision that is
//!   whole in its preview endpoints; `release/plan/retire.rs` and `clean_up.rs` read the Services live before anything
//!   is scaled down or removed.
//! - **Invariant: the way back is never blocked.** `release/plan/watch.rs` judges readiness before anything that could
//!   return; `release/plan/switch_back.rs` acts before it remembers and needs neither contents nor approvals.
//! - **Invariant: killed anywhere, it ends the same.** Effects that cannot be taken back begin only when their step
//!   stands in the status as read (`recorded` in `release/plan.rs`); every action is idempotent by name and guarded by
//!   UID or resourceVersion (`release/act.rs`).
//! - **Invariant: a deposed leader writes nothing.** `kube_io/wire.rs` asks before every write whether this process leads;
//!   `release/plan/fence.rs` makes what is on its way all the same fail (`docs/design-notes.md`, "Leaders").
//! - **Invariant: status is what was observed.** `release/status.rs` derives it from what was seen and nothing else.
//! - **Invariant: no migration without a proven backup.** `release/plan/backup.rs` waits for the proof that was asked for;
//!   `release/plan/migrate.rs` reads the DatabaseBackup live before it resumes the Job; `agent/backup` writes the manifest,
//!   without which there is no backup, after the proof.
//! - **Invariant: one migration.** `agent/migrate` holds the database's lock alone, ends what lives of earlier attempts
//!   before it reads the ledger, and writes an end down only when nothing of it works on; what it cannot prove stays
//!   `Started`.
//! - **Invariant: the right database.** Every session of ours passes `agent/postgres/identity.rs` before its first
//!   statement; `agent/port` binds a migration's own sessions to the server that passed.
//! - **Invariant: the controller reads no secret.** The chart's Role does not grant it, and `tests/audit` reads what the
//!   API server wrote down.

pub mod agent;
pub mod agent_job;
pub mod api;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod databases;
pub mod decision;
pub mod error;
pub mod http;
pub mod kube_io;
pub mod metrics;
pub mod protocol;
pub mod release;
pub mod run;
pub mod storage;
