//! What is mounted into the pods of the agent's Jobs; pure.
//!
//! Secrets are optional for Kubernetes: a pod whose Secret is not there would wait without a word, while the agent says
//! which key it misses.

use serde_json::{Value, json};

use super::{AgentJob, Image, Role, Scratch};
use crate::{
    api::{Place, PostgresSettings, SecretKeys},
    protocol::paths,
};

/// The agent's program.
pub(super) const PROGRAM: &str = "switchback-program";
/// Files that must not be on a disk.
const MEMORY: &str = "switchback-memory";
/// The database's Secret.
const DATABASE: &str = "switchback-database";
/// Files of SQL.
const MIGRATIONS: &str = "switchback-migrations";
/// The scratch server's data.
pub(super) const SCRATCH_DATA: &str = "switchback-scratch-data";
/// The socket of the scratch server.
pub(super) const SCRATCH_SOCKETS: &str = "switchback-scratch-sockets";

/// Readable by the pod's group.
const SECRET_MODE: u32 = 0o440;
/// What may lie beside the socket: what a rehearsal has seen, with the schema of the largest databases.
const SHARED_SIZE: &str = "64Mi";
/// What a scratch server needs beside the data: write-ahead log, sorting.
const SCRATCH_MORE_BYTES: i64 = 1 << 30;
/// From here on scratch data does not belong on the node's own disk.
const NODE_BYTES: i64 = 5 << 30;
/// Bytes of one Mi.
const MI: i64 = 1 << 20;

/// Where the data of a scratch server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Room {
    /// On the node's own disk, up to a size.
    Node(String),
    /// On a volume of its own, of a class or of the cluster's default.
    Volume(Option<String>, String),
}

/// Returns where the data of a scratch server is.
pub(super) fn room(scratch: &Scratch<'_>) -> Room {
    let needed = scratch.database_bytes.saturating_mul(2).saturating_add(SCRATCH_MORE_BYTES);
    let asked = scratch.settings.size.as_deref();
    let bytes = asked.and_then(bytes).unwrap_or(needed);
    let size = asked.map_or_else(|| format!("{}Mi", needed.saturating_add(MI - 1) / MI), str::to_owned);
    match &scratch.settings.storage_class_name {
        Some(class) => Room::Volume(Some(class.clone()), size),
        None if bytes >= NODE_BYTES => Room::Volume(None, size),
        None => Room::Node(size),
    }
}

/// Reads a size: a number and `Mi`, `Gi` or `Ti`.
pub(super) fn bytes(size: &str) -> Option<i64> {
    let (number, unit) = [("Mi", MI), ("Gi", MI << 10), ("Ti", MI << 20)]
        .into_iter()
        .find_map(|(name, unit)| Some((size.strip_suffix(name)?, unit)))?;
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// Returns the volumes of a pod.
pub(super) fn volumes(job: &AgentJob<'_>) -> Vec<Value> {
    let mut list = vec![json!({ "name": MEMORY, "emptyDir": { "medium": "Memory", "sizeLimit": "16Mi" } })];
    if job.image != Image::Agent || job.rehearsal.is_some() {
        list.push(json!({ "name": PROGRAM, "emptyDir": { "sizeLimit": "512Mi" } }));
    }
    list.extend(job.database.map(|(settings, role)| database_volume(settings, role)));
    let also = job.database.into_iter().flat_map(|(settings, _)| job.also.iter().map(move |role| (settings, *role)));
    list.extend(also.map(|(settings, role)| secret_volume(&role_volume(role), settings, role)));
    for (number, (_, storage)) in job.storages.iter().enumerate() {
        let volume = match &storage.place {
            Place::S3(s3) => json!({
                "name": storage_volume(number),
                "secret": {
                    "secretName": s3.secret,
                    "defaultMode": SECRET_MODE,
                    "optional": true,
                    "items": same_names(&["accessKeyId", "secretAccessKey", "sessionToken", "ca.crt"]),
                },
            }),
            Place::Volume(volume) => {
                json!({ "name": storage_volume(number), "persistentVolumeClaim": { "claimName": volume.claim } })
            }
        };
        list.push(volume);
    }
    list.extend(job.migrations.map(|name| json!({ "name": MIGRATIONS, "configMap": { "name": name } })));
    if let Some(scratch) = &job.scratch {
        list.push(json!({ "name": SCRATCH_SOCKETS, "emptyDir": { "sizeLimit": SHARED_SIZE } }));
        list.push(scratch_data(&room(scratch)));
    }
    list
}

/// Returns the mounts of the agent's container.
pub(super) fn mounts(job: &AgentJob<'_>) -> Vec<Value> {
    let mut list = vec![memory_mount()];
    if job.image != Image::Agent {
        list.push(program_mount());
    }
    list.extend(job.database.map(|_| database_mount()));
    list.extend(job.also.iter().map(|role| read_only(&role_volume(*role), &role.folder().display().to_string())));
    list.extend(storage_mounts(job));
    list.extend(migrations_mount(job));
    list.extend(job.scratch.as_ref().map(|_| shared_mount()));
    list
}

fn read_only(name: &str, path: &str) -> Value {
    json!({ "name": name, "mountPath": path, "readOnly": true })
}

fn writable(name: &str, path: &str) -> Value {
    json!({ "name": name, "mountPath": path })
}

/// Returns the mount of the folder in memory.
pub(super) fn memory_mount() -> Value {
    writable(MEMORY, paths::MEMORY)
}

/// Returns the mount of the agent's program.
pub(super) fn program_mount() -> Value {
    read_only(PROGRAM, paths::PROGRAM_DIR)
}

/// Returns the mount of the folder that is shared with the scratch container.
pub(super) fn shared_mount() -> Value {
    writable(SCRATCH_SOCKETS, paths::SCRATCH_SOCKETS)
}

/// Returns the mount of the files of SQL.
pub(super) fn migrations_mount(job: &AgentJob<'_>) -> Option<Value> {
    job.migrations.map(|_| read_only(MIGRATIONS, paths::MIGRATIONS))
}

/// Returns the mounts of the storages.
pub(super) fn storage_mounts(job: &AgentJob<'_>) -> Vec<Value> {
    let mount = |(number, (name, storage)): (usize, &(&str, &crate::api::BackupStorageSpec))| {
        let volume = storage_volume(number);
        match &storage.place {
            Place::S3(_) => read_only(&volume, &format!("{}/{name}", paths::STORAGE_SECRETS)),
            Place::Volume(_) => writable(&volume, &format!("{}/{name}", paths::STORAGE_VOLUMES)),
        }
    };
    job.storages.iter().enumerate().map(mount).collect()
}

/// Returns the mount of [`database_volume`].
#[must_use]
pub fn database_mount() -> Value {
    json!({ "name": DATABASE, "mountPath": paths::DATABASE_SECRET, "readOnly": true })
}

/// Names of storages may be longer than those of volumes.
fn storage_volume(number: usize) -> String {
    format!("switchback-storage-{number}")
}

fn scratch_data(room: &Room) -> Value {
    match room {
        Room::Node(size) => json!({ "name": SCRATCH_DATA, "emptyDir": { "sizeLimit": size } }),
        Room::Volume(class, size) => {
            let mut spec =
                json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } });
            if let (Some(class), Some(spec)) = (class, spec.as_object_mut()) {
                spec.insert("storageClassName".into(), class.as_str().into());
            }
            json!({ "name": SCRATCH_DATA, "ephemeral": { "volumeClaimTemplate": { "spec": spec } } })
        }
    }
}

/// Returns the volume with the files that the agent reads. User name and password come from the role's own Secret, the
/// rest always from the first one, so that no role works on another server.
#[must_use]
pub fn database_volume(settings: &PostgresSettings, role: Role) -> Value {
    secret_volume(DATABASE, settings, role)
}

fn role_volume(role: Role) -> String {
    format!("{DATABASE}-{}", role.as_str())
}

fn secret_volume(name: &str, settings: &PostgresSettings, role: Role) -> Value {
    let PostgresSettings { secret, keys, ca_secret, backup, migrate, admin } = settings;
    let SecretKeys { host, port, dbname, username, password, sslmode, ca } = keys;
    let own = match role {
        Role::Owner => None,
        Role::Backup => backup.as_ref(),
        Role::Migrate => migrate.as_ref(),
        Role::Admin => admin.as_ref(),
    };
    let server = [
        item(host.as_ref(), "host"),
        item(port.as_ref(), "port"),
        item(dbname.as_ref(), "dbname"),
        item(sslmode.as_ref(), "sslmode"),
    ];
    let person = [item(username.as_ref(), "username"), item(password.as_ref(), "password")];
    let sources = [
        source(secret, &server),
        source(own.unwrap_or(secret), &person),
        source(ca_secret.as_ref().unwrap_or(secret), &[item(ca.as_ref(), "ca.crt")]),
    ];
    json!({ "name": name, "projected": { "defaultMode": SECRET_MODE, "sources": sources } })
}

fn source(secret: &str, items: &[Value]) -> Value {
    json!({ "secret": { "name": secret, "optional": true, "items": items } })
}

fn item(key: Option<&String>, file: &str) -> Value {
    json!({ "key": key.map_or(file, String::as_str), "path": file })
}

fn same_names(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| item(None, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ScratchSettings;

    #[test]
    fn scratch_data_is_on_the_node_only_while_it_is_small_and_no_class_is_named() {
        let table = [
            (None, None, 10 * MI, Room::Node("1044Mi".into())),
            (None, None, 2 << 30, Room::Volume(None, "5120Mi".into())),
            (Some("fast"), None, 0, Room::Volume(Some("fast".into()), "1024Mi".into())),
            (None, Some("4Gi"), 100 << 30, Room::Node("4Gi".into())),
            (None, Some("1Ti"), 0, Room::Volume(None, "1Ti".into())),
            (None, None, i64::MAX, Room::Volume(None, format!("{}Mi", i64::MAX / MI))),
        ];
        for (class, size, database_bytes, expected) in table {
            let settings =
                ScratchSettings { storage_class_name: class.map(str::to_owned), size: size.map(str::to_owned) };
            let scratch = Scratch { image: "tools", settings: &settings, database_bytes };
            assert_eq!(room(&scratch), expected, "{class:?} {size:?} {database_bytes}");
        }
    }
}
