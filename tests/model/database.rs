//! The world's database: a DatabaseInstance, a storage, the controller of backups, and the agent with its ledger.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};
use switchback::{
    api::{
        BackupRecord, DataLoss, DatabaseClaim, DatabaseIdentity, DatabaseRollback, Gate, Outcome, ProofLevel, Reason,
        ReleaseSpec, Step, TableLoss, labels,
    },
    protocol::{
        Answer, CopyResult, DatabaseFacts, Identity, InspectResult, Marker, MigrateResult, MigrationFacts,
        MigrationState, PendingResult, ProofSeconds, Refusal, RehearseResult, ReportResult, RestoreDataResult,
        StorageFacts,
    },
    release::{
        manifests::Manifest,
        observed::{BackupSeen, BackupState, InstanceSeen, JobSeen, JobState, StorageSeen},
        words,
    },
};

use crate::world::{UID, World, newer, pod};

/// How a migration ends in this world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationEnd {
    #[default]
    Applied,
    Fails,
    /// The pod is lost after the ledger said Started.
    PodLost,
    Hangs,
    /// The pod never starts: an image that nobody has.
    NeverStarts,
}

/// How a rehearsal ends in this world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RehearsalEnd {
    #[default]
    Passes,
    Fails,
    /// The pod is lost more often than the Job controller makes another.
    PodLost,
    Hangs,
    /// A container of the old version ends by itself.
    ContractEnds,
}

/// What a migration's own command says of what is due in this world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PendingEnd {
    /// The truth: what the ledger has not.
    #[default]
    Due,
    Nothing,
    /// Neither.
    Unknown,
    /// The pod is lost more often than the Job controller makes another.
    PodLost,
    Hangs,
}

/// What becomes of writing down what became of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportEnd {
    #[default]
    Written,
    /// It is written, and the pod is lost before it could say so.
    PodLost,
    Refused,
    Hangs,
}

/// What becomes of taking a migration back in this world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UndoEnd {
    #[default]
    Undone,
    /// A row would be lost.
    Loses,
    Fails,
    PodLost,
    Hangs,
}

/// What becomes of restoring the data in this world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreEnd {
    #[default]
    Restored,
    /// What would be lost cannot be counted.
    Uncounted,
    Refused,
    /// The first agent lost the server in the middle of the swap; the next one finds it done.
    Uncertain,
    PodLost,
    Hangs,
    /// Its pod is never let run.
    NeverStarts,
}

/// The database of the Release, and what it has been through.
#[derive(Clone, Debug, Default)]
pub struct Database {
    pub instances: Vec<InstanceSeen>,
    pub storages: Vec<StorageSeen>,
    pub backups: BTreeMap<String, BackupSeen>,
    /// UIDs of other Releases that exist.
    pub others: Vec<String>,
    /// What looking at it is answered.
    pub refusal: Option<Refusal>,
    /// Files that are due; 0: none.
    pub pending: u32,
    pub checksum: String,
    pub backup_fails: bool,
    pub backup_hangs: bool,
    pub rehearsal: RehearsalEnd,
    /// Whether production answers from where it is rehearsed.
    pub reaches_production: bool,
    pub asked_what_is_due: PendingEnd,
    /// How far each backup was asked to be proven.
    pub asked: BTreeMap<String, ProofLevel>,
    /// Fingerprint of the schema as it is.
    pub schema: String,
    /// UIDs of backups that a rehearsal has restored.
    pub restored: Vec<String>,
    pub migration: MigrationEnd,
    pub undo: UndoEnd,
    pub restore: RestoreEnd,
    /// How often a backup has taken the place of the database: each time it is another one.
    pub swaps: u32,
    /// The backups that did.
    pub replaced: Vec<String>,
    /// The ledger: state by revision.
    pub ledger: BTreeMap<String, MigrationState>,
    /// What became of attempts, by the manifest that it was written beside.
    pub reports: BTreeMap<String, Value>,
    pub report: ReportEnd,
    /// How often a migration's statements ran, by revision.
    pub ran: BTreeMap<String, u32>,
}

pub fn spec(version: &str) -> ReleaseSpec {
    let mut spec = crate::world::spec(version);
    let database = json!({
        "name": "shop",
        "migration": { "sql": { "configMap": format!("shop-{version}") }, "change": "Expand" },
    });
    spec.database = serde_json::from_value(database).unwrap();
    spec
}

/// A version whose migration is a command, and another one says whether anything is due.
pub fn with_pending(version: &str) -> ReleaseSpec {
    let mut spec = crate::world::spec(version);
    let database = json!({ "name": "shop", "migration": {
        "workload": "web", "command": ["migrate", "up"], "pending": ["migrate", "pending"], "change": "Expand",
    } });
    spec.database = serde_json::from_value(database).unwrap();
    spec
}

/// A version whose migration is a command, which another one takes back when the release goes back.
pub fn with_down(version: &str) -> ReleaseSpec {
    let mut spec = crate::world::spec(version);
    let database = json!({ "name": "shop", "migration": {
        "workload": "web", "command": ["migrate", "up"], "change": "Expand", "down": ["migrate", "down"],
    } });
    spec.database = serde_json::from_value(database).unwrap();
    spec.rollback.database = DatabaseRollback::Down;
    spec
}

fn identity(marked: bool) -> Value {
    let marker = json!({ "uuid": "7d0c1d2a-6c1f-4f7e-9a57-0d3c3a1f0001", "environment": "Production", "epoch": 1 });
    json!({
        "systemIdentifier": "7400000000000000001", "oid": 16384, "name": "shop", "endpoint": "db:5432",
        "serverVersion": "15.18", "sizeBytes": 41_000_000_000_i64, "marker": if marked { marker } else { Value::Null },
    })
}

fn instance(marked: bool, claim: Option<DatabaseClaim>) -> InstanceSeen {
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "Reachable", "message": "It answers.",
        "lastTransitionTime": "2026-11-21T11:00:00Z", "observedGeneration": 1,
    }]);
    let status = json!({ "observedGeneration": 1, "conditions": ready, "identity": identity(marked), "claim": claim });
    let spec = json!({
        "environment": "Production", "postgres": { "secret": "shop-db", "admin": "shop-keeper" },
        "backups": { "storage": ["offsite"] }, "capacity": "200Gi",
    });
    InstanceSeen {
        name: "shop".into(),
        uid: "uid-database".into(),
        generation: 1,
        resource_version: "1".into(),
        spec: Arc::new(serde_json::from_value(spec).unwrap()),
        status: Arc::new(serde_json::from_value(status).unwrap()),
    }
}

impl World {
    /// A world with a database that was never marked.
    pub fn with_database() -> Self {
        let mut world = Self::new();
        let storage = json!({ "s3": { "bucket": "backups", "secret": "backup-store" } });
        world.database = Database {
            instances: vec![instance(false, None)],
            storages: vec![StorageSeen {
                name: "offsite".into(),
                spec: Arc::new(serde_json::from_value(storage).unwrap()),
            }],
            pending: 1,
            checksum: "aa".into(),
            schema: "cc".into(),
            ..Database::default()
        };
        world.spec = spec("1.0.0");
        world
    }

    /// A world in which 1.0.0 serves on its migrated database.
    pub fn serving_with_database() -> Self {
        let mut world = Self::with_database();
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("1.0.0"), "{:?}", world.status.conditions);
        world.writes.clear();
        world
    }

    fn instance_mut(&mut self) -> Option<&mut InstanceSeen> {
        self.database.instances.first_mut()
    }

    pub fn set_instance(&mut self, change: impl FnOnce(&mut switchback::api::DatabaseInstanceStatus)) {
        let Some(instance) = self.instance_mut() else { return };
        change(Arc::make_mut(&mut instance.status));
        instance.resource_version = (instance.resource_version.parse::<u64>().unwrap() + 1).to_string();
    }

    pub fn claim(&mut self, name: &str, uid: &str) {
        assert_eq!((name, uid), ("shop", "uid-database"));
        let claim = DatabaseClaim { release_uid: UID.into(), release: "shop".into() };
        self.set_instance(|status| status.claim = Some(claim));
    }

    pub fn let_go(&mut self, name: &str, uid: &str, finalizers: &[String]) {
        for backup in self.database.backups.values_mut().filter(|seen| seen.name == name && seen.uid == uid) {
            backup.finalizers = finalizers.to_vec();
        }
        self.database.backups.retain(|_, backup| !backup.deleting || !backup.finalizers.is_empty());
    }

    /// Takes one into use that is there already; one that was deleted or has changed since is not.
    pub fn hold(&mut self, (name, uid, version): (&str, &str, &str), finalizers: &[String]) -> bool {
        let found = self.database.backups.get_mut(name);
        let Some(backup) = found.filter(|found| found.uid == uid && found.resource_version == version) else {
            return false;
        };
        assert!(!backup.deleting, "the API server takes no new finalizer");
        newer(&mut backup.resource_version);
        backup.finalizers = finalizers.to_vec();
        backup.user = Some(UID.into());
        true
    }

    pub fn create_backup(&mut self, manifest: &Manifest, uid: String) {
        let (name, marker) = (manifest.name.clone(), self.marker());
        let asked = serde_json::from_value(manifest.body["spec"]["proof"].clone()).unwrap();
        self.database.asked.insert(name.clone(), asked);
        self.database.backups.entry(name.clone()).or_insert(BackupSeen {
            name,
            uid,
            resource_version: "1".into(),
            database: manifest.body["spec"]["database"].as_str().unwrap().to_owned(),
            storages: serde_json::from_value(manifest.body["spec"]["storage"].clone()).unwrap(),
            user: Some(UID.into()),
            marker,
            copies: vec![],
            finalizers: vec![labels::IN_USE.into()],
            deleting: false,
            state: BackupState::Working(words::backs_up("shop", ["offsite"].into_iter())),
        });
    }

    /// I3: what is complete is never deleted.
    pub fn delete_backup(&mut self, name: &str, uid: &str) {
        let Some(backup) = self.database.backups.get_mut(name).filter(|backup| backup.uid == uid) else { return };
        assert!(!matches!(backup.state, BackupState::Complete(_)), "I3: {name} is complete; {:#?}", self.writes);
        if backup.finalizers.is_empty() {
            self.database.backups.remove(name);
        } else {
            backup.deleting = true;
        }
    }

    /// The controller of backups does its work.
    pub fn end_backups(&mut self) {
        let (fails, hangs, now) = (self.database.backup_fails, self.database.backup_hangs, self.now);
        let (asked, schema) = (self.database.asked.clone(), self.database.schema.clone());
        for backup in self.database.backups.values_mut() {
            if hangs || !matches!(backup.state, BackupState::Working(_)) {
                continue;
            }
            backup.state = if fails {
                BackupState::Failed { reason: "NoSpace".into(), message: "Storage offsite is full.".into() }
            } else {
                backup.copies.clone_from(&backup.storages);
                BackupState::Complete(Box::new(BackupRecord {
                    name: backup.name.clone(),
                    uid: backup.uid.clone(),
                    manifest: format!("7d0c1d2a/{}/manifest.json", backup.name),
                    storage: "offsite".into(),
                    sha256: "bb".into(),
                    schema: schema.clone(),
                    proof: asked[&backup.name],
                    taken_at: MicroTime(now),
                }))
            };
        }
    }

    /// The agent does its work in Jobs that are not suspended.
    pub fn end_database_jobs(&mut self) {
        let names = [
            "-inspect-",
            "-preflight-",
            "-contract-",
            "-mark",
            "-rehearse",
            "-migrate-",
            "-undo-",
            "-loss-",
            "-restore-",
            "-report",
        ];
        let waiting = |job: &&JobSeen| !job.suspended && job.state == JobState::Running;
        let jobs: Vec<JobSeen> = self.jobs.values().filter(waiting).cloned().collect();
        let looks = |name: &str| !name.ends_with("-checks") && names.iter().any(|part| name.contains(part));
        for job in jobs.into_iter().filter(|job| looks(&job.name)) {
            let said = if job.name.ends_with("-pending") {
                self.ask_what_is_due()
            } else if job.name.ends_with("-report") {
                self.write_report(&job)
            } else if job.name.contains("-undo-") {
                self.undo(&job)
            } else if job.name.contains("-loss-") {
                self.loss()
            } else if job.name.contains("-restore-") {
                self.restore(&job)
            } else if job.name.contains("-migrate-") {
                self.migrate(&job)
            } else if job.name.contains("-rehearse") {
                self.rehearse(&job)
            } else if job.name.contains("-mark") {
                self.mark()
            } else {
                Some(self.look_at_database(&job))
            };
            self.end(&job, said);
        }
    }

    fn end(&mut self, job: &JobSeen, said: Option<Said>) {
        let Some(said) = said else { return };
        let seen = self.jobs.get_mut(&job.name).unwrap();
        seen.ended = Some(self.now);
        seen.state = JobState::Complete;
        if !said.well {
            seen.state = JobState::Failed { reason: "PodFailurePolicy".into(), message: "exit code 1".into() };
        }
        let name = format!("{}-pod", job.name);
        let mut pod = pod(name.clone(), &job.revision, "", false);
        pod.job = Some(job.name.clone());
        pod.message = said.message.map(|message| message.to_string());
        let moved = self.moved.iter().any(|moved| job.name.contains(moved.as_str()));
        let ran = if moved { "sha256:other".into() } else { format!("sha256:{}", job.revision) };
        // Of a rehearsal the last container is ours.
        let rehearsed = vec![("rehearse".into(), ran.clone()), ("agent".into(), "sha256:agent".into())];
        pod.images = if job.name.ends_with("-rehearse") { rehearsed } else { vec![("agent".into(), ran)] };
        self.pods.insert(name, pod);
    }

    fn marker(&self) -> Option<String> {
        self.facts().identity.marker.map(|marker| marker.uuid.to_string())
    }

    fn facts(&self) -> DatabaseFacts {
        let marker = self.database.instances[0].status.identity.as_ref().and_then(|known| known.marker.clone());
        let swaps = self.database.swaps;
        let uuid = |known: &str| if swaps == 0 { known.to_owned() } else { format!("{}{swaps:04}", &known[..32]) };
        DatabaseFacts {
            identity: Identity {
                system_identifier: "7400000000000000001".into(),
                oid: 16384 + swaps,
                name: "shop".into(),
                marker: marker.map(|marker| Marker {
                    uuid: uuid(&marker.uuid).parse().unwrap(),
                    environment: marker.environment,
                    epoch: marker.epoch,
                }),
            },
            endpoint: "db:5432".into(),
            certificate: None,
            server_version: "15.18".into(),
            size_bytes: 41_000_000_000,
        }
    }

    fn look_at_database(&self, job: &JobSeen) -> Said {
        let facts = self.facts();
        let known = self.database.instances[0].status.identity.as_ref();
        // A backup has taken its place, and nobody said so.
        let is_another = known.is_some_and(|known| known.oid != i64::from(facts.identity.oid)).then(|| Refusal {
            reason: Reason::IdentityUncertain,
            message: format!("its oid is {}", facts.identity.oid),
        });
        let refusal = self.database.refusal.clone().or(is_another);
        let well = refusal.is_none();
        let database = refusal.map_or_else(|| Answer::Done(facts), Answer::Refused);
        let state = self.database.ledger.get(&job.revision).copied().unwrap_or(MigrationState::NotStarted);
        let pending = if state == MigrationState::Applied { 0 } else { self.database.pending };
        let facts = MigrationFacts {
            state,
            checksum: self.database.checksum.clone(),
            files: 2,
            pending,
            findings: vec![],
            found: 0,
            pending_names: (0..pending).map(|number| format!("{number}.sql")).collect(),
        };
        let result = InspectResult {
            database: Some(database),
            storages: vec![StorageFacts { name: "offsite".into(), problem: None }],
            migration: well.then_some(Answer::Done(facts)),
            schema: well.then(|| Answer::Done(self.database.schema.clone())),
        };
        Said { well, message: Some(json!(result)) }
    }

    fn ask_what_is_due(&self) -> Option<Said> {
        let said = |answer: Answer<PendingResult>| {
            let well = matches!(answer, Answer::Done(_));
            Some(Said { well, message: Some(json!(answer)) })
        };
        match self.database.asked_what_is_due {
            PendingEnd::Due => said(Answer::Done(PendingResult { due: true })),
            PendingEnd::Nothing => said(Answer::Done(PendingResult { due: false })),
            PendingEnd::Unknown => {
                let message = "whether a migration is due is not known: the command ended with exit code 3".to_owned();
                said(Answer::Refused(Refusal { reason: Reason::PendingUnknown, message }))
            }
            PendingEnd::PodLost => Some(Said { well: false, message: None }),
            PendingEnd::Hangs => None,
        }
    }

    /// Written once, and only beside a backup that is there.
    fn write_report(&mut self, job: &JobSeen) -> Option<Said> {
        let container = &self.templates[&job.name]["spec"]["containers"][0];
        let parameters: Value = serde_json::from_str(container["args"][2].as_str().unwrap()).unwrap();
        let manifest = parameters["manifest"].as_str().unwrap().to_owned();
        let whole =
            |backup: &BackupSeen| matches!(&backup.state, BackupState::Complete(done) if done.manifest == manifest);
        let is_there = self.database.backups.values().any(whole);
        let said = |well, message| Some(Said { well, message });
        match self.database.report {
            ReportEnd::Hangs => return None,
            ReportEnd::Written | ReportEnd::PodLost if is_there => {}
            ReportEnd::Written | ReportEnd::PodLost | ReportEnd::Refused => {
                let refusal = Refusal { reason: Reason::DestinationNotWritable, message: "No.".into() };
                return said(false, Some(json!(Answer::<ReportResult>::Refused(refusal))));
            }
        }
        let key = format!("{manifest} {}-{}", parameters["release"], parameters["attempt"]);
        let before = self.database.reports.insert(key, parameters["report"].clone());
        assert!(before.is_none_or(|before| before == parameters["report"]), "another report was there");
        if self.database.report == ReportEnd::PodLost {
            return said(false, None);
        }
        said(true, Some(json!(Answer::Done(ReportResult { keys: vec!["release.json".into()] }))))
    }

    fn mark(&mut self) -> Option<Said> {
        self.set_instance(|status| {
            status.identity = serde_json::from_value(identity(true)).unwrap();
        });
        Some(Said { well: true, message: Some(json!(Answer::Done(self.facts()))) })
    }

    /// The agent restores the backup and migrates the copy; the ledger is not touched.
    fn rehearse(&mut self, job: &JobSeen) -> Option<Said> {
        let backup = self.record().backup.clone().expect("I2: a backup is named");
        let live = self.database.backups.get(&backup.name).expect("I2: the backup is there");
        assert!(matches!(live.state, BackupState::Complete(_)) && live.uid == backup.uid, "I2: {live:?}");
        let said = |well, answer: Option<Answer<RehearseResult>>| {
            Some(Said { well, message: answer.map(|answer| json!(answer)) })
        };
        match self.database.rehearsal {
            RehearsalEnd::Passes => {
                self.database.restored.push(backup.uid);
                let findings = json!({ "took": "3s", "rows": 12, "changes": 2,
                    "locks": [{ "table": "public.cart", "mode": "AccessExclusiveLock", "held": "2s" }],
                    "down": self.takes_back().then_some("1s"),
                    "reachesProduction": self.database.reaches_production });
                let restored = ProofSeconds { fetch: 2.0, restore: 40.0, check: 5.0 };
                let findings = serde_json::from_value(findings).unwrap();
                said(true, Some(Answer::Done(RehearseResult { restored, findings })))
            }
            RehearsalEnd::Fails => {
                let message =
                    "On a restored copy of the data: MigrationFailed: 2.sql line 3: ALTER TABLE cart".to_owned();
                said(false, Some(Answer::Refused(Refusal { reason: Reason::RehearsalFailed, message })))
            }
            RehearsalEnd::PodLost => said(false, None),
            RehearsalEnd::Hangs => None,
            RehearsalEnd::ContractEnds => {
                let name = format!("{}-pod", job.name);
                let mut running = pod(name.clone(), &job.revision, "", false);
                running.job = Some(job.name.clone());
                running.contract = Some("container contract-0 ended with exit code 1 (Error)".into());
                self.pods.insert(name, running);
                None
            }
        }
    }

    /// The agent migrates, with its ledger. I1 and I2 are checked here, where the first statement would run.
    fn migrate(&mut self, job: &JobSeen) -> Option<Said> {
        let revision = job.revision.clone();
        let result = |state, problem: Option<Refusal>| {
            let result = MigrateResult { state, problem, database: None, began_at: None, files: 1, seconds: 0.1 };
            Some(Said { well: state == MigrationState::Applied, message: Some(json!(Answer::Done(result))) })
        };
        if self.database.migration == MigrationEnd::NeverStarts {
            return None;
        }
        let name = format!("{}-pod", job.name);
        let mut running = pod(name.clone(), &job.revision, "", false);
        (running.job, running.agent_ran) = (Some(job.name.clone()), true);
        self.pods.insert(name, running);
        if self.database.migration == MigrationEnd::Hangs {
            return None;
        }
        if self.database.ledger.get(&revision) == Some(&MigrationState::Applied) {
            return result(MigrationState::Applied, None);
        }
        self.may_migrate();
        crate::contract::may_migrate(self);
        *self.database.ran.entry(revision.clone()).or_default() += 1;
        let (state, problem) = match self.database.migration {
            MigrationEnd::PodLost => {
                self.database.ledger.insert(revision, MigrationState::Started);
                return Some(Said { well: false, message: None });
            }
            MigrationEnd::Fails => {
                let message = "2.sql line 3: ALTER TABLE cart: relation \"cart\" does not exist.".to_owned();
                (MigrationState::Failed, Some(Refusal { reason: Reason::MigrationFailed, message }))
            }
            MigrationEnd::Applied | MigrationEnd::Hangs | MigrationEnd::NeverStarts => (MigrationState::Applied, None),
        };
        if state == MigrationState::Applied {
            self.database.schema.clone_from(&revision);
        }
        self.database.ledger.insert(revision, state);
        result(state, problem)
    }

    fn takes_back(&self) -> bool {
        let migration = self.spec.database.as_ref().and_then(|database| database.migration.as_ref());
        migration.is_some_and(|migration| !migration.down.is_empty())
    }

    /// The agent takes a migration back, with its ledger; never while users are on what it was for.
    fn undo(&mut self, job: &JobSeen) -> Option<Said> {
        assert_ne!(self.selected(), Some(job.revision.as_str()), "traffic goes back first");
        let name = format!("{}-pod", job.name);
        let mut running = pod(name.clone(), &job.revision, "", false);
        (running.job, running.agent_ran) = (Some(job.name.clone()), true);
        self.pods.insert(name, running);
        let said = |state, problem: Option<(Reason, &str)>| {
            let problem = problem.map(|(reason, message)| Refusal { reason, message: message.to_owned() });
            let result = MigrateResult { state, problem, database: None, began_at: None, files: 0, seconds: 0.1 };
            Some(Said { well: state == MigrationState::Undone, message: Some(json!(Answer::Done(result))) })
        };
        match self.database.undo {
            UndoEnd::Undone => {
                self.database.ledger.insert(job.revision.clone(), MigrationState::Undone);
                self.database.schema = self.record().backup.as_ref().map(|backup| backup.schema.clone()).unwrap();
                said(MigrationState::Undone, None)
            }
            UndoEnd::Loses => {
                let message = "nothing ran: 3 rows of public.slots would be lost".to_owned();
                let refused: Answer<MigrateResult> =
                    Answer::Refused(Refusal { reason: Reason::WouldLoseData, message });
                Some(Said { well: false, message: Some(json!(refused)) })
            }
            UndoEnd::Fails => said(MigrationState::Failed, Some((Reason::MigrationFailed, "exit code 3"))),
            UndoEnd::PodLost => Some(Said { well: false, message: None }),
            UndoEnd::Hangs => None,
        }
    }

    /// The agent counts what would be lost.
    fn loss(&self) -> Option<Said> {
        let answer: Answer<DataLoss> = match self.database.restore {
            RestoreEnd::Uncounted => {
                let message = "role shop would restore, and is a superuser".to_owned();
                Answer::Refused(Refusal { reason: Reason::SuperuserNotAllowed, message })
            }
            _ => Answer::Done(data_loss(self.now)),
        };
        Some(Said { well: matches!(answer, Answer::Done(_)), message: Some(json!(answer)) })
    }

    /// The agent puts the backup in the place of the database: never unasked, never while users are on what it was for.
    fn restore(&mut self, job: &JobSeen) -> Option<Said> {
        assert_ne!(self.selected(), Some(job.revision.as_str()), "traffic goes back first");
        let record = self.record();
        let restore = record.migration.as_ref().unwrap().restore.as_ref().expect("it is recorded");
        let approved = record.decisions.iter().find(|decision| decision.uid == restore.decision);
        let digest = restore.plan.as_ref().map(|plan| plan.digest.clone());
        let approved = approved.expect("I6: somebody approved what is lost");
        assert_eq!((&approved.digest, approved.gate), (&digest, Some(Gate::DataLoss)));
        let backup = record.backup.clone().expect("it is named");
        let live = &self.database.backups[&backup.name];
        assert!(live.is_held() && matches!(live.state, BackupState::Complete(_)), "{live:?}");
        if self.database.restore == RestoreEnd::NeverStarts {
            return None;
        }
        let name = format!("{}-pod", job.name);
        let mut running = pod(name.clone(), &job.revision, "", false);
        (running.job, running.agent_ran) = (Some(job.name.clone()), true);
        self.pods.insert(name, running);
        match self.database.restore {
            RestoreEnd::Uncertain if job.name.ends_with("-restore-1") => {
                // It was done, and the word of it was lost.
                self.put_in_place(job, &backup);
                let message = "swapping the databases: connection closed".to_owned();
                let refused: Answer<RestoreDataResult> =
                    Answer::Refused(Refusal { reason: Reason::RestoreUncertain, message });
                Some(Said { well: false, message: Some(json!(refused)) })
            }
            RestoreEnd::Restored | RestoreEnd::Uncounted | RestoreEnd::Uncertain => {
                if !self.database.replaced.contains(&backup.uid) {
                    self.put_in_place(job, &backup);
                }
                let database = self.facts();
                let before_oid = database.identity.oid - 1;
                let seconds = ProofSeconds { fetch: 1.0, restore: 2.0, check: 1.0 };
                let safety =
                    CopyResult { storage: "offsite".into(), manifest: "k/manifest.json".into(), sha256: "dd".into() };
                let result = RestoreDataResult {
                    database,
                    before: "shop_before_a1".into(),
                    before_oid,
                    loss: data_loss(self.now),
                    safety: vec![safety],
                    seconds,
                };
                Some(Said { well: true, message: Some(json!(Answer::Done(result))) })
            }
            RestoreEnd::Refused => {
                let message = "shop cannot be replaced: replication slot a decodes it".to_owned();
                let refused: Answer<RestoreDataResult> =
                    Answer::Refused(Refusal { reason: Reason::SwapBlocked, message });
                Some(Said { well: false, message: Some(json!(refused)) })
            }
            RestoreEnd::PodLost => Some(Said { well: false, message: None }),
            RestoreEnd::Hangs | RestoreEnd::NeverStarts => None,
        }
    }

    /// The swap itself.
    fn put_in_place(&mut self, job: &JobSeen, backup: &BackupRecord) {
        let database = &mut self.database;
        assert!(!database.replaced.contains(&backup.uid), "it is restored once");
        database.replaced.push(backup.uid.clone());
        database.swaps += 1;
        database.ledger.remove(&job.revision);
        database.schema.clone_from(&backup.schema);
    }

    /// Who the database is, as the Release's controller writes it.
    pub fn identify(&mut self, instance: &str, identity: &DatabaseIdentity) {
        let found = self.database.instances.iter_mut().find(|found| found.name == instance).unwrap();
        let claim = found.status.claim.as_ref().expect("rule 10: the database is claimed");
        assert_eq!(claim.release_uid, UID);
        assert_eq!(identity.oid, i64::from(16384 + self.database.swaps), "it is who serves");
        let mut status = (*found.status).clone();
        status.identity = Some(identity.clone());
        found.status = Arc::new(status);
        found.resource_version.push('1');
    }

    /// I2: a migration begins only when a backup is whole and proven, and is held for this Release; I6: and approved.
    fn may_migrate(&self) {
        let record = self.record();
        let backup = record.backup.as_ref().expect("I2: a backup is named");
        let live = self.database.backups.get(&backup.name).expect("I2: the backup is there");
        assert!(live.uid == backup.uid && live.is_held(), "I2: {live:?}");
        let BackupState::Complete(done) = &live.state else { panic!("I2: {live:?}") };
        let restored = self.database.restored.contains(&backup.uid);
        assert!(done.proof == ProofLevel::Restored || (done.proof == ProofLevel::Readable && restored), "I2: {done:?}");
        assert_eq!(done.schema, self.database.schema, "the backup is of this schema");
        let claim = self.database.instances[0].status.claim.as_ref().expect("rule 10: the database is claimed");
        assert_eq!(claim.release_uid, UID);
        assert!(!record.decisions.is_empty(), "I6: somebody approved");
    }

    pub fn ended(&self) -> Option<Outcome> {
        self.record().history.last().map(|entry| entry.outcome)
    }
}

impl Database {
    /// Nothing goes wrong any more.
    pub fn be_well(&mut self) {
        self.backup_fails = false;
        self.rehearsal = RehearsalEnd::Passes;
        self.asked_what_is_due = PendingEnd::Due;
        self.report = ReportEnd::Written;
        self.migration = MigrationEnd::Applied;
        self.undo = UndoEnd::Undone;
        self.restore = RestoreEnd::Restored;
    }
}

fn data_loss(now: jiff::Timestamp) -> DataLoss {
    let table = TableLoss { table: "public.orders".into(), was: Some(1000), is: Some(1012), written: Some(15) };
    DataLoss { at: MicroTime(now), seconds: 37, rows: 15, tables: vec![table], more: 0 }
}

/// What a Job says.
struct Said {
    well: bool,
    message: Option<Value>,
}
