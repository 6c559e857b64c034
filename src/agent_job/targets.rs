//! From our kinds to what the agent is told, and back; pure.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{
    api::{BackupStorageSpec, DatabaseIdentity, DatabaseInstanceSpec, DatabaseMarker, Place},
    protocol::{DatabaseFacts, DatabaseTarget, Identity, Marker, StoragePlace, StorageTarget, paths},
};

/// Returns the database for the agent, and who it must be; `None` as long as nobody was accepted.
#[must_use]
pub fn database(name: &str, spec: &DatabaseInstanceSpec, identity: Option<&DatabaseIdentity>) -> DatabaseTarget {
    DatabaseTarget {
        name: name.to_owned(),
        secret: PathBuf::from(paths::DATABASE_SECRET),
        environment: spec.environment,
        expect: identity.map(expected),
        endpoint: identity.map(|identity| identity.endpoint.clone()),
    }
}

/// Returns a storage for the agent.
#[must_use]
pub fn storage(name: &str, spec: &BackupStorageSpec) -> StorageTarget {
    let place = match &spec.place {
        Place::S3(s3) => StoragePlace::S3 {
            bucket: s3.bucket.clone(),
            prefix: s3.prefix.clone(),
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            secret: Path::new(paths::STORAGE_SECRETS).join(name),
        },
        Place::Volume(volume) => {
            StoragePlace::Volume { path: Path::new(paths::STORAGE_VOLUMES).join(name).join(&volume.path) }
        }
    };
    StorageTarget { name: name.to_owned(), place }
}

/// Returns how many bytes all databases of the server may have; `None` where nobody has said.
#[must_use]
pub fn capacity(spec: &DatabaseInstanceSpec) -> Option<u64> {
    spec.capacity.as_deref().and_then(super::volumes::bytes).and_then(|bytes| u64::try_from(bytes).ok())
}

/// Returns who a database must be.
#[must_use]
pub fn expected(identity: &DatabaseIdentity) -> Identity {
    Identity {
        system_identifier: identity.system_identifier.clone(),
        // Status holds what the agent said; what is no oid any more matches none.
        oid: u32::try_from(identity.oid).unwrap_or_default(),
        name: identity.name.clone(),
        marker: identity.marker.as_ref().map(|marker| Marker {
            uuid: Uuid::parse_str(&marker.uuid).unwrap_or_default(),
            environment: marker.environment,
            epoch: marker.epoch,
        }),
    }
}

/// Returns what the agent saw, as status holds it.
#[must_use]
pub fn identity(facts: &DatabaseFacts) -> DatabaseIdentity {
    let Identity { system_identifier, oid, name, marker } = &facts.identity;
    DatabaseIdentity {
        system_identifier: system_identifier.clone(),
        oid: i64::from(*oid),
        name: name.clone(),
        marker: marker.as_ref().map(|marker| DatabaseMarker {
            uuid: marker.uuid.to_string(),
            environment: marker.environment,
            epoch: marker.epoch,
        }),
        endpoint: facts.endpoint.clone(),
        certificate: facts.certificate.clone(),
        server_version: facts.server_version.clone(),
        size_bytes: i64::try_from(facts.size_bytes).unwrap_or(i64::MAX),
    }
}

/// Returns the word by which an administrator accepts an identity: `SYSTEM-IDENTIFIER/OID/NAME/MARKER`.
#[must_use]
pub fn fingerprint(identity: &DatabaseIdentity) -> String {
    let marker = identity.marker.as_ref().map_or("none", |marker| marker.uuid.as_str());
    format!("{}/{}/{}/{marker}", identity.system_identifier, identity.oid, identity.name)
}
