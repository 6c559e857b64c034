//! The copies of one attempt: the same parts to all storages, completed together, taken back together.
//!
//! Uploads stay open until the dump is known to be good; before that nothing can be seen under any key.

use futures::future::{join_all, try_join_all};
use jiff::Timestamp;
use object_store::path::Path;

use crate::{
    agent::store::{Part, Store, Upload, UploadNote, key::Attempt},
    protocol::Refusal,
};

/// What all uploads of an attempt have in common.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the objects go.
    pub attempt: Attempt,
    /// When this run began.
    pub started_at: Timestamp,
    /// When it gives up by itself.
    pub gives_up_at: Timestamp,
}

/// One attempt's copies, one per storage.
pub struct Copies {
    plan: Plan,
    copies: Vec<Copy>,
}

struct Copy {
    store: Store,
    /// One upload per piece.
    pieces: Vec<Upload>,
    /// Notes, which stay when everything went well.
    notes: Vec<Path>,
    manifest: Option<Path>,
}

impl Copies {
    /// Names the copies; writes nothing yet.
    #[must_use]
    pub fn new(plan: Plan, stores: Vec<Store>) -> Self {
        let copy = |store| Copy { store, pieces: Vec::new(), notes: Vec::new(), manifest: None };
        Self { plan, copies: stores.into_iter().map(copy).collect() }
    }

    /// Begins a piece in every storage.
    ///
    /// # Errors
    /// A storage did not take it.
    pub async fn begin_piece(&mut self) -> Result<(), Refusal> {
        let plan = &self.plan;
        try_join_all(self.copies.iter_mut().map(|copy| copy.begin_piece(plan))).await.map(|_| ())
    }

    /// Sends a part of the newest piece to every storage; the slowest one sets the pace.
    ///
    /// # Errors
    /// A storage did not take it.
    pub async fn part(&mut self, part: &Part) -> Result<(), Refusal> {
        let newest = self.copies.iter_mut().filter_map(|copy| copy.pieces.last_mut());
        try_join_all(newest.map(|upload| upload.part(part))).await.map(|_| ())
    }

    /// Completes every piece in every storage.
    ///
    /// # Errors
    /// A storage did not complete one.
    pub async fn complete(&mut self) -> Result<(), Refusal> {
        let all = self.copies.iter_mut().flat_map(|copy| copy.pieces.iter_mut());
        try_join_all(all.map(Upload::complete)).await.map(|_| ())
    }

    /// Reads back what every storage holds.
    ///
    /// # Errors
    /// Something else is there than was sent (`BackupVerificationFailed`).
    pub async fn check(&self, sha256: &[[u8; 32]]) -> Result<(), Refusal> {
        for copy in &self.copies {
            for (upload, sha256) in copy.pieces.iter().zip(sha256) {
                upload.check(sha256).await?;
            }
        }
        Ok(())
    }

    /// Returns the storages.
    pub fn stores(&self) -> impl Iterator<Item = &Store> {
        self.copies.iter().map(|copy| &copy.store)
    }

    /// Writes the manifest in every storage.
    ///
    /// # Errors
    /// A storage did not take it.
    pub async fn write_manifest(&mut self, text: &str) -> Result<(), Refusal> {
        let key = self.plan.attempt.manifest();
        for copy in &mut self.copies {
            let key = copy.store.key(&key);
            // Remembered first: a write without an answer may have been done.
            copy.manifest = Some(key.clone());
            copy.store.put_once(&key, text.as_bytes().to_vec()).await?;
        }
        Ok(())
    }

    /// Takes back everything that was written, manifests first; returns what could not be.
    pub async fn take_back(self) -> Vec<Refusal> {
        join_all(self.copies.into_iter().map(Copy::take_back)).await.into_iter().flatten().collect()
    }
}

impl Copy {
    async fn begin_piece(&mut self, plan: &Plan) -> Result<(), Refusal> {
        let number = self.pieces.len();
        let key = self.store.key(&plan.attempt.piece(number));
        let upload = Upload::begin(&self.store, &key).await?;
        let note = UploadNote {
            key: key.to_string(),
            upload_id: upload.id().map(str::to_owned),
            started_at: plan.started_at,
            gives_up_at: plan.gives_up_at,
        };
        self.pieces.push(upload);
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let key = self.store.key(&plan.attempt.note(number));
        self.store.put_once(&key, text).await?;
        self.notes.push(key);
        Ok(())
    }

    async fn take_back(self) -> Vec<Refusal> {
        let mut left = Vec::new();
        if let Some(manifest) = self.manifest {
            left.extend(self.store.remove(&[manifest]).await.err());
        }
        for upload in self.pieces {
            left.extend(upload.abort().await.err());
        }
        // A note stays as long as something that it names does.
        if left.is_empty() {
            left.extend(self.store.remove(&self.notes).await.err());
        }
        left
    }
}
