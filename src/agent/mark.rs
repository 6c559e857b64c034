//! `mark`: makes a database known to us for ever. A marker that is there already is kept.

use super::postgres::{connect, ledger};
use crate::protocol::{DatabaseFacts, MarkParameters, Refusal};

/// Writes the marker of a database that has none, raises the epoch of one that has; returns who it is.
pub async fn run(parameters: &MarkParameters) -> Result<DatabaseFacts, Refusal> {
    let mut session = connect(&parameters.database, "mark").await?;
    let marker = ledger::mark(&mut session.client, parameters.database.environment).await?;
    let mut facts = session.facts;
    facts.identity.marker = Some(marker);
    // What stood there a moment ago may have been written by another who marks.
    super::postgres::identity::verify(&parameters.database, &facts.identity)?;
    Ok(facts)
}
