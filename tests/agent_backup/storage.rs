//! Storages that are not there, not writable, full, or return something else than was stored.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use object_store::path::Path as Key;
use switchback::{
    agent::store::{Store, probe},
    api::{ProofLevel, Reason},
    protocol::{BackupParameters, StoragePlace, StorageTarget},
};

use crate::{
    support::{process::is_root, s3::S3},
    world::{SHOP, SMALL, World, files, s3_target},
};

/// More than a small disk holds; it does not compress.
const BIG: &str = "CREATE TABLE big AS SELECT n, sha512(n::text::bytea) a FROM generate_series(1, 120000) n";

fn with(target: &StorageTarget, change: impl FnOnce(&mut StoragePlace)) -> StorageTarget {
    let mut changed = target.clone();
    change(&mut changed.place);
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn input_39_a_storage_that_cannot_be_used_says_why() {
    let (world, s3) = (World::start("SELECT 1").await, S3::start());
    let good = s3_target(&s3);
    assert_eq!(probe(&good).await, None);
    assert_eq!(probe(&world.volume()).await, None);
    let left = [files(&s3.objects), files(&world.path("volume"))].concat();
    assert!(left.is_empty(), "{left:?}");

    let refused = async |target: StorageTarget| probe(&target).await.unwrap();
    let absent = with(&good, |place| {
        if let StoragePlace::S3 { bucket, .. } = place {
            "absent".clone_into(bucket);
        }
    });
    let refusal = refused(absent).await;
    assert_eq!(refusal.reason, Reason::DestinationNotWritable);
    assert!(refusal.message.contains("bucket absent") && refusal.message.contains("NoSuchBucket"), "{refusal:?}");

    for (file, value) in [("secretAccessKey", "wrong-secret"), ("accessKeyId", "wrong-id")] {
        let folder = world
            .folder
            .secret("wrong", &[("accessKeyId", &s3.access_key_id), ("secretAccessKey", &s3.secret_access_key)]);
        fs::write(folder.join(file), value).unwrap();
        let wrong = with(&good, |place| {
            if let StoragePlace::S3 { secret, .. } = place {
                secret.clone_from(&folder);
            }
        });
        let refusal = refused(wrong).await;
        assert_eq!(refusal.reason, Reason::AuthenticationFailed, "{refusal:?}");
        assert!(!refusal.message.contains("wrong-secret"), "{refusal:?}");
    }
    let empty = world.folder.secret("empty", &[("accessKeyId", "x")]);
    let empty = with(&good, |place| {
        if let StoragePlace::S3 { secret, .. } = place {
            *secret = empty;
        }
    });
    assert_eq!(refused(empty).await.reason, Reason::SecretKeyNotFound);

    fs::write(world.path("file"), "").unwrap();
    let place = StoragePlace::Volume { path: world.path("file").join("folder") };
    let refusal = refused(StorageTarget { name: "v".into(), place }).await;
    assert_eq!(refusal.reason, Reason::DestinationNotWritable, "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn input_39_a_storage_where_nobody_answers_is_refused_in_time() {
    let (world, s3) = (World::start("SELECT 1").await, S3::start());
    let nobody = with(&s3_target(&s3), |place| {
        if let StoragePlace::S3 { endpoint, .. } = place {
            *endpoint = Some("http://127.0.0.1:9".into());
        }
    });
    let refusal = tokio::time::timeout(Duration::from_secs(25), probe(&nobody)).await.unwrap().unwrap();
    assert_eq!(refusal.reason, Reason::DestinationNotWritable, "{refusal:?}");
    drop(world);
}

#[tokio::test(flavor = "multi_thread")]
async fn input_41_threat_t16_a_prefix_or_key_that_leaves_its_place_is_refused() {
    let (world, s3) = (World::start("SELECT 1").await, S3::start());
    for bad in ["../other", "/absolute", "a//b", "a/../../b", ".."] {
        let target = with(&s3_target(&s3), |place| {
            if let StoragePlace::S3 { prefix, .. } = place {
                bad.clone_into(prefix);
            }
        });
        assert_eq!(probe(&target).await.unwrap().reason, Reason::DestinationNotWritable, "{bad}");
        let mut parameters = world.parameters(&[target]);
        assert_eq!(world.backup(&parameters).await.unwrap_err().reason, Reason::DestinationNotWritable, "{bad}");
        parameters = BackupParameters { backup_uid: bad.into(), ..world.parameters(&[world.volume()]) };
        assert_eq!(world.backup(&parameters).await.unwrap_err().reason, Reason::BackupFailed, "{bad}");
    }
    let store = Store::open(&s3_target(&s3), SMALL.patience).await.unwrap();
    for bad in ["team-b/x", "team-a/../team-b/x", "/team-a/x", "x", "team-a-b/x", ""] {
        assert!(store.below(bad).is_err(), "{bad}");
    }
    let relative = StoragePlace::Volume { path: PathBuf::from("/tmp/../etc") };
    assert!(probe(&StorageTarget { name: "v".into(), place: relative }).await.is_some());
    assert!(files(&s3.objects).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn threat_t15_a_manifest_is_written_once_and_an_altered_one_is_refused() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    for storage in [s3_target(&s3), world.volume()] {
        let uid = uuid::Uuid::new_v4().to_string();
        let parameters = BackupParameters { backup_uid: uid, ..world.parameters(std::slice::from_ref(&storage)) };
        let result = world.backup(&parameters).await.unwrap();
        let store = Store::open(&storage, SMALL.patience).await.unwrap();
        let key = Key::parse(&result.copies[0].manifest).unwrap();
        let refusal = store.put_once(&key, b"{}".to_vec()).await.unwrap_err();
        assert!(refusal.message.contains("there already"), "{refusal:?}");

        let root = if storage.name == "s3" { s3.objects.clone() } else { world.path("volume") };
        let file = root.join(key.as_ref());
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("1000", "1001")).unwrap();
        let refusal = world.prove(&storage, &result.copies[0], ProofLevel::Readable).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::BackupVerificationFailed, "{refusal:?}");
        assert!(refusal.message.contains("was altered"), "{refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_43_a_byte_that_changes_after_it_was_stored_is_found() {
    let (world, s3) = (World::start(SHOP).await, S3::start());
    for storage in [s3_target(&s3), world.volume()] {
        let uid = uuid::Uuid::new_v4().to_string();
        let parameters = BackupParameters { backup_uid: uid, ..world.parameters(std::slice::from_ref(&storage)) };
        let result = world.backup(&parameters).await.unwrap();
        let root = if storage.name == "s3" { s3.objects.clone() } else { world.path("volume") };
        let data = root.join(&result.copies[0].manifest).with_file_name("data-0000");
        let whole = fs::read(&data).unwrap();
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        for bytes in [altered, whole[..whole.len() - 1].to_vec(), Vec::new(), [whole.clone(), vec![0]].concat()] {
            fs::write(&data, &bytes).unwrap();
            let refusal = world.prove(&storage, &result.copies[0], ProofLevel::Readable).await.unwrap_err();
            assert!(refusal.message.contains("data-0000"), "{refusal:?}");
            assert_eq!(refusal.reason, Reason::BackupVerificationFailed, "{refusal:?}");
        }
        fs::write(&data, &whole).unwrap();
        world.prove(&storage, &result.copies[0], ProofLevel::Readable).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_43_a_byte_that_changes_before_it_is_read_back_fails_the_backup() {
    let world = World::start(BIG).await;
    let (folder, stop) = (world.path("volume"), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    // Alters the first byte of each upload as soon as it is there, under its temporary name.
    let altering = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            for file in files(&folder).iter().filter(|file| file.display().to_string().contains("data-")) {
                alter(file);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    let refusal = world.backup(&world.parameters(&[world.volume()])).await.unwrap_err();
    stop.store(true, Ordering::Relaxed);
    altering.join().unwrap();
    assert_eq!(refusal.reason, Reason::BackupVerificationFailed, "{refusal:?}");
    assert!(files(&world.path("volume")).is_empty(), "{:?}", files(&world.path("volume")));
}

fn alter(file: &Path) {
    use std::os::unix::fs::FileExt as _;
    if let Ok(file) = fs::OpenOptions::new().write(true).open(file) {
        let _ = file.write_at(b"X", 4096);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn input_42_a_storage_that_is_full_is_refused_and_holds_nothing() {
    if !is_root() {
        eprintln!("not tried: only root can mount a small disk");
        return;
    }
    let (world, s3) = (World::start(BIG).await, S3::start());
    for (storage, folder) in [(world.volume(), world.path("volume")), (s3_target(&s3), s3.objects.clone())] {
        let disk = Disk::mount(&folder, "3m");
        let uid = uuid::Uuid::new_v4().to_string();
        let parameters = BackupParameters { backup_uid: uid, ..world.parameters(std::slice::from_ref(&storage)) };
        let refusal = world.backup(&parameters).await.unwrap_err();
        let left = files(&folder);
        drop(disk);
        assert_eq!(refusal.reason, Reason::NoSpace, "{refusal:?}");
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A small disk.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(folder).status();
        assert!(mounted.unwrap().success());
        Self(folder.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(&self.0).status();
    }
}
