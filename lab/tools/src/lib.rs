//! Programs of the lab, never shipped: what a release is tried with.
//!
//! - [`demo`]: the application that gets released. Environment variables make it behave well or badly, on purpose
//!   and at a known moment.
//! - [`load`]: the load generator that counts every request, so that "no request lost" is a number.
//! - [`client`]: one HTTP/1.1 exchange, and whether its failure may be retried; both programs ask with it.
//! - [`clock`]: every look at a clock. [`lines`]: every line for people.

pub mod client;
pub mod clock;
pub mod demo;
pub mod lines;
pub mod load;
