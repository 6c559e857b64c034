//! What the API server could not be asked by a dry run, in words; pure.

use std::collections::BTreeMap;

use super::super::super::observed::{Answer, Ask, Observed};
use crate::{
    api::{Reason, Record},
    release::manifests::Kind,
};

/// How many objects are named of those that one webhook has a say in.
const NAMED: usize = 5;

/// Names the objects of which nobody knows whether they would be taken, and why: a line for each cause.
pub(super) fn risks(seen: &Observed, record: &Record) -> Vec<String> {
    let is_known = seen.answers.iter().any(|(ask, _)| matches!(ask, Ask::DryRun(_)));
    if !is_known {
        // A plan that is written once more while it waits asks for nothing that was tried.
        let said = record.plan.iter().flat_map(|plan| &plan.risks);
        return said.filter(|risk| risk.starts_with(Reason::DryRunUnsupported.as_str())).cloned().collect();
    }
    let mut by_cause: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (ask, answer) in &seen.answers {
        if let (Ask::DryRun(manifest), Answer::Untried { message }) = (ask, answer) {
            let (kind, name) = (manifest.kind.as_str(), &manifest.name);
            let object = if manifest.kind == Kind::Pod { format!("a pod of {name}") } else { format!("{kind} {name}") };
            by_cause.entry(message).or_default().push(object);
        }
    }
    let line = |(message, objects): (&str, Vec<String>)| {
        let more = objects.len().saturating_sub(NAMED);
        let named = objects.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let code = Reason::DryRunUnsupported.as_str();
        format!("{code}: whether {named}{more} would be taken is known only when they are made: {message}.")
    };
    by_cause.into_iter().map(line).collect()
}
