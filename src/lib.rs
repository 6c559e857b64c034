//! Switchback.

pub mod agent;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision;
pub mod error;
pub mod http;
pub mod kube_io;
pub mod metrics;
pub mod protocol;
pub mod release;
pub mod run;
