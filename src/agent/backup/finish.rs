//! The end of a backup: what was sent becomes visible, is read back and proven; then the manifest makes it a backup.

use super::{Dumped, Work, copies::Copies};
use crate::{
    agent::{
        manifest::{FORM, Manifest, Tools},
        proof::{self, Proven},
        refuse,
        store::key::Attempt,
    },
    api::{Reason, sha256_hex},
    clock,
    protocol::{BackupResult, CopyResult, Refusal},
};

impl Work<'_> {
    /// Completes, checks and proves the copies, then writes the manifests.
    ///
    /// The proof comes before the manifest, because a storage may not let its writers remove anything: a manifest that
    /// turned out to be wrong would stay.
    pub(super) async fn finish(
        &self,
        attempt: &Attempt,
        dumped: Dumped,
        copies: &mut Copies,
    ) -> Result<BackupResult, Refusal> {
        copies.complete().await?;
        copies.check(&dumped.streamed.sha256).await?;
        let stored_at = clock::now();
        let stores: Vec<_> = copies.stores().cloned().collect();
        let Dumped { content, streamed, omitted, position, oldest_transaction, taken_at, database, tools } = dumped;
        let proven = Proven { places: self.places, attempt, content: &content, data: &streamed.data };
        let proof = proof::prove(self.parameters.proof, &stores, &proven).await?;
        let manifest = Manifest {
            form: FORM,
            backup_uid: self.parameters.backup_uid.clone(),
            attempt: self.parameters.attempt,
            database,
            position,
            oldest_transaction,
            taken_at,
            stored_at,
            tools: Tools { agent: env!("CARGO_PKG_VERSION").to_owned(), dump: tools },
            content,
            omitted,
            data: streamed.data,
            proof,
        };
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|error| refuse(Reason::BackupFailed, format!("the manifest: {error}")))?;
        copies.write_manifest(&text).await?;
        let sha256 = sha256_hex(&text);
        let copy = |store: &crate::agent::store::Store| CopyResult {
            storage: store.name().to_owned(),
            manifest: store.key(&attempt.manifest()).to_string(),
            sha256: sha256.clone(),
        };
        Ok(BackupResult {
            copies: stores.iter().map(copy).collect(),
            size_bytes: manifest.data.stored.bytes,
            tables: manifest.content.tables.len() as u64,
            rows: manifest.content.rows(),
            database: manifest.database,
            position: manifest.position,
            schema: manifest.content.schema,
            taken_at: manifest.taken_at,
            completed_at: clock::now(),
            proof: manifest.proof,
        })
    }
}
