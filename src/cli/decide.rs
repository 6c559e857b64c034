//! What `approve`, `reject` and all other decisions have in common: they show what they will do, ask, write a Decision, and
//! tell what became of it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args as ClapArgs;
use futures::StreamExt as _;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};

use super::{
    connection::Cluster,
    file::FIELD_MANAGER,
    look,
    problem::{Exit, Problem},
    show::print,
    style::Style,
    view::{State, Summary},
};
use crate::{
    api::{
        Decision, DecisionKind, DecisionSpec, DecisionState, DecisionStatus, DecisionTarget, Record, Release,
        TargetKind,
    },
    clock,
    release::words,
};

/// How long the controller may take to say what became of a Decision.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all decisions ask for.
#[derive(Debug, Clone, ClapArgs)]
#[group(skip)]
pub struct Args {
    /// Name of the Release
    pub name: String,
    /// Why, for whoever reads the history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The sentence that a ReleasePolicy asks for, word for word
    #[arg(skip)]
    pub statement: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Do not wait for what becomes of the Decision
    #[arg(long)]
    pub no_wait: bool,
}

/// What is to be decided, and what it will do in words.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The decision.
    pub decision: DecisionKind,
    /// What it will do.
    pub text: String,
    /// What is asked.
    pub question: String,
    /// What must not have changed between showing and writing, in words.
    pub shown: String,
    /// Sentences one of which has to be said; none when none is asked for.
    pub statements: Vec<String>,
}

impl Proposal {
    /// Makes a proposal: what is decided with the word that its text begins with, the text, the question.
    pub(super) fn new((decision, verb): (DecisionKind, &str), text: String, question: String, style: Style) -> Self {
        let text = format!("{}\n", style.hang(&format!("{} ", style.bold(verb)), &text));
        Self { decision, text, question, shown: String::new(), statements: vec![] }
    }

    /// Says what must not have changed between showing and writing.
    pub(super) fn about(self, shown: String) -> Self {
        Self { shown, ..self }
    }
}

/// Returns what status remembers of a Release; of one that nobody has looked at, nothing.
pub(super) fn record_of(release: &Release) -> Record {
    release.status.as_ref().map(|status| status.record.clone()).unwrap_or_default()
}

/// Says why something cannot be decided about a Release.
pub(super) fn refuse(release: &Release, verb: &str, why: &str) -> Problem {
    let (name, namespace) = (release.name_any(), release.namespace().unwrap_or_default());
    Problem::new(Exit::Failed, format!("cannot {verb} Release {namespace}/{name}"), why)
        .next(format!("kubectl switchback get {name} -n {namespace}"))
}

/// Shows a proposal, asks, writes the Decision and tells what became of it. `propose` says what the decision
/// would be for the Release as it is, or why there is none; it is asked again after the person has answered.
///
/// # Errors
/// When it cannot be decided, the person says no, or the Decision cannot be written.
pub(super) async fn run(
    cluster: &Cluster,
    args: &Args,
    propose: impl Fn(&Release, Style) -> Result<Proposal, Problem>,
) -> Result<Exit, Problem> {
    let style = Style::of_stdout();
    let release = look::release(cluster, &args.name).await?;
    let proposal = propose(&release, style)?;
    let verb = proposal.decision.as_str();
    let command =
        format!("kubectl switchback {verb} {}{} -n {}", args.name, option(&proposal.decision), cluster.namespace);
    let mut statement = args.statement.clone();
    if let Some(said) = statement.as_ref().filter(|said| !proposal.statements.contains(said)) {
        let asked = if proposal.statements.is_empty() {
            "no sentence is asked for".to_owned()
        } else {
            format!("{said:?} is not what is asked for: {}", sentences(&proposal))
        };
        return Err(refuse(&release, verb, &asked));
    }
    // The decision is about what was shown: the object of that UID, and of an approval that digest.
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let with_statement = if proposal.statements.is_empty() { "" } else { " --statement TEXT" };
            return Err(Problem::new(
                Exit::Usage,
                format!("cannot {verb} Release {}/{}", cluster.namespace, args.name),
                "nobody can be asked: standard input is no terminal",
            )
            .next(format!("{command} --yes{with_statement}")));
        }
        print(&proposal.text)?;
        let is_yes = if proposal.statements.is_empty() || statement.is_some() {
            let answer = ask(&format!("{} [y/N] ", proposal.question))?;
            matches!(answer.to_lowercase().as_str(), "y" | "yes")
        } else {
            let answer = ask(&format!("{} Type {}: ", proposal.question, sentences(&proposal)))?;
            if !proposal.statements.contains(&answer) {
                let why = "what was typed is not the sentence that is asked for";
                return Err(Problem::new(Exit::Failed, "nothing was decided", why));
            }
            statement = Some(answer);
            true
        };
        if !is_yes {
            return Err(Problem::new(Exit::Failed, "nothing was decided", "the answer was no"));
        }
        let now = look::release(cluster, &args.name).await?;
        let again = propose(&now, style)?;
        if now.uid() != release.uid() || again.shown != proposal.shown {
            let why =
                format!("it changed while you were reading: shown was {}, now it is {}", proposal.shown, again.shown);
            return Err(Problem::new(
                Exit::Failed,
                format!("cannot {verb} Release {}/{}", cluster.namespace, args.name),
                why,
            )
            .next(command));
        }
    } else {
        print(&proposal.text)?;
        if !proposal.statements.is_empty() && statement.is_none() {
            let why = format!("a sentence is asked for: {}", sentences(&proposal));
            return Err(refuse(&release, verb, &why).next(format!("{command} --yes --statement TEXT")));
        }
    }
    let decision = write(cluster, &release, proposal.decision, (statement, args.reason.clone())).await?;
    let name = decision.name_any();
    print(&format!("Decision {}/{name} is written, by {}.\n", cluster.namespace, decision.spec.actor))?;
    if args.no_wait {
        return Ok(Exit::Reached);
    }
    match tokio::time::timeout(PATIENCE, became(cluster, &name)).await {
        Ok(Some(status)) => tell(cluster, &args.name, &name, &status),
        Ok(None) | Err(_) => Err(unanswered(cluster, &args.name, &name).await),
    }
}

/// Returns what a command has to say to mean another plan than that of a release.
fn option(decision: &DecisionKind) -> &'static str {
    decision.gate().map_or("", words::gate_option)
}

fn sentences(proposal: &Proposal) -> String {
    format!("\"{}\"", proposal.statements.join("\" or \""))
}

fn ask(question: &str) -> Result<String, Problem> {
    print(question)?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Problem::new(Exit::Failed, "cannot read the answer", error.to_string()))?;
    if answer.is_empty() {
        // End of input: the cursor is still behind the question.
        let _ = writeln!(std::io::stdout());
    }
    Ok(answer.trim().to_owned())
}

/// Returns the caller's user name as the API server knows it; admission refuses any other as actor.
async fn who_am_i(cluster: &Cluster) -> Result<String, Problem> {
    let api: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let (params, question) = (PostParams::default(), SelfSubjectReview::default());
    let review = cluster.ask("ask for", "the caller's name", api.create(&params, &question)).await?;
    review.status.and_then(|status| status.user_info).and_then(|user| user.username).ok_or_else(|| {
        Problem::new(Exit::Failed, "cannot decide", "the API server does not say who you are")
            .next("kubectl auth whoami")
    })
}

async fn write(
    cluster: &Cluster,
    release: &Release,
    kind: DecisionKind,
    (statement, reason): (Option<String>, Option<String>),
) -> Result<Decision, Problem> {
    let verb = kind.as_str();
    let actor = who_am_i(cluster).await?;
    let name = release.name_any();
    let uid = release.uid().unwrap_or_default();
    let target = DecisionTarget { kind: TargetKind::Release, name: name.clone(), uid };
    let decision = Decision {
        metadata: ObjectMeta { generate_name: Some(format!("{name}-{verb}-")), ..ObjectMeta::default() },
        spec: DecisionSpec { target, decision: kind, statement, reason, actor },
        status: None,
    };
    let api: Api<Decision> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let object = format!("Decision to {verb} Release {}/{name}", cluster.namespace);
    cluster.ask("create", &object, api.create(&params, &decision)).await.map_err(|problem| {
        if problem.exit == Exit::NotFoundOrForbidden && problem.why.contains("forbidden") {
            let namespace = &cluster.namespace;
            let next =
                format!("kubectl auth whoami; kubectl auth can-i {verb} releases.switchback.dev/{name} -n {namespace}");
            return problem.next(next);
        }
        problem
    })
}

/// Waits until the status of a Decision says what became of it.
async fn became(cluster: &Cluster, name: &str) -> Option<DecisionStatus> {
    let api: Api<Decision> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut changes = watcher(api, config).default_backoff().applied_objects().boxed();
    while let Some(change) = changes.next().await {
        let status = change.ok().and_then(|decision| decision.status);
        if let Some(status) = status.filter(|status| !status.state.is_empty()) {
            return Some(status);
        }
    }
    None
}

fn tell(cluster: &Cluster, release: &str, decision: &str, status: &DecisionStatus) -> Result<Exit, Problem> {
    let counts = [DecisionState::Used, DecisionState::Accepted].map(<&str>::from);
    let style = Style::of_stdout();
    if counts.contains(&status.state.as_str()) {
        let line = format!("{} {}: {}", style.icon(State::Well), status.state, status.message);
        let watch = format!("kubectl switchback get {release} -n {} -w", cluster.namespace);
        print(&format!("{}\nnext: {watch}\n", style.paint(State::Well, &line)))?;
        return Ok(Exit::Reached);
    }
    let why = format!("{}, {}: {}", status.state, status.reason, status.message.trim_end_matches('.'));
    Err(Problem::new(Exit::Failed, format!("Decision {}/{decision} has no effect", cluster.namespace), why)
        .next(format!("kubectl switchback get {release} -n {}", cluster.namespace)))
}

/// Says what can be said when the controller does not answer.
async fn unanswered(cluster: &Cluster, release: &str, decision: &str) -> Problem {
    let what = format!("nothing became of Decision {}/{decision} within {} s", cluster.namespace, PATIENCE.as_secs());
    let why = match look::release(cluster, release).await {
        Ok(found) => {
            let summary = Summary::of(&found, clock::now());
            format!("the Release says {}: {}", summary.reason, summary.message.trim_end_matches('.'))
        }
        Err(problem) => problem.why,
    };
    Problem::new(
        Exit::TimeOut,
        what,
        format!("it is stored and counts for 24h, or as long as `approval.expires` of a ReleasePolicy says; {why}"),
    )
    .next(format!("kubectl get decision {decision} -n {}; is the controller running?", cluster.namespace))
}
