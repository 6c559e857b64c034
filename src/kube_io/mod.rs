//! How the API server is spoken to: deadlines, patches, caches, events. Knows no kind of ours.

pub mod backoff;
pub mod calls;
pub mod index;
pub mod lists;
pub mod merge;
pub mod news;
pub mod unreadable;
pub mod written;
