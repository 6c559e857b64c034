//! The agent: what runs inside Jobs, in the user's namespace, without any right at the API server.

pub mod checks;
