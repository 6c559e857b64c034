//! Release: from a changed spec to production, and back.
//!
//! ```text
//!            spec changed          approved                              all checks passed
//!   Idle ──▶ Inspect ──▶ Approve ──▶ Preflight ──▶ Deploy ──▶ Verify ──▶ Switch ──▶ Watch ──▶ Retire ──▶ Idle
//!     ▲                     │            │            │          │          │          │
//!     └─────────────────────┘            └────────────┴──────────┤          └────┬─────┘  not well
//!     │       rejected                                           ▼               ▼
//!     └─────────────────────────────────────────────────────  CleanUp ◀──── SwitchBack
//! ```
//!
//! With a database, `Backup`, `Rehearse` and `Migrate` come between `Preflight` and `Deploy`, and `RestoreData` before
//! `CleanUp`. A migration that the version before cannot stand comes after its release, by an approval of its own:
//!
//! ```text
//!            approved, and what serves is well     nothing of another version runs           the ledger says applied
//!   Idle ──▶ Contract ──▶ Backup ──▶ Rehearse ──▶ Migrate ──▶ Idle
//!     ▲         │            │           │           │  not applied: what serves goes on serving
//!     └─────────┴────────────┴─── CleanUp ───────────┘
//! ```
//!
//! [`observe`] looks, [`plan`] decides (pure), [`status`] puts it into words (pure), [`act`] does it.

pub mod act;
mod arrivals;
pub mod contests;
mod kept;
pub mod manifests;
pub mod observe;
pub mod observed;
pub mod plan;
pub mod plan_text;
pub mod sources;
pub mod status;
pub mod watched;
pub mod words;

mod reconcile;
pub use arrivals::Arrivals;
pub use reconcile::{Context, error_policy, reconcile, urgency};
