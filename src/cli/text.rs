//! Views as text; pure but for the terminal's width, which the style carries.

mod database;

use super::{
    style::{Style, text_of},
    view::{HookView, ListView, ObjectView, Part, ReleaseView, RevisionView, ServiceView, State, Summary},
    words,
};
use crate::api::{HistoryEntry, Outcome};

/// How many ended attempts are shown unless more are asked for.
const HISTORY: usize = 5;
/// Width of the heads of a page.
const HEAD: usize = 10;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// No pod that is well: what fits on a small screen.
    Brief,
    /// All objects.
    Normal,
    /// More columns, the whole history.
    Wide,
}

/// Returns the page of one Release.
#[must_use]
pub fn release(view: &ReleaseView, style: Style, detail: Detail) -> String {
    let mut parts = vec![heads(view, style), tree(view, style, detail)];
    if !view.unseen.is_empty() {
        let lines = view.unseen.iter().map(|line| style.hang("  ", &words::one_line(line)));
        parts.push(format!("{}\n{}", style.bold("Not shown"), lines.collect::<Vec<_>>().join("\n")));
    }
    let shown = match detail {
        Detail::Brief => 1,
        Detail::Normal => HISTORY,
        Detail::Wide => view.history.len(),
    };
    if !view.history.is_empty() {
        let lines = view.history.iter().take(shown).map(|entry| history(entry, view, (style, detail)));
        parts.push(format!("{}\n{}", style.bold("History"), lines.collect::<Vec<_>>().join("\n")));
    }
    if !view.summary.next.is_empty() {
        let lines: Vec<String> = view.summary.next.iter().map(|command| format!("  {command}")).collect();
        parts.push(format!("{}\n{}", style.bold("Next"), lines.join("\n")));
    }
    format!("{}\n", parts.join("\n\n"))
}

fn head(style: Style, name: &str, text: &str) -> String {
    style.hang(&format!("{name:<HEAD$}"), text)
}

fn heads(view: &ReleaseView, style: Style) -> String {
    let summary = &view.summary;
    let mut lines = vec![head(style, "Release", &format!("{} in namespace {}", summary.name, summary.namespace))];
    let active = match &summary.active {
        Some(active) if *active == summary.version => "active".to_owned(),
        Some(active) => format!("asked for; {active} is active"),
        None => "asked for; nothing is active yet".to_owned(),
    };
    lines.push(head(style, "Version", &format!("{} ({active})", summary.version)));
    let state = format!("{} {}", style.icon(summary.state), summary.reason);
    lines.push(format!("{:<HEAD$}{}", "State", style.paint(summary.state, &state)));
    lines.push(head(style, "Message", &words::one_line(&summary.message)));
    lines.extend(summary.notes.iter().map(|note| head(style, "", &words::one_line(note))));
    lines.push(head(style, "Step", &step(view)));
    if let Some(plan) = &view.plan {
        let approved = summary.approved_by.as_ref().map_or_else(String::new, |actor| format!(", approved by {actor}"));
        lines.push(head(style, "Plan", &format!("{}{approved}", plan.digest)));
    }
    lines.join("\n")
}

fn step(view: &ReleaseView) -> String {
    let step = &view.summary.step;
    let now = view.seen_at;
    let since = step.since.map_or_else(String::new, |since| {
        format!(" since {} ({})", words::at(since, now), words::age(Some(since), now))
    });
    let what = if step.name == "Watch" { "the window ends" } else { "deadline" };
    let deadline = step.deadline.map_or_else(String::new, |deadline| {
        format!(", {what} {} ({})", words::at(deadline, now), words::until(deadline, now))
    });
    format!("{}{since}{deadline}", step.name)
}

/// One line of the tree.
struct Line {
    name: String,
    state: State,
    says: String,
    age: String,
    info: String,
}

fn tree(view: &ReleaseView, style: Style, detail: Detail) -> String {
    let mut table = style.table(&["NAME", "STATUS", "AGE", "INFO"]);
    let summary = &view.summary;
    let mut lines = vec![Line {
        name: format!("Release {}", summary.name),
        state: summary.state,
        says: summary.reason.clone(),
        age: words::age(summary.created, view.seen_at),
        info: String::new(),
    }];
    let branches = style.branches();
    let databases = usize::from(view.database.is_some());
    let count = view.revisions.len() + databases + view.hooks.len() + view.services.len();
    let at = |index: usize| {
        if index + 1 == count { (branches.last, branches.blank) } else { (branches.middle, branches.through) }
    };
    for (index, item) in view.revisions.iter().enumerate() {
        let (branch, below) = at(index);
        lines.push(revision(view, item, branch));
        let objects: Vec<&ObjectView> = item.objects().collect();
        nest(view, &objects, (below, style, detail), &mut lines);
    }
    if let Some(item) = &view.database {
        let (branch, below) = at(view.revisions.len());
        lines.push(database::line(item, branch));
        database::nest(view, (below, style, detail), &mut lines);
    }
    for (index, item) in view.hooks.iter().enumerate() {
        let (branch, _) = at(view.revisions.len() + databases + index);
        lines.push(hook(view, item, branch));
    }
    for (index, item) in view.services.iter().enumerate() {
        let (branch, _) = at(view.revisions.len() + databases + view.hooks.len() + index);
        lines.push(service(view, item, branch, style));
    }
    for line in lines {
        let cells = [line.name.into(), style.cell(line.state, &line.says), line.age.into(), line.info.into()];
        table.add_row(cells);
    }
    text_of(&mut table)
}

fn nest(
    view: &ReleaseView,
    objects: &[&ObjectView],
    (indent, style, detail): (&str, Style, Detail),
    lines: &mut Vec<Line>,
) {
    let branches = style.branches();
    for (index, object) in objects.iter().enumerate() {
        let last = index + 1 == objects.len();
        let (branch, below) = if last { (branches.last, branches.blank) } else { (branches.middle, branches.through) };
        lines.push(self::object(view, object, &format!("{indent}{branch}"), detail));
        let shown = |pod: &&ObjectView| detail > Detail::Brief || pod.state > State::Well;
        let pods: Vec<&ObjectView> = object.pods.iter().filter(shown).collect();
        nest(view, &pods, (&format!("{indent}{below}"), style, detail), lines);
    }
}

fn object(view: &ReleaseView, object: &ObjectView, branch: &str, detail: Detail) -> Line {
    let mut info: Vec<String> = object.problem.iter().map(String::as_str).map(words::cause).collect();
    info.extend(object.node.iter().filter(|_| detail == Detail::Wide).map(|node| format!("on {node}")));
    Line {
        name: format!("{branch}{} {}", object.kind, object.name),
        state: object.state,
        says: object.says.clone(),
        age: words::age(object.created, view.seen_at),
        info: info.join("; "),
    }
}

fn revision(view: &ReleaseView, item: &RevisionView, branch: &str) -> Line {
    let part = match item.part {
        Part::Active => "active (blue)",
        Part::Candidate => "candidate (green)",
        Part::Previous => "previous",
        Part::Former => "former",
    };
    let serves = |service: &&ServiceView| service.active && service.revision.as_ref() == Some(&item.revision);
    let mut info = vec![part.to_owned()];
    if view.services.iter().any(|service| serves(&service)) {
        info.push("serves users".to_owned());
    }
    info.extend(item.keep_until.map(|until| format!("removed {}", words::until(until, view.seen_at))));
    let version = item.version.as_deref().unwrap_or("unknown version");
    Line {
        name: format!("{branch}Revision {version} ({})", item.revision),
        state: item.state,
        says: item.says.clone(),
        age: words::age(item.since, view.seen_at),
        info: info.join(", "),
    }
}

fn hook(view: &ReleaseView, item: &HookView, branch: &str) -> Line {
    let when: &str = item.when.into();
    let problem = item.problem.as_deref().map_or_else(String::new, |problem| format!(": {}", words::cause(problem)));
    Line {
        name: format!("{branch}Hook {}", item.name),
        state: item.state,
        says: item.says.clone(),
        age: words::age(Some(item.ended_at), view.seen_at),
        info: format!("on {when}{problem}"),
    }
}

fn service(view: &ReleaseView, item: &ServiceView, branch: &str, style: Style) -> Line {
    let target = item.version.as_deref().or(item.revision.as_deref());
    let target = target.map_or_else(String::new, |target| format!(" {} {target}", style.arrow()));
    let role = if item.active { "users" } else { "preview" };
    let others = if item.others == 0 { String::new() } else { format!(", {} of another revision", item.others) };
    let says = match (item.state, target.is_empty()) {
        (State::Unknown, _) => item.says.clone(),
        (_, true) => "points nowhere yet".to_owned(),
        (_, false) => format!("{} ready{others}", item.ready),
    };
    Line {
        name: format!("{branch}Service {}{target}", item.name),
        state: item.state,
        says,
        age: words::age(item.switched_at, view.seen_at),
        info: role.to_owned(),
    }
}

fn history(entry: &HistoryEntry, view: &ReleaseView, (style, detail): (Style, Detail)) -> String {
    let state = match entry.outcome {
        Outcome::Succeeded => State::Well,
        Outcome::RolledBack | Outcome::Failed => State::Bad,
        Outcome::Rejected | Outcome::Aborted | Outcome::Superseded => State::Off,
    };
    let outcome: &str = entry.outcome.into();
    let took = words::length(entry.ended_at.0.duration_since(entry.started_at.0).as_secs());
    let head = format!("  {} #{} {} ", style.icon(state), entry.attempt, entry.version);
    let ended = words::at(entry.ended_at.0, view.seen_at);
    let text = format!("{outcome} {ended} after {took}: {}", words::one_line(&entry.message));
    let more = if detail == Detail::Wide { accounted(entry, view) } else { String::new() };
    style.hang(&head, &format!("{text}{more}"))
}

/// Says who decided, on which plan, and what there is of it.
fn accounted(entry: &HistoryEntry, view: &ReleaseView) -> String {
    let decided =
        entry.decisions.iter().map(|by| format!("{}: {}, {}", by.kind, by.actor, words::at(by.at.0, view.seen_at)));
    let plan = entry.digest.iter().map(|digest| format!("plan {digest}"));
    let backup = entry.backup.iter().map(|name| format!("DatabaseBackup {name}"));
    let commit =
        entry.source.iter().filter_map(|source| source.commit.as_ref()).map(|commit| format!("commit {commit}"));
    let all: Vec<String> = decided.chain(plan).chain(backup).chain(commit).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join("; ")) }
}

/// Returns a table of Releases.
#[must_use]
pub fn list(view: &ListView, style: Style, detail: Detail) -> String {
    let mut header = vec!["NAME", "VERSION", "ACTIVE", "STEP", "STATUS", "AGE"];
    if view.namespaces {
        header.insert(0, "NAMESPACE");
    }
    let wide = detail == Detail::Wide;
    if wide {
        header.extend(["CANDIDATE", "APPROVED BY", "MESSAGE"]);
    }
    let mut table = style.table(&header);
    for item in &view.items {
        table.add_row(row(item, view, style, wide));
    }
    format!("{}\n", text_of(&mut table))
}

fn row(item: &Summary, view: &ListView, style: Style, wide: bool) -> Vec<comfy_table::Cell> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut cells: Vec<comfy_table::Cell> = Vec::new();
    if view.namespaces {
        cells.push((&item.namespace).into());
    }
    cells.extend([
        (&item.name).into(),
        (&item.version).into(),
        or_dash(&item.active).into(),
        (&item.step.name).into(),
        style.cell(item.state, &item.reason),
        words::age(item.created, view.seen_at).into(),
    ]);
    if wide {
        cells.extend([
            or_dash(&item.candidate).into(),
            or_dash(&item.approved_by).into(),
            words::one_line(&item.message).into(),
        ]);
    }
    cells
}
