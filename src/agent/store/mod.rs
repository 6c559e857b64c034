//! Storages for backups: S3 and compatible, or a mounted volume.
//!
//! In: a [`StorageTarget`]; its credentials are read from files. Out: a [`Store`] that writes objects once, streams
//! large ones in parts, and reads them in ranges. Every failure is a [`Refusal`] that names the storage and the bucket
//! or folder. Nothing here ever lists, reads or deletes outside the storage's prefix.

pub mod key;
mod leftovers;
mod probe;
mod read;
mod refusal;
mod upload;

use std::{
    path::{Component, Path as FsPath, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    Certificate, ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut},
    local::LocalFileSystem,
    path::Path,
};
use tokio::fs;

use crate::{
    agent::secret,
    api::Reason,
    protocol::{Refusal, StoragePlace, StorageTarget},
};

pub use leftovers::{Finder, UploadNote};
pub use probe::probe;
pub use read::{RANGE_BYTES, Reader};
pub use upload::{Part, Upload, hex};

/// Region that is named when none is: what servers that know no regions accept.
const DEFAULT_REGION: &str = "us-east-1";
/// Longest time to reach a storage.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence of a storage within one request.
const SILENCE: Duration = Duration::from_secs(60);
/// A storage that was opened. Opening asks nothing of it.
#[derive(Debug, Clone)]
pub struct Store {
    name: String,
    place: String,
    prefix: Path,
    kind: Kind,
}

/// What kind of storage it is.
#[derive(Debug, Clone)]
enum Kind {
    S3(Arc<AmazonS3>),
    Volume { files: Arc<LocalFileSystem>, root: PathBuf },
}

impl Store {
    /// Opens a storage. A request is repeated until its patience is over.
    ///
    /// # Errors
    /// Credentials that are missing, a prefix or folder that leaves its place, an address that is none.
    pub async fn open(target: &StorageTarget, patience: Duration) -> Result<Self, Refusal> {
        match &target.place {
            StoragePlace::S3 { .. } => Self::open_s3(target, patience),
            StoragePlace::Volume { path } => Self::open_volume(&target.name, path).await,
        }
    }

    fn open_s3(target: &StorageTarget, patience: Duration) -> Result<Self, Refusal> {
        let StoragePlace::S3 { bucket, prefix, endpoint, region, secret: folder } = &target.place else {
            return Err(refusal::not_writable(&target.name, "is no S3 storage"));
        };
        let name = &target.name;
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            // The whole of a request may take as long as it moves on.
            .with_timeout_disabled()
            .with_read_timeout(SILENCE);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region.as_deref().unwrap_or(DEFAULT_REGION))
            .with_access_key_id(secret::required(folder, "accessKeyId")?)
            .with_secret_access_key(secret::required(folder, "secretAccessKey")?)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { retry_timeout: patience, max_retries: usize::MAX, ..RetryConfig::default() });
        if let Some(token) = secret::optional(folder, "sessionToken")? {
            builder = builder.with_token(token);
        }
        let options = match secret::optional(folder, "ca.crt")? {
            None => options,
            Some(pem) => Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|_| secret::lacks(folder, "ca.crt", "is no PEM certificate"))?
                .into_iter()
                .fold(options, ClientOptions::with_root_certificate),
        };
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        let insecure = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let builder = builder.with_client_options(options.with_allow_http(insecure));
        let client =
            builder.build().map_err(|error| refusal::of(name, &format!("bucket {bucket}"), "be opened", &error))?;
        Ok(Self {
            name: name.clone(),
            place: format!("bucket {bucket}"),
            prefix: key::prefix(name, prefix)?,
            kind: Kind::S3(Arc::new(client)),
        })
    }

    async fn open_volume(name: &str, path: &FsPath) -> Result<Self, Refusal> {
        let place = format!("folder {}", path.display());
        if !path.is_absolute() || path.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(refusal::not_writable(name, &format!("{place} is not an absolute path without ..")));
        }
        fs::create_dir_all(path).await.map_err(|error| refusal::of_io(name, &place, "be made", &error))?;
        let files = LocalFileSystem::new_with_prefix(path)
            .map_err(|error| refusal::of(name, &place, "be opened", &error))?
            .with_fsync(true);
        let kind = Kind::Volume { files: Arc::new(files), root: path.to_owned() };
        Ok(Self { name: name.to_owned(), place, prefix: Path::default(), kind })
    }

    /// Returns the name of the `BackupStorage`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a key under the storage's prefix.
    #[must_use]
    pub fn key(&self, below: &Path) -> Path {
        self.prefix.parts().chain(below.parts()).collect()
    }

    /// Returns what stands below the storage's prefix of a key as results name it.
    ///
    /// # Errors
    /// It is no key, or leaves the prefix.
    pub fn below(&self, key: &str) -> Result<Path, Refusal> {
        let parsed = Path::parse(key).ok().filter(|path| path.as_ref() == key);
        let below = parsed.as_ref().and_then(|path| path.prefix_match(&self.prefix)).map(Iterator::collect);
        below.ok_or_else(|| refusal::not_writable(&self.name, &format!("{key:?} is no key under its prefix")))
    }

    fn objects(&self) -> &dyn ObjectStore {
        match &self.kind {
            Kind::S3(client) => client.as_ref(),
            Kind::Volume { files, .. } => files.as_ref(),
        }
    }

    fn refused(&self, what: &str, error: &object_store::Error) -> Refusal {
        refusal::of(&self.name, &self.place, what, error)
    }

    /// Returns the refusal for an object that must be there: one that is gone was taken away.
    fn not_returned(&self, key: &Path, error: &object_store::Error) -> Refusal {
        let refusal = self.refused(&format!("return {key}"), error);
        match error {
            object_store::Error::NotFound { .. } => Refusal { reason: Reason::BackupVerificationFailed, ..refusal },
            _ => refusal,
        }
    }

    /// Writes a small object that must not be there yet.
    ///
    /// # Errors
    /// It is there already (`DestinationNotWritable`), or the storage did not take it.
    pub async fn put_once(&self, key: &Path, content: Vec<u8>) -> Result<(), Refusal> {
        let options = PutOptions::from(PutMode::Create);
        match self.objects().put_opts(key, content.into(), options).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(&format!("take {key} as a new object"), &error)),
        }
    }

    /// Reads a small object.
    ///
    /// # Errors
    /// The storage did not return it.
    pub async fn get(&self, key: &Path) -> Result<Vec<u8>, Refusal> {
        let refused = |error| self.not_returned(key, &error);
        let bytes = self.objects().get(key).await.map_err(refused)?.bytes().await.map_err(refused)?;
        Ok(bytes.to_vec())
    }

    /// Removes objects; one that is not there is no failure.
    ///
    /// # Errors
    /// The storage did not remove one of them; the others were tried.
    pub async fn remove(&self, keys: &[Path]) -> Result<(), Refusal> {
        let mut problem = Ok(());
        for key in keys {
            match self.objects().delete(key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => problem = Err(self.refused(&format!("remove {key}"), &error)),
            }
        }
        problem
    }
}
