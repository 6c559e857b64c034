//! `inspect`: looks at a database, at storages, at a migration. Each part answers for itself.

use super::{
    migrate,
    postgres::{connect_briefly, fingerprint::Catalogue},
    store,
};
use crate::protocol::{Answer, InspectParameters, InspectResult, StorageFacts};

/// Looks; writes nothing but a probe object in each storage.
pub async fn run(parameters: &InspectParameters) -> InspectResult {
    let mut result = InspectResult { database: None, storages: Vec::new(), migration: None, schema: None };
    if let Some(target) = &parameters.database {
        match connect_briefly(target, "inspect").await {
            Ok(session) => {
                if let Some(migration) = &parameters.migration {
                    let facts = migrate::inspect(&session.client, migration, &session.facts.server_version).await;
                    result.migration = Some(facts.map_or_else(Answer::Refused, Answer::Done));
                }
                if parameters.schema {
                    let schema = Catalogue::read(&session.client).await.map(|read| read.fingerprint());
                    result.schema = Some(schema.map_or_else(Answer::Refused, Answer::Done));
                }
                result.database = Some(Answer::Done(session.facts));
            }
            Err(refusal) => result.database = Some(Answer::Refused(refusal)),
        }
    }
    for storage in &parameters.storages {
        let problem = store::probe(storage).await;
        result.storages.push(StorageFacts { name: storage.name.clone(), problem });
    }
    result
}
