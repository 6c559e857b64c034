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

mod reconcile;
pub use arrivals::Arrivals;
pub use reconcile::{Context, error_policy, reconcile, urgency};
