//! Checks: each asked for by the controller, answered by one verdict.

pub mod http;
