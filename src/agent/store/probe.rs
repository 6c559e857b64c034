//! Whether a storage can be used: an object is written once, a second write of it is refused, it is read and removed.

use std::time::Duration;

use object_store::path::Path;
use uuid::Uuid;

use super::{Store, refusal};
use crate::protocol::{Refusal, StorageTarget};

/// How long a request is repeated: somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the probe object holds.
const CONTENT: &[u8] = b"Switchback looks whether this storage takes, keeps and returns objects.\n";

/// Looks whether a storage takes, keeps and returns objects; returns why not.
pub async fn probe(target: &StorageTarget) -> Option<Refusal> {
    look(target).await.err()
}

async fn look(target: &StorageTarget) -> Result<(), Refusal> {
    let store = Store::open(target, PATIENCE).await?;
    let key = store.key(&Path::from(format!("probe/{}", Uuid::new_v4())));
    store.put_once(&key, CONTENT.to_vec()).await?;
    let seen = second_write_and_read(&store, &key).await;
    let removed = store.remove(std::slice::from_ref(&key)).await;
    seen?;
    // A storage whose writers may not remove is a good one: what is stored cannot be taken away with the same
    // credentials. Only the probe object stays behind.
    removed.or_else(|refusal| if refusal.message.contains("AccessDenied") { Ok(()) } else { Err(refusal) })
}

async fn second_write_and_read(store: &Store, key: &Path) -> Result<(), Refusal> {
    if store.put_once(key, b"second".to_vec()).await.is_ok() {
        let why = format!("{} lets an object be overwritten: it ignores If-None-Match", store.place);
        return Err(refusal::not_writable(&store.name, &why));
    }
    if store.get(key).await? != CONTENT {
        let why = format!("{} returned something else than was written", store.place);
        return Err(refusal::not_writable(&store.name, &why));
    }
    Ok(())
}
