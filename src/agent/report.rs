//! `report`: what became of a release, written beside the backup that it rested on.
//!
//! It is written once and never over another; whoever comes again with the same finds it done. A backup that is gone gets
//! none: nobody would find it, and nothing would remove it.

use std::time::Duration;

use object_store::path::Path;
use uuid::Uuid;

use super::{
    refuse, say,
    store::{Store, key::Attempt},
};
use crate::{
    api::Reason,
    protocol::{Refusal, ReportParameters, ReportResult, StorageTarget},
};

/// How long a storage may fail before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes it to each storage; one that fails does not keep the others.
///
/// # Errors
/// At least one storage does not have it; the first problem.
pub async fn run(parameters: &ReportParameters) -> Result<ReportResult, Refusal> {
    let failed = |why: String| refuse(Reason::DestinationNotWritable, format!("the report of the release: {why}"));
    let text = serde_json::to_vec_pretty(&parameters.report).map_err(|error| failed(error.to_string()))?;
    let first = parameters.storages.first().ok_or_else(|| failed("no storage is named".to_owned()))?;
    let attempt = Attempt::of_manifest(&Store::open(first, PATIENCE).await?.below(&parameters.manifest)?)?;
    let release = Uuid::try_parse(&parameters.release)
        .map_err(|_| failed(format!("the Release's UID {:?} is no UUID", parameters.release)))?;
    let keys = (attempt.manifest(), attempt.report(release, parameters.attempt));
    let mut written = Vec::new();
    let mut problem = None;
    for storage in &parameters.storages {
        match write(storage, &keys, &text).await {
            Ok(key) => written.push(key),
            Err(refusal) => {
                say(&format!("{}: {}", storage.name, refusal.message));
                problem.get_or_insert(refusal);
            }
        }
    }
    problem.map_or(Ok(ReportResult { keys: written }), Err)
}

async fn write(storage: &StorageTarget, (manifest, report): &(Path, Path), text: &[u8]) -> Result<String, Refusal> {
    let store = Store::open(storage, PATIENCE).await?;
    store.get(&store.key(manifest)).await?;
    let key = store.key(report);
    if let Err(refusal) = store.put_once(&key, text.to_vec()).await {
        // By a Job whose word was lost.
        let is_there = store.get(&key).await.is_ok_and(|there| there == text);
        if !is_there {
            return Err(refusal);
        }
    }
    Ok(key.to_string())
}
