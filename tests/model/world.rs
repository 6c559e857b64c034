//! A small world in memory: an API server, the built-in controllers and a kubelet, as far as a Release meets them.
//!
//! The real plan runs against it. Every write is checked against the invariants as it happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use switchback::{
    api::{
        Approval, ChangedBy, DecisionKind, DeletionPolicy, Empty, Gate, PodTemplate, Record, Rejection, ReleaseSpec,
        ReleaseStatus, RevisionId, Rollback, Step,
        labels::{self, Role},
    },
    protocol::{CheckParameters, CheckResult, CheckVerdict, Finding},
    release::{
        manifests::{self, Kind, Manifest},
        observed::{
            Answer, Ask, AttemptSeen, AutoscalerSeen, ContestSeen, DecisionSeen, DefaultsSeen, DeploymentSeen,
            EndpointSeen, Guard, JobSeen, JobState, NetworkPolicySeen, ObjectSeen, Observed, PodSeen, PolicySeen,
            QuotaSeen, ReleaseSeen, SelectingSeen, ServiceSeen, Settings, SliceSeen, SourceSeen, with_defaults,
        },
        plan::{self, Action, Plan},
        status::{self, News},
    },
};

use crate::{adopt::Running, database::Database};

pub const UID: &str = "uid-shop";

/// What the specs of a world have besides.
pub type Shape = fn(&mut ReleaseSpec);

/// How a Job ends in this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Passes,
    Fails,
    LeavesNothing,
    /// Complete, with a result that does not answer for every check that was asked for.
    AnswersTooLittle,
    /// Its check said neither yes nor no.
    CannotTell,
    Hangs,
}

/// What a leader that was stopped in the middle of a look still holds.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Version of the Release that it had read.
    version: u64,
    /// The status that it wanted to write.
    status: Option<ReleaseStatus>,
    pub plan: Plan,
    /// How many writes it had done.
    done: usize,
}

#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub spec: ReleaseSpec,
    pub generation: i64,
    pub status: ReleaseStatus,
    pub deleting: bool,
    pub finalizer: bool,
    pub gone: bool,
    pub contents: BTreeMap<String, (AttemptSeen, Arc<ReleaseSpec>)>,
    pub deployments: BTreeMap<String, DeploymentSeen>,
    pub autoscalers: BTreeMap<String, AutoscalerSeen>,
    pub services: BTreeMap<String, ServiceSeen>,
    pub slices: Vec<SliceSeen>,
    pub pods: BTreeMap<String, PodSeen>,
    pub jobs: BTreeMap<String, JobSeen>,
    pub policies: Vec<PolicySeen>,
    /// Policies that match no longer.
    pub former_policies: Vec<PolicySeen>,
    /// Releases that policies promote from.
    pub sources: Vec<SourceSeen>,
    pub decisions: Vec<DecisionSeen>,
    /// What people say with their Decisions.
    pub statement: Option<String>,
    pub settled: BTreeMap<String, (String, String)>,
    /// What was said of Decisions.
    pub told: BTreeMap<String, String>,
    pub guard: Guard,
    pub stamp: Guard,
    /// The term of whoever leads.
    pub term: Option<i64>,
    /// Selectors that were put back lately, and who else writes them.
    pub contests: Vec<ContestSeen>,
    pub manager: Option<String>,
    /// Version of the Release: status writes carry the one that was read.
    pub version: u64,
    /// When the Release was created.
    pub created: Timestamp,
    /// Who changed the spec, as the API server would stamp it.
    pub changed_by: Option<ChangedBy>,
    pub foreign: Vec<(Kind, String)>,
    /// Deployments and Services of ours that somebody took our labels off: no watch shows them, nor their endpoints.
    pub unlabelled: BTreeSet<String>,
    /// Objects that a webhook refuses every write of, by name.
    pub stuck: BTreeSet<String>,
    /// What the specs of this world have besides.
    pub shape: Shape,
    /// What somebody else's objects select.
    pub elsewhere: Vec<SelectingSeen>,
    /// The NetworkPolicies of the namespace; `None`: they are not ours to list.
    pub network_policies: Option<Vec<NetworkPolicySeen>>,
    pub quotas: Vec<QuotaSeen>,
    /// What limits give to containers.
    pub defaults: DefaultsSeen,
    /// UIDs of what has no owner any more.
    pub disowned: BTreeSet<String>,
    /// When the Release was deleted.
    pub deleted_at: Option<Timestamp>,
    /// What is made and not watched, by kind and name.
    pub unwatched: BTreeMap<(&'static str, String), Manifest>,
    /// The ConfigMaps that the pods of each Deployment need.
    needs: BTreeMap<String, Vec<String>>,
    pub refusal: Option<(Kind, u16, String)>,
    /// Pods that pulled their image after its tag was moved.
    pub moved: Vec<String>,
    /// Pods of workers that were told to end and have not yet; the world goes on without them a turn later.
    pub ending: Vec<PodSeen>,
    /// Revisions (digits) whose pods never get ready, or lose readiness.
    pub unready: Vec<String>,
    /// Why these do not get ready, as their containers say.
    pub problem: Option<String>,
    pub job_end: BTreeMap<&'static str, JobEnd>,
    /// Pod templates of all Jobs that were ever made, by their names.
    pub templates: BTreeMap<String, Value>,
    /// Specs of these Jobs without the templates.
    pub job_specs: BTreeMap<String, Value>,
    /// The database of the Release, and what it has been through.
    pub database: Database,
    /// Every write, in order, in words.
    pub writes: Vec<String>,
    /// Every write of status: the step, and what is told.
    pub statuses: Vec<String>,
    /// Every event, with the number of the attempt that it is of; at rest it is of none.
    pub events: Vec<(Option<i64>, News)>,
    /// Whether traffic was ever seen on a ready revision: from then on it must never be on nothing.
    pub served: bool,
    pub serial: u64,
    /// How many pods the load asks for, where an autoscaler decides.
    pub load: Option<i32>,
    /// What the operator was told at its start.
    pub settings: Settings,
    /// Pods that the API server has and no watch has shown, with their labels.
    pub unseen: Vec<(String, BTreeMap<String, String>)>,
    /// What runs without the operator, or ran before it.
    pub running: Running,
    /// When the last look asked to look again.
    recheck: Option<Timestamp>,
}

pub fn spec(version: &str) -> ReleaseSpec {
    serde_json::from_value(serde_json::json!({
        "version": version,
        "workloads": [{
            "name": "web",
            "replicas": 3,
            "services": [{ "name": "shop", "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] } }],
            "template": { "spec": { "containers": [{ "name": "web", "image": format!("shop:{version}") }] } }
        }],
        "checks": [
            { "name": "home", "phase": "Verify", "http": { "service": "shop" } },
            { "name": "smoke", "phase": "Verify", "job": { "template": { "spec": { "containers": [{ "name": "smoke", "image": "smoke:1" }] } } } },
            { "name": "alive", "phase": "Watch", "http": { "service": "shop" } }
        ]
    }))
    .unwrap()
}

impl World {
    pub fn new() -> Self {
        Self {
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            spec: spec("1.0.0"),
            generation: 1,
            status: ReleaseStatus::default(),
            deleting: false,
            finalizer: false,
            gone: false,
            contents: BTreeMap::new(),
            deployments: BTreeMap::new(),
            autoscalers: BTreeMap::new(),
            services: BTreeMap::new(),
            slices: Vec::new(),
            pods: BTreeMap::new(),
            jobs: BTreeMap::new(),
            policies: Vec::new(),
            former_policies: Vec::new(),
            sources: Vec::new(),
            decisions: Vec::new(),
            statement: None,
            settled: BTreeMap::new(),
            told: BTreeMap::new(),
            guard: Guard::Since(Timestamp::MIN),
            stamp: Guard::Since(Timestamp::MIN),
            term: None,
            contests: vec![],
            manager: None,
            version: 1,
            created: "2026-11-21T12:00:00Z".parse().unwrap(),
            changed_by: None,
            foreign: Vec::new(),
            unlabelled: BTreeSet::new(),
            stuck: BTreeSet::new(),
            shape: |_| {},
            elsewhere: vec![],
            network_policies: Some(vec![]),
            quotas: vec![],
            defaults: DefaultsSeen::default(),
            disowned: BTreeSet::new(),
            deleted_at: None,
            unwatched: BTreeMap::new(),
            needs: BTreeMap::new(),
            refusal: None,
            moved: Vec::new(),
            ending: Vec::new(),
            unready: Vec::new(),
            problem: None,
            job_end: BTreeMap::new(),
            templates: BTreeMap::new(),
            job_specs: BTreeMap::new(),
            database: Database::default(),
            writes: Vec::new(),
            statuses: Vec::new(),
            events: Vec::new(),
            served: false,
            serial: 0,
            load: None,
            settings: Settings {
                agent_image: "agent:1".into(),
                tools_image: "tools-{major}:1".into(),
                ..Settings::default()
            },
            unseen: vec![],
            running: Running::default(),
            recheck: None,
        }
    }

    /// A world in which 1.0.0 serves and nothing is under way.
    pub fn serving() -> Self {
        Self::serving_as(|_| {})
    }

    /// The same, where all specs have something besides.
    pub fn serving_as(shape: Shape) -> Self {
        let mut world = Self::new();
        world.shape = shape;
        world.spec = world.spec_of("1.0.0");
        world.run_to(Step::Approve);
        world.approve("anna");
        world.run_to_rest();
        assert_eq!(world.active(), Some("1.0.0"));
        world.writes.clear();
        world
    }

    /// A world in which 1.0.0 serves and an attempt for 2.0.0 stands at a step; one with a database where the step
    /// needs one.
    pub fn at(step: Step) -> Self {
        let database = matches!(step, Step::Backup | Step::Rehearse | Step::Migrate);
        if database { Self::serving_with_database() } else { Self::serving() }.brought_to(step)
    }

    /// The same, where all specs have something besides.
    pub fn at_as(step: Step, shape: Shape) -> Self {
        Self::serving_as(shape).brought_to(step)
    }

    fn brought_to(mut self, step: Step) -> Self {
        let world = &mut self;
        world.ask_for("2.0.0");
        if step > Step::Approve {
            world.run_to(Step::Approve);
            world.approve("anna");
        }
        world.run_to(step);
        world.writes.clear();
        self
    }

    /// Returns the spec of a version in this world.
    pub fn spec_of(&self, version: &str) -> ReleaseSpec {
        let mut spec = if self.database.instances.is_empty() { spec(version) } else { crate::database::spec(version) };
        (self.shape)(&mut spec);
        spec
    }

    pub fn record(&self) -> &Record {
        &self.status.record
    }

    pub fn step(&self) -> Step {
        self.record().step
    }

    pub fn active(&self) -> Option<&str> {
        self.record().active.as_ref().map(|active| active.version.as_str())
    }

    pub fn ask_for(&mut self, version: &str) {
        self.change(self.spec_of(version));
    }

    pub fn change(&mut self, spec: ReleaseSpec) {
        self.spec = spec;
        self.generation += 1;
        self.version += 1;
    }

    pub fn decide(&mut self, kind: DecisionKind, actor: &str) -> String {
        self.serial += 1;
        let name = format!("decision-{}", self.serial);
        self.decisions.push(DecisionSeen {
            name: name.clone(),
            uid: format!("uid-{name}"),
            resource_version: "1".into(),
            target_uid: UID.to_owned(),
            kind: Some(kind),
            actor: actor.to_owned(),
            created: self.now,
            statement: self.statement.clone(),
            settled: false,
            accepted: false,
        });
        name
    }

    pub fn approve(&mut self, actor: &str) -> String {
        let digest = self.record().plan.as_ref().expect("a plan waits").digest.clone();
        self.decide(DecisionKind::Approve(Approval { digest, gate: Gate::Release }), actor)
    }

    pub fn abort(&mut self) -> String {
        self.decide(DecisionKind::Abort(Empty {}), "anna")
    }

    /// Asks for a version that served before; `None`: the one before.
    pub fn roll_back(&mut self, to: Option<&str>) -> String {
        let to = to.map(|version| self.revision_of(version));
        self.decide(DecisionKind::Rollback(Rollback { to }), "anna")
    }

    fn revision_of(&self, version: &str) -> RevisionId {
        self.spec_of(version).revision()
    }

    /// Returns what became of a Decision: state and reason.
    pub fn became(&self, decision: &str) -> Option<(&str, &str)> {
        self.settled.get(decision).map(|(state, reason)| (state.as_str(), reason.as_str()))
    }

    pub fn reject(&mut self) -> String {
        self.decide(DecisionKind::Reject(Rejection::default()), "anna")
    }

    /// Digits of the revision of a version.
    pub fn digits(version: &str) -> String {
        spec(version).revision().digits().to_owned()
    }

    /// Digits of the revision of a version in this world.
    pub fn digits_of(&self, version: &str) -> String {
        self.revision_of(version).digits().to_owned()
    }

    fn is_labelled(&self, name: &str) -> bool {
        !self.unlabelled.contains(name)
    }

    pub fn selected(&self) -> Option<&str> {
        self.services.get("shop")?.selected()
    }

    pub fn observed(&self) -> Observed {
        let mut seen = Observed {
            now: self.now,
            release: ReleaseSeen {
                name: "shop".into(),
                namespace: "prod".into(),
                uid: UID.into(),
                generation: self.generation,
                deleting: self.deleting,
                deleted_at: self.deleted_at.or(self.deleting.then_some(self.now)),
                resource_version: self.version.to_string(),
                finalizers: vec![],
                finalizer: self.finalizer,
                created: self.created,
                changed_by: self.changed_by.clone(),
                wanted: self.spec.revision(),
                spec: Arc::new(with_defaults(self.spec.clone(), &self.policies)),
                status: Arc::new(self.status.clone()),
            },
            contents: BTreeMap::new(),
            attempts: self.contents.values().map(|(seen, _)| seen.clone()).collect(),
            deployments: self.deployments.values().filter(|seen| self.is_labelled(&seen.name)).cloned().collect(),
            autoscalers: self.autoscalers.values().cloned().collect(),
            services: self.known_services().into_iter().filter(|seen| self.is_labelled(&seen.name)).collect(),
            slices: self.slices.iter().filter(|slice| self.is_labelled(&slice.service)).cloned().collect(),
            pods: self.pods.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            instances: self.database.instances.clone(),
            storages: self.database.storages.clone(),
            // The watch shows what carries our label.
            backups: self.database.backups.values().filter(|seen| seen.user.as_deref() == Some(UID)).cloned().collect(),
            policies: self.policies.clone(),
            sources: self.sources.clone(),
            former_policies: self.former_policies.clone(),
            decisions: self.decisions.clone(),
            guard: self.guard.clone(),
            stamp: self.stamp.clone(),
            term: self.term,
            contests: self.contests.clone(),
            taken: None,
            answers: vec![],
            settings: self.settings.clone(),
        };
        // As the controller reads them: those that the look needs.
        for number in seen.needed_contents() {
            let Some(attempt) = seen.attempt(number) else { continue };
            if let Some((_, content)) = self.contents.get(&attempt.name) {
                seen.contents.insert(number, Arc::clone(content));
            }
        }
        seen
    }

    pub fn answer(&self, ask: &Ask) -> Answer {
        match ask {
            Ask::DryRun(manifest) => match &self.refusal {
                Some((kind, 400, message))
                    if *kind == manifest.kind && message.contains("does not support dry run") =>
                {
                    Answer::Untried { message: message.clone() }
                }
                Some((kind, code, message)) if *kind == manifest.kind => {
                    Answer::Refused { code: *code, message: message.clone() }
                }
                _ if self.foreign.contains(&(manifest.kind, manifest.name.clone()))
                    || (manifest.kind == Kind::Job && self.jobs.contains_key(&manifest.name)) =>
                {
                    Answer::Refused { code: 409, message: "already exists".into() }
                }
                _ => Answer::Accepted,
            },
            Ask::LiveService(name) => Answer::Service(self.services.get(name).cloned().map(Box::new)),
            Ask::Quotas => Answer::Quotas(self.quotas.clone(), self.defaults.clone()),
            Ask::Selecting(kind) => {
                let theirs = self.elsewhere.iter().filter(|found| found.kind == *kind);
                Answer::Selecting(theirs.cloned().collect())
            }
            Ask::NetworkPolicies => Answer::NetworkPolicies(self.network_policies.clone()),
            Ask::PodsOf(selector) => {
                Answer::Pods(self.unseen.iter().filter(|(_, labels)| selects(selector, labels)).cloned().collect())
            }
            Ask::LiveObject(kind, name) => Answer::Object(self.object(*kind, name)),
            Ask::Running(kind, name) => Answer::Running(self.running(*kind, name).map(Box::new)),
            Ask::SelectorManager(_) => Answer::Manager(self.manager.clone()),
            Ask::LiveBackup(name) => Answer::Backup(self.database.backups.get(name).cloned().map(Box::new)),
            Ask::BackupsOf(name) => {
                let of = self.database.backups.values().filter(|backup| backup.database == *name);
                Answer::Backups(of.cloned().collect())
            }
            Ask::LiveAttempts(_) => Answer::Attempts(self.contents.values().map(|(seen, _)| seen.clone()).collect()),
            Ask::Left(selector) => Answer::Left(self.left(selector)),
            Ask::LiveRelease { uid, .. } => Answer::Exists(uid == UID || self.database.others.contains(uid)),
            Ask::LiveDecision { uid, .. } => Answer::Exists(self.decisions.iter().any(|decision| decision.uid == *uid)),
        }
    }

    /// What the API server finds by a label selector: first what makes pods, then pods.
    fn left(&self, selector: &str) -> Option<String> {
        let ours = |workload: &str, digits: &str| selects(selector, &child_labels(workload, digits));
        let set = self.deployments.values().find(|set| {
            let adopted = self.running.labels_of(&set.name).filter(|_| set.adopted);
            let meant = adopted.map_or_else(|| ours(&set.workload, &set.revision), |labels| selects(selector, labels));
            meant && (set.replicas > 0 || !set.observed)
        });
        let mut pods = self.pods.values().filter(|pod| !pod.ended && pod.job.is_none());
        let pod = pods.find(|pod| ours(&pod.workload, &pod.revision)).map(|pod| &pod.name);
        let unseen = || self.unseen.iter().find(|(_, labels)| selects(selector, labels)).map(|(name, _)| name);
        set.map(|set| format!("ReplicaSet of {}", set.name))
            .or_else(|| pod.or_else(unseen).map(|name| format!("pod {name}")))
    }

    fn object(&self, kind: Kind, name: &str) -> Option<ObjectSeen> {
        if self.foreign.contains(&(kind, name.to_owned())) {
            let controller = Some("Release other".to_owned());
            return Some(ObjectSeen {
                uid: "theirs".into(),
                resource_version: "1".into(),
                release: String::new(),
                ours: false,
                controller,
                owners: vec![],
            });
        }
        let uid = match kind {
            Kind::Deployment => self.deployments.get(name)?.uid.clone(),
            Kind::Service => self.services.get(name)?.uid.clone(),
            Kind::HorizontalPodAutoscaler => self.autoscalers.get(name)?.uid.clone(),
            Kind::Job => self.jobs.get(name)?.uid.clone(),
            _ => text(&self.unwatched.get(&(kind.as_str(), name.to_owned()))?.body, &["metadata", "uid"]),
        };
        let owned = !self.disowned.contains(&uid);
        let owners = if owned { vec![UID.to_owned(), "uid-content".to_owned()] } else { vec![] };
        let (labelled, resource_version) = (self.is_labelled(name), "1".to_owned());
        let release = if labelled { UID.into() } else { String::new() };
        Some(ObjectSeen { uid, resource_version, release, ours: owned && labelled, controller: None, owners })
    }

    /// What the garbage collector does once a Release is gone.
    fn collect(&mut self) {
        let left = |uid: &str| self.disowned.contains(uid);
        self.deployments.retain(|_, seen| left(&seen.uid));
        self.services.retain(|_, seen| left(&seen.uid));
        self.jobs.retain(|_, seen| left(&seen.uid));
        self.autoscalers.retain(|_, seen| left(&seen.uid));
        self.unwatched.retain(|_, made| left(made.body["metadata"]["uid"].as_str().unwrap()));
    }

    /// Plans as the controller does: asks are answered, then the plan is made again.
    pub fn plan(&self) -> (Observed, Plan) {
        self.plan_of(self.observed())
    }

    pub fn plan_of(&self, mut seen: Observed) -> (Observed, Plan) {
        for _ in 0..4 {
            let plan = plan::plan(&seen);
            let open: Vec<Ask> = plan.asks.iter().filter(|ask| seen.answer(ask).is_none()).cloned().collect();
            if open.is_empty() {
                return (seen, plan);
            }
            for ask in open {
                let answer = self.answer(&ask);
                seen.learn(ask, answer);
            }
        }
        // What is known by now is remembered; the next look goes on from there.
        let plan = Plan { actions: vec![], ..plan::plan(&seen) };
        assert!(plan.record != *seen.record(), "I11: it asks for ever at {:?}: {:?}", self.step(), plan.asks);
        (seen, plan)
    }

    /// One look of the controller that is killed after so many writes; returns whether anything was written.
    pub fn look(&mut self, kill_after: usize) -> bool {
        if self.gone {
            return false;
        }
        let (seen, plan) = self.plan();
        let past = plan.recheck.filter(|at| *at <= self.now);
        assert!(past.is_none(), "I11: it would look again for ever, at {:?}: {plan:?}", self.step());
        self.recheck = plan.recheck;
        self.carry_out(&seen, &plan, kill_after)
    }

    /// Remembers and acts as planned, in the controller's order.
    pub fn carry_out(&mut self, seen: &Observed, plan: &Plan, kill_after: usize) -> bool {
        let next = status::status(seen, plan);
        let remember = seen.release.finalizer && next != self.status;
        let mut left = kill_after;
        let mut wrote = false;
        if plan.act_first {
            wrote |= self.act_all(plan, &mut left);
        }
        if remember && left > 0 {
            left -= 1;
            // No write takes no time at all.
            self.now = self.now.checked_add(SignedDuration::from_millis(1)).unwrap();
            self.status = next;
            self.version += 1;
            self.statuses.push(format!("{}: {}", self.step().as_str(), self.message("Ready")));
            wrote = true;
            crate::gitops::check(&self.status, &plan.situation, seen.release.generation);
            self.tell(seen, plan);
        } else if remember {
            return wrote;
        }
        if !plan.act_first {
            wrote |= self.act_all(plan, &mut left);
        }
        wrote
    }

    /// Publishes events: few of each attempt, one of each step and cause, none too long.
    fn tell(&mut self, seen: &Observed, plan: &Plan) {
        let (before, after) = (seen.record(), &plan.record);
        let rests = |record: &Record| record.step == Step::Idle && record.candidate.is_none();
        let attempt = (!rests(before) || !rests(after)).then_some(after.attempts);
        self.events.extend(status::news(seen, plan).into_iter().map(|news| (attempt, news)));
        let Some(attempt) = attempt else { return };
        let of_it: Vec<&News> =
            self.events.iter().filter(|(of, _)| *of == Some(attempt)).map(|(_, news)| news).collect();
        assert!(of_it.len() <= usize::from(status::MOST_EVENTS), "attempt {attempt}: {of_it:#?}");
        assert!(of_it.iter().all(|news| news.note.len() <= 1024), "{of_it:#?}");
        let entered: Vec<&str> = of_it
            .iter()
            .filter(|news| {
                !news.warning && !["Suspended", "Resumed", "Released", "Migrated"].contains(&news.reason.as_str())
            })
            .map(|news| news.action.as_str())
            .collect();
        let each: BTreeSet<&str> = entered.iter().copied().collect();
        assert_eq!(entered.len(), each.len(), "a step is told twice of attempt {attempt}: {of_it:#?}");
        let ends = of_it.iter().filter(|news| news.reason == "Released").count();
        assert!(ends <= 1, "{of_it:#?}");
    }

    /// Stops whoever leads before its write of that number; another one takes over. Returns what the stopped one still
    /// holds; nothing when it would not have written so much.
    pub fn freeze(&mut self, before: usize) -> Option<Frozen> {
        let (seen, plan) = self.plan();
        let next = status::status(&seen, &plan);
        let status = (seen.release.finalizer && next != self.status).then_some(next);
        if before >= plan.everything().count() + usize::from(status.is_some()) {
            return None;
        }
        self.carry_out(&seen, &plan, before);
        self.term = self.term.map(|term| term + 1);
        Some(Frozen { version: seen.release.resource_version.parse().unwrap(), status, plan, done: before })
    }

    /// Lets a stopped leader go on: every write it still holds arrives now, until one is refused. Returns how many the
    /// API server took.
    pub fn thaw(&mut self, frozen: &Frozen) -> usize {
        let mut late: Vec<Option<&Action>> = frozen.plan.everything().map(Some).collect();
        if frozen.status.is_some() {
            late.insert(if frozen.plan.act_first { late.len() } else { 0 }, None);
        }
        let mut taken = 0;
        // The status that was written before the stop made the Release another version, for everybody.
        for write in late.into_iter().skip(frozen.done) {
            let done = match write {
                Some(action) => self.act(action),
                None if frozen.version == self.version => {
                    self.status = frozen.status.clone().unwrap();
                    self.version += 1;
                    true
                }
                None => false,
            };
            self.check();
            taken += usize::from(done);
            if !done && !frozen.plan.act_first {
                break;
            }
        }
        taken
    }

    fn act_all(&mut self, plan: &Plan, left: &mut usize) -> bool {
        for action in plan.everything() {
            // What nobody watches is made anew in each look: the API server answers that it is there, and nothing is written.
            let made =
                |manifest: &Manifest| self.unwatched.contains_key(&(manifest.kind.as_str(), manifest.name.clone()));
            if matches!(action, Action::Create(manifest) if made(manifest)) {
                continue;
            }
            if *left == 0 {
                return true;
            }
            *left -= 1;
            self.act(action);
            self.check();
        }
        plan.everything().next().is_some()
    }

    /// Does one thing; returns whether the API server took it.
    fn act(&mut self, action: &Action) -> bool {
        self.writes.push(words(action));
        match action {
            Action::AddFinalizer => self.finalizer = true,
            Action::RemoveFinalizer => {
                self.finalizer = false;
                self.gone = self.deleting;
                // Whose ControllerRevision is left is left as well.
                if self.gone && self.contents.is_empty() {
                    self.collect();
                }
            }
            Action::Disown { uid, .. } => {
                self.disowned.insert(uid.clone());
            }
            Action::Create(manifest) => self.create(manifest),
            Action::Scale { deployment, uid, resource_version, replicas } => {
                let Some(found) = self.deployments.get_mut(deployment) else { return false };
                if (&found.uid, &found.resource_version) != (uid, resource_version) {
                    return false;
                }
                found.replicas = *replicas;
                found.observed = false;
                newer(&mut found.resource_version);
            }
            Action::Autoscale { autoscaler, patch, .. } => return self.autoscale(autoscaler, patch),
            Action::Touch { kind, name, uid, resource_version, fence } => {
                return self.touch((*kind, name), (uid, resource_version), fence);
            }
            Action::Label { name, patch, .. } => {
                assert_eq!(patch["metadata"]["labels"][labels::RELEASE_UID], UID, "{patch}");
                return self.unlabelled.remove(name);
            }
            Action::Point { service, patch, .. } => return self.point(service, patch),
            Action::PutBack { service, patch, by } => {
                self.contests.retain(|contest| contest.service != *service);
                self.contests.push(ContestSeen { service: service.clone(), by: by.clone(), at: self.now });
                return self.point(service, patch);
            }
            Action::TakeOver(manifest) => return self.take_over(manifest),
            Action::Delete { kind, name, uid, resource_version } => {
                let changed = self.deployments.get(name).is_some_and(|found| {
                    resource_version.as_ref().is_some_and(|version| *version != found.resource_version)
                });
                // As by the client: one that is another by now is left alone, and that is no error.
                if *kind != Kind::Deployment || !changed {
                    self.delete(*kind, name, uid);
                }
            }
            Action::Resume { job, uid } => {
                for seen in self.jobs.values_mut().filter(|seen| seen.name == *job && seen.uid == *uid) {
                    seen.suspended = false;
                }
            }
            Action::Claim { instance, uid, .. } => self.claim(instance, uid),
            Action::Identify { instance, identity, .. } => self.identify(instance, identity),
            Action::SetRunning { uid, resource_version, running, .. } => {
                let mut all = self.policies.iter_mut().chain(&mut self.former_policies);
                let found = all.find(|found| found.uid == *uid);
                if let Some(found) = found.filter(|found| found.resource_version == *resource_version) {
                    found.running.clone_from(running);
                    found.resource_version.push('1');
                }
            }
            Action::Hold { backup, uid, resource_version, finalizers } => {
                return self.hold((backup, uid, resource_version), finalizers);
            }
            Action::LetGo { backup, uid, finalizers, .. } => self.let_go(backup, uid, finalizers),
            Action::Settle { decision, resource_version, status } => {
                let found = self.decisions.iter_mut().find(|seen| seen.name == *decision);
                let Some(found) = found.filter(|found| found.resource_version == *resource_version) else {
                    return false;
                };
                newer(&mut found.resource_version);
                self.settled.insert(decision.clone(), (status.state.clone(), status.reason.clone()));
                self.told.insert(decision.clone(), status.message.clone());
                for seen in self.decisions.iter_mut().filter(|seen| seen.name == *decision) {
                    (seen.settled, seen.accepted) = (status.is_final(), !status.is_final());
                }
            }
        }
        true
    }

    fn touch(&mut self, (kind, name): (Kind, &str), (uid, version): (&str, &str), fence: &str) -> bool {
        let (found_uid, found_version, found_fence) = match kind {
            Kind::Service => match self.services.get_mut(name) {
                Some(found) => (&found.uid, &mut found.resource_version, &mut found.fence),
                None => return false,
            },
            Kind::Deployment => match self.deployments.get_mut(name) {
                Some(found) => (&found.uid, &mut found.resource_version, &mut found.fence),
                None => return false,
            },
            _ => panic!("{kind:?} is never fenced"),
        };
        if found_uid != uid || found_version != version {
            return false;
        }
        *found_fence = Some(fence.to_owned());
        newer(found_version);
        true
    }

    fn create(&mut self, manifest: &Manifest) {
        self.serial += 1;
        let uid = format!("uid-{}", self.serial);
        let label = |key: &str| text(&manifest.body, &["metadata", "labels", key]);
        let name = manifest.name.clone();
        if self.stuck.contains(&name) {
            return;
        }
        // What is there as ours gets its labels back.
        self.unlabelled.remove(&name);
        if let Some(found) = self.services.get_mut(&name).filter(|_| manifest.kind == Kind::Service) {
            found.role = Role::parse(&label(labels::ROLE));
        }
        match manifest.kind {
            Kind::ControllerRevision => {
                let spec = serde_json::from_value(manifest.body["data"].clone()).unwrap_or_else(|_| self.spec.clone());
                let seen = AttemptSeen {
                    name: name.clone(),
                    uid,
                    role: Role::parse(&label(labels::ROLE)),
                    number: manifest.body["revision"].as_i64().unwrap(),
                    revision: label(labels::REVISION),
                    config: match text(&manifest.body, &["metadata", "annotations", labels::CONFIG]).as_str() {
                        "" => vec![],
                        names => names.split(',').map(str::to_owned).collect(),
                    },
                };
                self.contents.entry(name).or_insert((seen, Arc::new(spec)));
            }
            Kind::Deployment => {
                let template = PodTemplate(manifest.body["spec"]["template"].clone());
                let needs = manifests::required_config_maps_of(&template).into_iter().map(str::to_owned).collect();
                self.needs.insert(name.clone(), needs);
                self.running.note(&name, &template);
                let replicas = i32::try_from(manifest.body["spec"]["replicas"].as_i64().unwrap()).unwrap();
                self.deployments.entry(name.clone()).or_insert(DeploymentSeen {
                    name,
                    uid,
                    resource_version: "1".into(),
                    fence: None,
                    ours: true,
                    revision: label(labels::REVISION),
                    workload: label(labels::WORKLOAD),
                    replicas,
                    existing: 0,
                    ready: 0,
                    available: 0,
                    adopted: false,
                    observed: false,
                    problem: None,
                    deleting: false,
                });
            }
            Kind::Service => {
                let selector = serde_json::from_value(manifest.body["spec"]["selector"].clone()).unwrap();
                self.services.entry(name.clone()).or_insert(ServiceSeen {
                    name,
                    uid,
                    resource_version: "1".into(),
                    ours: true,
                    controller: Some((UID.into(), "Release shop".into())),
                    labelled: true,
                    role: Role::parse(&label(labels::ROLE)),
                    mislabelled: false,
                    selector,
                    adopted: None,
                    fence: None,
                    written_at: None,
                    deleting: false,
                });
            }
            Kind::Job => {
                let mut spec = manifest.body["spec"].clone();
                let template = spec.as_object_mut().and_then(|spec| spec.remove("template"));
                self.templates.insert(name.clone(), template.unwrap());
                self.job_specs.insert(name.clone(), spec);
                self.jobs.entry(name.clone()).or_insert(JobSeen {
                    name,
                    uid,
                    ours: true,
                    revision: label(labels::REVISION),
                    suspended: manifest.body["spec"]["suspend"] == true,
                    state: JobState::Running,
                    ended: None,
                    expires: manifest.body["spec"]["ttlSecondsAfterFinished"].is_u64(),
                    deleting: false,
                });
            }
            Kind::HorizontalPodAutoscaler => self.create_autoscaler(manifest, &uid),
            Kind::ConfigMap | Kind::PodDisruptionBudget => {
                let mut made = manifest.clone();
                // Not counted: what is made besides changes no other name.
                self.serial -= 1;
                made.body["metadata"]["uid"] = format!("uid-{}-{}", self.writes.len(), name).into();
                self.unwatched.entry((manifest.kind.as_str(), name)).or_insert(made);
            }
            Kind::DatabaseBackup => self.create_backup(manifest, uid),
            Kind::Pod => panic!("pods are created in dry runs only"),
        }
    }

    fn point(&mut self, name: &str, patch: &Value) -> bool {
        let now = self.now.round(jiff::TimestampRound::new().smallest(jiff::Unit::Second).mode(jiff::RoundMode::Trunc));
        let Some(service) = self.services.get_mut(name).filter(|_| !self.stuck.contains(name)) else { return false };
        let meta = &patch["metadata"];
        if meta["uid"] != service.uid.as_str() || meta["resourceVersion"] != service.resource_version.as_str() {
            return false;
        }
        for (key, value) in patch["spec"]["selector"].as_object().unwrap() {
            match value.as_str() {
                Some(value) => service.selector.insert(key.clone(), value.to_owned()),
                None => service.selector.remove(key),
            };
        }
        assert_eq!(
            (&meta["labels"][labels::RELEASE_UID], &meta["labels"][labels::ROLE]),
            (&UID.into(), &"active".into())
        );
        self.unlabelled.remove(name);
        service.role = Some(Role::Active);
        if let Some(fence) = meta["annotations"][labels::FENCE].as_str() {
            service.fence = Some(fence.to_owned());
        }
        service.written_at = Some(now.unwrap());
        newer(&mut service.resource_version);
        true
    }

    fn delete(&mut self, kind: Kind, name: &str, uid: &str) {
        match kind {
            Kind::Deployment => self.deployments.retain(|key, seen| key != name || seen.uid != uid),
            Kind::Service => self.services.retain(|key, seen| key != name || seen.uid != uid),
            Kind::Job => self.jobs.retain(|key, seen| key != name || seen.uid != uid),
            Kind::ControllerRevision => self.contents.retain(|key, (seen, _)| key != name || seen.uid != uid),
            Kind::HorizontalPodAutoscaler => self.autoscalers.retain(|key, seen| key != name || seen.uid != uid),
            Kind::ConfigMap | Kind::PodDisruptionBudget => {
                let key = (kind.as_str(), name.to_owned());
                self.unwatched.retain(|found, seen| *found != key || seen.body["metadata"]["uid"] != uid);
            }
            Kind::DatabaseBackup => self.delete_backup(name, uid),
            Kind::Pod => panic!("pods are never deleted by us"),
        }
    }

    /// The built-in controllers and the kubelet do everything there is to do.
    pub fn settle(&mut self) {
        self.scale_by_autoscalers();
        let mut pods: BTreeMap<String, PodSeen> = BTreeMap::new();
        for deployment in self.deployments.values_mut() {
            let has = |name: &String| {
                let made = self.unwatched.contains_key(&("ConfigMap", name.clone()));
                made || self.foreign.contains(&(Kind::ConfigMap, name.clone()))
            };
            let whole = self.needs.get(&deployment.name).is_none_or(|needs| needs.iter().all(has));
            let well = whole && !self.unready.contains(&deployment.revision);
            // Pods of what was taken over have no labels of ours, so nobody sees them.
            let seen = if deployment.adopted { 0 } else { deployment.replicas };
            for number in 0..seen {
                let name = format!("{}-{number}", deployment.name);
                let mut made = pod(name.clone(), &deployment.revision, &deployment.workload, well);
                made.problem = self.problem.clone().filter(|_| !well);
                if self.moved.contains(&name) {
                    made.images = vec![("web".into(), "sha256:other".into())];
                }
                pods.insert(name, made);
            }
            deployment.existing = deployment.replicas;
            deployment.ready = if well { deployment.replicas } else { 0 };
            deployment.available = if well { deployment.replicas } else { 0 };
            deployment.observed = true;
        }
        let mut ending: Vec<PodSeen> = self
            .pods
            .values()
            .filter(|pod| crate::workers::is_alone(self, &pod.workload) && !pods.contains_key(&pod.name))
            .filter(|pod| !self.ending.iter().any(|ended| ended.name == pod.name))
            .cloned()
            .collect();
        ending.iter_mut().for_each(|pod| (pod.deleting, pod.ready) = (true, false));
        pods.extend(ending.iter().map(|pod| (pod.name.clone(), pod.clone())));
        self.ending = ending;
        let of_jobs = self.pods.values().filter(|pod| pod.job.as_ref().is_some_and(|job| self.jobs.contains_key(job)));
        pods.extend(of_jobs.map(|pod| (pod.name.clone(), pod.clone())));
        self.pods = pods;
        crate::workers::check(self);
        self.end_backups();
        self.end_jobs();
        self.end_database_jobs();
        self.follow();
    }

    pub fn end_jobs(&mut self) {
        for job in self.jobs.values_mut() {
            let kinds = ["watch", "smoke", "hook", "verify", "-checks"];
            let Some(kind) = kinds.into_iter().find(|kind| job.name.contains(kind)) else { continue };
            // Every check that the Job was told of answers the same.
            let told = self.templates.get(&job.name).and_then(|template| template.pointer("/spec/containers/0/args/2"));
            let told: Option<CheckParameters> =
                told.and_then(Value::as_str).and_then(|told| serde_json::from_str(told).ok());
            let checks: Vec<String> = told.into_iter().flat_map(|told| told.checks).map(|probe| probe.name).collect();
            let until_the_end = kind == "watch" && self.status.record.deadline().is_some_and(|end| end > self.now);
            if job.suspended {
                continue;
            }
            let by_name = self.job_end.iter().find(|(key, _)| job.name.ends_with(*key)).map(|(_, end)| end);
            let end = by_name.or_else(|| self.job_end.get(kind)).copied().unwrap_or(JobEnd::Passes);
            let failed = || JobState::Failed { reason: "PodFailurePolicy".into(), message: "exit code 1".into() };
            let (state, left) = match end {
                JobEnd::Passes if until_the_end => continue,
                JobEnd::Hangs => continue,
                JobEnd::Passes => (JobState::Complete, Some(Finding::Yes)),
                JobEnd::Fails => (failed(), Some(Finding::No)),
                JobEnd::LeavesNothing => (JobState::Complete, None),
                JobEnd::AnswersTooLittle => (JobState::Complete, Some(Finding::Yes)),
                JobEnd::CannotTell => (failed(), Some(Finding::CannotTell)),
            };
            job.state = state;
            let answered = checks.iter().filter(|_| end != JobEnd::AnswersTooLittle);
            let result = left.map(|passed| {
                let verdict = |name: &String| CheckVerdict {
                    name: name.clone(),
                    passed,
                    detail: "answered 500".into(),
                    requests: 1,
                    failures: u64::from(passed != Finding::Yes),
                };
                serde_json::to_string(&CheckResult { checks: answered.map(verdict).collect() }).unwrap()
            });
            let name = format!("{}-pod", job.name);
            let mut pod = pod(name.clone(), &job.revision, "", false);
            pod.job = Some(job.name.clone());
            pod.message = result.filter(|_| !checks.is_empty());
            self.pods.insert(name, pod);
        }
    }

    /// Endpoints follow Services and pods.
    pub fn follow(&mut self) {
        self.slices = self
            .services
            .values()
            .map(|service| SliceSeen {
                service: service.name.clone(),
                endpoints: self
                    .pods
                    .values()
                    .filter(|pod| {
                        Some(pod.revision.as_str()) == service.selected()
                            && Some(&pod.workload) == service.selector.get(labels::WORKLOAD)
                    })
                    .map(|pod| EndpointSeen { pod: pod.name.clone(), ready: pod.ready })
                    .chain(self.endpoints_by_labels(service))
                    .collect(),
            })
            .collect();
        if self.selected().is_some_and(|digits| self.pods.values().any(|pod| pod.ready && pod.revision == digits)) {
            self.served = true;
        }
    }

    /// Somebody else points the Service at a version.
    pub fn point_at(&mut self, version: &str) {
        let digits = self.digits_of(version);
        let service = self.services.get_mut("shop").unwrap();
        service.selector.insert(labels::REVISION.to_owned(), digits);
        newer(&mut service.resource_version);
        self.follow();
    }

    /// Lets pods of a version lose or regain readiness; endpoints follow.
    pub fn set_ready(&mut self, version: &str, ready: usize) {
        self.set_ready_pods(version, ready);
        self.follow();
    }

    /// Lets pods of a version lose or regain readiness, and no endpoint follows yet.
    pub fn set_ready_pods(&mut self, version: &str, ready: usize) {
        let digits = self.digits_of(version);
        for (number, pod) in
            self.pods.values_mut().filter(|pod| pod.revision == digits && pod.job.is_none()).enumerate()
        {
            pod.ready = number < ready;
        }
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// Runs until a step is reached.
    pub fn run_to(&mut self, step: Step) {
        for _ in 0..300 {
            if self.step() == step && self.status.observed_generation == self.generation {
                return;
            }
            self.turn();
        }
        panic!("{step:?} is not reached; it stands at {:?}: {:?}", self.step(), self.status.conditions);
    }

    /// One turn: looks until nothing is written, then the world goes on and time passes.
    pub fn turn(&mut self) {
        if !self.look(usize::MAX) {
            self.settle();
            // A pod that ends is news.
            if !self.look(usize::MAX) && self.ending.is_empty() {
                // Nothing happens before the next look but what the look itself asked for.
                let next = self.recheck.filter(|at| *at > self.now);
                self.now = next.unwrap_or(self.now.checked_add(SignedDuration::from_secs(30)).unwrap());
            }
        }
    }

    /// Runs until nothing happens any more.
    pub fn run_to_rest(&mut self) {
        let mut quiet = 0;
        for _ in 0..2_000 {
            if self.gone || quiet > 5 {
                self.expire_jobs();
                return;
            }
            let before = (self.status.clone(), self.writes.len());
            self.turn();
            quiet = if before == (self.status.clone(), self.writes.len()) { quiet + 1 } else { 0 };
        }
        panic!("it never comes to rest; it stands at {:?}: {:?}", self.step(), self.status.conditions);
    }

    /// An hour later Kubernetes has removed the Jobs that go by themselves.
    pub fn expire_jobs(&mut self) {
        self.jobs.retain(|_, job| !job.goes_by_itself());
    }

    /// I4: traffic never points at nothing, once it has pointed at something; and nothing is scaled away from
    /// under a Service, unless its workload may be away.
    fn check(&self) {
        self.check_sizes();
        let goes = self.deleting && self.spec.deletion_policy == DeletionPolicy::Delete;
        if !self.served || goes {
            return;
        }
        // One that somebody deleted is made again; that is not our write.
        for service in self.known_services().iter().filter(|service| service.role == Some(Role::Active)) {
            let Some(digits) = service.selected().filter(|digits| *digits != labels::NO_REVISION) else { continue };
            let behind = |seen: &&DeploymentSeen| seen.revision == digits && service.workload() == Some(&seen.workload);
            let replicas = self.deployments.values().find(behind).map_or(0, |deployment| deployment.replicas);
            let name = &service.name;
            let may_be_away = service.workload().is_some_and(|workload| crate::workers::may_be_away(self, workload));
            if may_be_away && matches!(self.step(), Step::Switch | Step::Watch | Step::SwitchBack) {
                continue;
            }
            assert!(replicas > 0, "{name} points at {digits}, which has no pods; writes: {:#?}", self.writes);
        }
    }

    pub fn condition(&self, type_: &str) -> Option<(&str, &str)> {
        let found = self.status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((found.status.as_str(), found.reason.as_str()))
    }

    pub fn message(&self, type_: &str) -> &str {
        self.status.conditions.iter().find(|condition| condition.type_ == type_).map_or("", |found| &found.message)
    }
}

/// Labels of what belongs to a revision.
pub fn child_labels(workload: &str, digits: &str) -> BTreeMap<String, String> {
    let labels = [(labels::RELEASE_UID, UID), (labels::WORKLOAD, workload), (labels::REVISION, digits)];
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Returns whether a label selector selects labels, as the API server reads it.
fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    let found = |key: &str| labels.get(key).map(String::as_str);
    selector.split(',').all(|term| match (term.split_once("!="), term.split_once('='), term.strip_prefix('!')) {
        (Some((key, value)), ..) => found(key) != Some(value),
        (_, Some((key, value)), _) => found(key) == Some(value),
        (.., Some(key)) => found(key).is_none(),
        (.., None) => found(term).is_some(),
    })
}

/// Makes a resourceVersion newer.
pub fn newer(version: &mut String) {
    *version = (version.parse::<u64>().unwrap() + 1).to_string();
}

pub fn pod(name: String, revision: &str, workload: &str, ready: bool) -> PodSeen {
    PodSeen {
        images: if workload.is_empty() { vec![] } else { vec![("web".into(), format!("sha256:{revision}"))] },
        deployment: (!workload.is_empty()).then(|| name.rsplit_once('-').unwrap().0.to_owned()),
        name,
        revision: revision.to_owned(),
        workload: workload.to_owned(),
        job: None,
        ready,
        deleting: false,
        ended: false,
        problem: None,
        agent_ran: false,
        contract: None,
        message: None,
        created: None,
        disrupted: None,
    }
}

fn text(value: &Value, path: &[&str]) -> String {
    path.iter().try_fold(value, |value, key| value.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Puts an action into words, with versions instead of hashes.
pub fn words(action: &Action) -> String {
    let line = match action {
        Action::AddFinalizer => "add finalizer".to_owned(),
        Action::RemoveFinalizer => "remove finalizer".to_owned(),
        Action::Create(manifest) => format!("create {} {}", manifest.kind.as_str(), manifest.name),
        Action::Scale { deployment, replicas, .. } => format!("scale {deployment} to {replicas}"),
        Action::Autoscale { autoscaler, least, most, .. } => format!("hold {autoscaler} at {least} to {most}"),
        Action::Touch { kind, name, fence, .. } => format!("fence {} {name} with {fence}", kind.as_str()),
        Action::Label { kind, name, .. } => format!("label {} {name}", kind.as_str()),
        Action::Point { service, patch, .. } => {
            let digits = text(patch, &["spec", "selector", labels::REVISION]);
            let fence = patch["metadata"]["annotations"].get(labels::FENCE).map(|_| ", fenced").unwrap_or_default();
            format!("point {service} at {digits}{fence}")
        }
        Action::PutBack { service, patch, .. } => {
            format!("put {service} back to {}", text(patch, &["spec", "selector", labels::REVISION]))
        }
        Action::TakeOver(manifest) => format!("take over {} {}", manifest.kind.as_str(), manifest.name),
        Action::Delete { kind, name, .. } => format!("delete {} {name}", kind.as_str()),
        Action::Disown { kind, name, .. } => format!("take the owners off {} {name}", kind.as_str()),
        Action::Resume { job, .. } => format!("resume {job}"),
        Action::Claim { instance, .. } => format!("claim {instance}"),
        Action::Identify { instance, .. } => format!("identify {instance}"),
        Action::SetRunning { policy, running, .. } => {
            let names: Vec<&str> = running.iter().map(|running| running.name.as_str()).collect();
            format!("running under {policy}: {}", names.join(", "))
        }
        Action::Hold { backup, .. } => format!("hold {backup}"),
        Action::LetGo { backup, .. } => format!("let go of {backup}"),
        Action::Settle { decision, status, .. } => format!("settle {decision}: {} {}", status.state, status.reason),
    };
    versions(&line)
}

/// Replaces the digits of revisions by their versions.
pub fn versions(text: &str) -> String {
    let known = |text: String, version: &str| {
        let with = crate::database::spec(version).revision();
        let worker = crate::workers::spec(version).revision();
        let contract = crate::contract::spec(version).revision();
        let (with, worker, contract) =
            (with.digits().to_owned(), worker.digits().to_owned(), contract.digits().to_owned());
        let all = [World::digits(version), with, worker, contract];
        all.iter().fold(text, |text, digits| text.replace(digits, &format!("<{version}>")))
    };
    ["1.0.0", "2.0.0", "3.0.0"].into_iter().fold(text.to_owned(), known)
}
