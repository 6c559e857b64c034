//! The plan that people approve: steps, way back, risks, and the digest over all that an approval covers; pure.

mod adoption;
mod bounds;
mod checks;
mod config;
pub(super) mod contract;
mod covered;
pub(super) mod data_loss;
mod database;
mod objects;
mod rehearsal;
mod risks;
mod scaling;
mod untried;
mod workers;

use serde_json::{Value, json};

use jiff::Timestamp;

pub(super) use self::bounds::line;
use self::bounds::planned;
use super::{
    super::{
        observed::{Observed, ReleaseSeen},
        words,
    },
    adopt, approve,
    authors::Authors,
    elsewhere, found,
    policies::{Frozen, Policies},
    reach,
};
use crate::api::{
    ActiveRevision, Change, CheckPhase, DatabaseRecord, Gate, HistoryEntry, HookMoment, Mode, Outcome, PlanRecord,
    PlannedStep, ProofLevel, Record, ReleaseSpec, Scope, Step, WayBackPoint, canonical_json, sha256_hex,
};

/// Version of what the digest is taken over; a change of the form voids open approvals visibly.
const FORM: u8 = 1;

/// Writes the plan for the spec as it is now.
pub(super) fn propose(seen: &Observed, record: &Record) -> PlanRecord {
    let plan = draft(seen, record);
    let mut risks = elsewhere::risks(seen, record, &seen.release.spec);
    risks.extend(found::risks(seen, record));
    risks.extend(reach::risk(seen, record));
    risks.extend(untried::risks(seen, record));
    risks.extend(plan.risks);
    let mut plan = expect(PlanRecord { digest: digest(seen, record), risks, ..plan }, &record.history);
    rehearsal::remember(&mut plan, record.rehearsal.as_ref());
    PlanRecord { risks: bounds::risks(plan.risks), ..plan }
}

/// Writes the plan for a spec that nobody has inspected yet, as far as it is known without that. Its digest is empty: only
/// the controller says what an approval is about.
#[must_use]
pub fn forecast(seen: &Observed, record: &Record) -> PlanRecord {
    let plan = draft(seen, record);
    PlanRecord { risks: bounds::risks(plan.risks), ..plan }
}

/// Writes what is known without an inspection, with all its risks.
fn draft(seen: &Observed, record: &Record) -> PlanRecord {
    let unmet = approve::unmet(seen, record);
    let record = &adopt::expected(record, seen.now);
    let looked = record.database.as_ref();
    let (spec, policies) = (&seen.release.spec, Policies(&seen.policies));
    let proof = looked.map_or_else(|| policies.proof(), |looked| looked.policy_proof);
    let steps = steps(&seen.release, record, proof);
    PlanRecord {
        digest: String::new(),
        revision: seen.release.wanted.clone(),
        way_back: way_back((spec, looked), record, &steps),
        steps,
        risks: risks::of((spec, &seen.release.wanted), record, proof),
        unmet,
        statements: policies.statements().into_iter().map(str::to_owned).collect(),
    }
}

/// Adds how long each step took in the last release that came through. It is no part of what is approved.
#[must_use]
pub fn expect(plan: PlanRecord, history: &[HistoryEntry]) -> PlanRecord {
    expect_as(plan, history.iter().filter(|entry| !entry.contract))
}

/// The same of the attempts that were of one kind: a backup for a release is not proven as far as one for a migration.
fn expect_as<'a>(mut plan: PlanRecord, history: impl DoubleEndedIterator<Item = &'a HistoryEntry>) -> PlanRecord {
    let came_through: Vec<&HistoryEntry> = history.rev().filter(|entry| entry.outcome == Outcome::Succeeded).collect();
    for planned in &mut plan.steps {
        let times = came_through.iter().flat_map(|entry| &entry.steps);
        planned.expected = times.filter(|time| time.step == planned.step).map(|time| time.took).next();
    }
    plan
}

/// Returns the digest over everything that an approval covers: what runs, and what decides whether it stays.
/// Version text, notes and sizes are not part of it.
pub(super) fn digest(seen: &Observed, record: &Record) -> String {
    digest_of(seen, record, &seen.release.spec)
}

/// Returns the digest that an approval of a content would have to name.
pub(super) fn digest_of(seen: &Observed, record: &Record, spec: &ReleaseSpec) -> String {
    let mut covered = json!({
        "form": FORM,
        "release": seen.release.uid,
        "revision": spec.revision(),
        "images": images(spec),
        "checks": spec.checks,
        "switch": spec.switch,
        "watch": spec.watch,
        "rollback": spec.rollback,
    });
    if let (Some(database), Some(covered)) = (&spec.database, covered.as_object_mut()) {
        covered.insert("database".to_owned(), covered::database(database, record.database.as_ref()));
    }
    if let (Some(adoption), Some(covered)) = (adoption::covered(record), covered.as_object_mut()) {
        covered.insert("adoption".to_owned(), adoption);
    }
    if let Some(covered) = covered.as_object_mut() {
        covered::parts(spec, covered);
        covered::settings(seen, spec, covered);
        covered::circumstances(record, covered);
    }
    format!("sha256:{}", sha256_hex(canonical_json(&covered)))
}

fn images(spec: &ReleaseSpec) -> Value {
    spec.workloads.iter().flat_map(|workload| workload.template.images().map(|(_, image)| image)).collect()
}

/// A content, and what was seen of the database that it names.
type Content<'a> = (&'a ReleaseSpec, Option<&'a DatabaseRecord>);

fn joined(first: String, second: Option<String>) -> String {
    second.map_or_else(|| first.clone(), |second| format!("{first} {second}"))
}

fn steps(release: &ReleaseSeen, record: &Record, proof: Option<ProofLevel>) -> Vec<PlannedStep> {
    let (spec, active, looked) = (&release.spec, record.active.as_ref(), record.database.as_ref());
    let mut steps =
        vec![planned(Step::Preflight, &joined(preflight((spec, looked)), adoption::preflight(spec, record)))];
    steps.extend(database::steps(spec, looked, proof, Change::Expand));
    steps.push(planned(Step::Deploy, &deploy(release, record)));
    steps.extend(verify(spec, record).map(|does| planned(Step::Verify, &does)));
    steps.push(planned(Step::Switch, &switch(spec, record)));
    steps.push(planned(Step::Watch, &joined(watch(spec, active), hooks(spec, HookMoment::SwitchBack))));
    let done = hooks(spec, HookMoment::Done);
    steps.extend(done.filter(|_| active.is_none()).map(|does| planned(Step::Retire, &does)));
    steps.extend(active.map(|active| {
        let keep = spec.rollback.keep_previous;
        planned(
            Step::Retire,
            &joined(
                format!("{} drains and is scaled to zero; its Deployments are kept for {keep}.", active.version),
                hooks(spec, HookMoment::Done),
            ),
        )
    }));
    steps.extend(contract::after_release(spec, looked));
    steps
}

fn preflight((spec, looked): Content<'_>) -> String {
    let names: Vec<&str> = spec.services().map(|(_, service)| service.name.as_str()).collect();
    let checks = checks::of_phase(spec, CheckPhase::Preflight);
    let checks = checks.map(|all| format!(", passes once more {all},")).unwrap_or_default();
    format!(
        "Inspects again{checks} and makes missing Services ({}), which select nothing yet. {}",
        names.join(", "),
        database::preflight(spec, looked)
    )
}

fn deploy(release: &ReleaseSeen, record: &Record) -> String {
    let spec = &release.spec;
    let what: Vec<String> = spec
        .workloads
        .iter()
        .map(|workload| {
            let images: Vec<&str> = workload.template.images().map(|(_, image)| image).collect();
            let waits = workers::waits(record, workload);
            format!("{} x {} ({}){waits}", workload.name, scaling::size(workload), images.join(", "))
        })
        .collect();
    let beside = record.active.as_ref().map_or_else(
        || "nothing serves yet".to_owned(),
        |active| format!("beside {}, at its live size if that is larger", active.version),
    );
    format!(
        "Brings {} up, {beside}; all pods must get ready within {}.{}{} {}",
        what.join(", "),
        spec.deadlines.deploy,
        scaling::meanwhile(spec),
        config::about(spec),
        objects::made(release, spec)
    )
}

fn verify(spec: &ReleaseSpec, record: &Record) -> Option<String> {
    let checks = checks::verify(spec, record, false)?;
    Some(format!("Checks the new version behind the preview Services; each must pass: {checks}."))
}

fn switch(spec: &ReleaseSpec, record: &Record) -> String {
    let names: Vec<&str> = spec.services().map(|(_, service)| service.name.as_str()).collect();
    let hooks = hooks(spec, HookMoment::Switch);
    let workers = workers::hand_over(spec, record);
    let workers = match (hooks, workers) {
        (Some(hooks), Some(workers)) => Some(format!("{hooks} {workers}")),
        (hooks, workers) => hooks.or(workers),
    };
    if names.is_empty() {
        return workers.unwrap_or_else(|| "Nothing: there is no Service to move.".to_owned());
    }
    let checks = checks::verify(spec, record, true).map(|checks| format!("Each of these must pass then: {checks}."));
    let away = workers::away(spec, record);
    let first: String = [workers, checks, away].into_iter().flatten().map(|text| format!("{text} ")).collect();
    let from = record.active.as_ref().map(|active| format!(" from {}", active.version)).unwrap_or_default();
    format!(
        "{first}Moves {}{from} to {} by one write each, waits until the endpoints have followed and {} more. \
         Connections that are kept alive stay where they are until their pods end.",
        names.join(", "),
        spec.version,
        spec.switch.settle
    )
}

/// Says which hooks run at a moment; `None` when none does.
fn hooks(spec: &ReleaseSpec, moment: HookMoment) -> Option<String> {
    let hooks = spec.hooks.iter().filter(|hook| hook.when == moment);
    let named = hooks.map(|hook| {
        let images: Vec<&str> = hook.job.template.images().map(|(_, image)| image).collect();
        format!("{} ({})", hook.name, images.join(", "))
    });
    let names = named.collect::<Vec<_>>().join(", ");
    let does = match moment {
        HookMoment::Switch => format!("Runs {names} first; a failure ends the release before anything has moved."),
        HookMoment::SwitchBack => format!("Whenever traffic goes back, {names} runs after it."),
        HookMoment::Done => format!("Runs {names}."),
    };
    (!names.is_empty()).then_some(does)
}

fn watch(spec: &ReleaseSpec, active: Option<&ActiveRevision>) -> String {
    let watch = &spec.watch;
    let checks = checks::of_phase(spec, CheckPhase::Watch);
    let checks = checks.map(|all| format!(", and when a check fails: {all}")).unwrap_or_default();
    match active {
        Some(active) => format!(
            "Watches for {}: traffic goes back to {} at once below {} % ready pods, below {} % after {}{checks}.",
            watch.window, active.version, watch.immediate_below, watch.ready_percent, watch.tolerate
        ),
        None => format!("Watches for {}. There is no earlier version to go back to.", watch.window),
    }
}

fn way_back((spec, looked): Content<'_>, record: &Record, steps: &[PlannedStep]) -> Vec<WayBackPoint> {
    let with_database = |lost: &str| database::way_back((spec, looked), record.active.is_some(), lost);
    let migrates = with_database("").is_some();
    // Whatever is lost without a migration, and then what one adds to it.
    let point = |after, lost: &str| {
        let (scope, loses) = with_database(lost).unwrap_or((Scope::Full, lost.to_owned()));
        bounds::way_back(after, scope, &loses)
    };
    let unmoved = "nothing: no traffic has moved";
    let before = steps.iter().map(|planned| planned.step).take_while(|step| *step != Step::Switch);
    let before = before.map(|after| {
        if after < Step::Migrate { bounds::way_back(after, Scope::Full, unmoved) } else { point(after, unmoved) }
    });
    let mut points: Vec<WayBackPoint> = before.collect();
    if record.active.is_some() {
        let lost = "nothing of ours; what the new version wrote elsewhere stays";
        let away = "nothing of ours, but nobody answers from the new version's stop to the former one's start";
        let lost = if workers::away(spec, record).is_some() { away } else { lost };
        points.extend([Step::Switch, Step::Watch].map(|after| point(after, lost)));
        let stays = if migrates { "; the database stays as it is: what was migrated is not undone" } else { "" };
        let lost = format!(
            "nothing of ours, but it takes a Decision (kubectl switchback rollback) and the time to bring the former \
             version up, verify it and move traffic{stays}"
        );
        points.push(bounds::way_back(Step::Retire, Scope::Full, &lost));
    } else {
        let lost = "there is no earlier version to go back to";
        points.push(bounds::way_back(Step::Switch, Scope::ForwardOnly, lost));
    }
    points.extend(contract::way_back(spec, looked));
    points
}

/// What there is of what is asked for.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    /// Who has approved so far.
    pub people: &'a [&'a str],
    /// Who must not approve.
    pub authors: &'a Authors<'a>,
    /// What else is missing.
    pub more: &'a [&'a str],
}

/// Lists what is still missing of so many approvals and of everything else, and who can meet it.
pub(super) fn unmet(
    (release, policies): (&ReleaseSeen, Policies<'_>),
    needed: usize,
    given: Given<'_>,
    now: Timestamp,
) -> Vec<String> {
    let mut unmet: Vec<String> = policies.refuses(&release.spec, now).map(|(_, message)| message).into_iter().collect();
    if needed > 0 {
        let left = needed.saturating_sub(given.people.len());
        if left > 0 {
            unmet.extend(approvals((release, policies), given.people, (left, Gate::Release)));
        }
        unmet.extend(given.authors.unmet(left));
    }
    unmet.extend(given.more.iter().map(|line| (*line).to_owned()));
    unmet.iter().map(|text| line(text)).collect()
}

/// Says which approvals are still missing.
fn approvals(
    (release, policies): (&ReleaseSeen, Policies<'_>),
    people: &[&str],
    (left, gate): (usize, Gate),
) -> Vec<String> {
    let (asked, required) = match gate {
        Gate::Release => (release.spec.mode, policies.required()),
        // No mode speaks of it.
        Gate::Contract => (None, policies.contract_required()),
        Gate::DataLoss => (None, policies.required()),
    };
    let approve = format!("{}{}", release.command("approve"), words::gate_option(gate));
    let forbids = policies.forbids_automatic().filter(|_| asked == Some(Mode::Automatic));
    let by_itself =
        forbids.map(|policy| format!("It is asked to begin by itself, and ReleasePolicy {policy} lets nothing do so."));
    let missing = match people {
        [] if left == 1 => {
            let anybody = if policies.0.is_empty() {
                "; no ReleasePolicy asks for more, and whoever wrote it may give it"
            } else {
                ""
            };
            format!("One approval by somebody who holds the verb `approve` on this Release{anybody}: {approve}")
        }
        [] => format!("{left} approvals by different people who hold the verb `approve` on this Release: {approve}"),
        people => {
            format!("{left} more of {required} approvals: {approve}, by somebody else than {}", people.join(", "))
        }
    };
    let statements = policies.statements();
    let said = (!statements.is_empty())
        .then(|| format!("Each approval says, word for word: \"{}\".", statements.join("\" or \"")));
    by_itself.into_iter().chain([missing]).chain(said).collect()
}

/// Says until when nothing begins, and who can change that.
pub(super) fn frozen(release: &ReleaseSeen, frozen: &Frozen<'_>) -> String {
    let why = frozen.why.map(|why| format!(" ({why})")).unwrap_or_default();
    format!(
        "ReleasePolicy {} lets nothing begin until {}{why}; what is approved by then begins by itself. Somebody who holds \
         the verb `expedite` need not wait: {}",
        frozen.policy,
        frozen.until.strftime("%a %F %H:%M UTC"),
        release.command("expedite")
    )
}
