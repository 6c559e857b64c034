//! How the API server is spoken to: deadlines, patches, caches, events. Knows no kind of ours.

pub mod backoff;
pub mod calls;
pub mod elect;
pub mod index;
pub mod leadership;
pub mod lease;
pub mod lists;
pub mod merge;
pub mod news;
pub mod turns;
pub mod unreadable;
pub mod wire;
pub mod work;
pub mod written;
