//! What attempts left that were cut: notes of uploads that began, found by their manifest not being there.
//!
//! An attempt that may still be running is touched only where that is safe: aborting its upload makes it fail, while
//! its finished objects stay, because its manifest may be written at this moment. Past the time at which it gives up
//! by itself, everything of it goes.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Kind, Store, key, upload::abort_multipart};
use crate::protocol::Refusal;

/// How long after its own deadline an attempt is surely over: more than clocks differ.
const SURELY_OVER: SignedDuration = SignedDuration::from_hours(1);

/// What is stored before the first byte of a piece is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadNote {
    /// Key of the piece.
    pub key: String,
    /// The storage's name for the upload; a volume has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When its agent gives up by itself.
    pub gives_up_at: Timestamp,
}

/// Who looks for leftovers.
#[derive(Debug, Clone, Copy)]
pub struct Finder {
    /// Marker of the database.
    pub marker: Uuid,
    /// UID of the backup that begins now.
    pub backup: Uuid,
    /// Its attempt: the earlier ones of the same backup are over as far as the controller knows.
    pub attempt: u32,
    /// The present time.
    pub now: Timestamp,
}

impl Store {
    /// Removes what cut attempts at backups of this database left.
    ///
    /// # Errors
    /// The storage could not be listed, or did not remove something; the rest was tried.
    pub async fn remove_leftovers(&self, finder: &Finder) -> Result<(), Refusal> {
        let folder = self.key(&Path::from(finder.marker.to_string()));
        let listed = self.objects().list(Some(&folder));
        let keys: Vec<Path> = listed
            .map_ok(|meta| meta.location)
            .try_collect()
            .await
            .map_err(|error| self.refused(&format!("list {folder}"), &error))?;
        let mut attempts: BTreeMap<String, Vec<Path>> = BTreeMap::new();
        for key in keys {
            let folder = key.as_ref().rsplit_once('/').map(|(folder, _)| folder.to_owned());
            attempts.entry(folder.unwrap_or_default()).or_default().push(key);
        }
        let mut problem = Ok(());
        for keys in attempts.into_values() {
            if keys.iter().all(|key| key.filename() != Some(key::MANIFEST))
                && let Err(refusal) = self.remove_attempt(keys, finder).await
            {
                problem = Err(refusal);
            }
        }
        problem
    }

    /// Removes one attempt that has no manifest.
    async fn remove_attempt(&self, keys: Vec<Path>, finder: &Finder) -> Result<(), Refusal> {
        let below = |key: &Path| -> Option<Path> { Some(key.prefix_match(&self.prefix)?.collect()) };
        let Some((marker, backup, attempt)) = keys.first().and_then(below).and_then(|key| key::read(&key)) else {
            return Ok(());
        };
        let earlier = marker == finder.marker && backup == finder.backup && attempt < finder.attempt;
        let mut notes = Vec::new();
        for key in keys.iter().filter(|key| key::is_note(key)) {
            if let Ok(note) = serde_json::from_slice::<UploadNote>(&self.get(key).await?) {
                notes.push(note);
            }
        }
        let over =
            !notes.is_empty() && notes.iter().all(|note| finder.now.duration_since(note.gives_up_at) > SURELY_OVER);
        if earlier || over {
            for note in &notes {
                self.abort_noted(note).await?;
            }
        }
        if !over {
            return Ok(());
        }
        // Notes last: as long as one is there, the rest is found again.
        let (notes, data): (Vec<Path>, Vec<Path>) = keys.into_iter().partition(key::is_note);
        self.remove(&data).await?;
        self.remove(&notes).await
    }

    async fn abort_noted(&self, note: &UploadNote) -> Result<(), Refusal> {
        let Ok(key) = Path::parse(&note.key) else { return Ok(()) };
        if key.prefix_match(&self.prefix).is_none() {
            return Ok(());
        }
        match (&self.kind, &note.upload_id) {
            (Kind::S3(client), Some(id)) => abort_multipart(self, client, &key, id).await,
            (Kind::S3(_), None) => Ok(()),
            (Kind::Volume { root, .. }, _) => {
                remove_staged(&root.join(key.as_ref())).await;
                Ok(())
            }
        }
    }
}

/// Removes the files under temporary names that a killed upload left: `<name>#<number>`, never listed as objects.
async fn remove_staged(file: &std::path::Path) {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else { return };
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let staged = entry.file_name().to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('#')).is_some();
        if staged {
            // What cannot be removed is tried again by the next run.
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}
