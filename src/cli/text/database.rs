//! The database's part of the tree; pure.

use super::{
    super::{
        style::Style,
        view::{BackupView, DatabaseView, MigrationView, ObjectView, RehearsalView, ReleaseView, State},
        words,
    },
    Detail, Line,
};
use crate::release::plan_text;

/// Returns the line of the database.
pub(super) fn line(item: &DatabaseView, branch: &str) -> Line {
    let mut info: Vec<String> = Vec::new();
    info.extend(item.environment.map(|environment| <&str>::from(environment).to_owned()));
    info.extend(item.server_version.as_ref().map(|version| format!("PostgreSQL {version}")));
    info.extend(item.size_bytes.map(plan_text::size));
    let place = item.endpoint.as_ref().map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
    Line {
        name: format!("{branch}Database {}", item.name),
        state: item.state,
        says: item.says.clone(),
        age: "-".to_owned(),
        info: format!("{}{place}", info.join(", ")),
    }
}

/// One thing below the database.
enum Child<'a> {
    Backup(&'a BackupView),
    Rehearsal(&'a RehearsalView),
    Migration(&'a MigrationView),
    Job(&'a ObjectView),
}

/// Adds what is below the database: backup, rehearsal, migration, and the other Jobs.
pub(super) fn nest(view: &ReleaseView, (indent, style, detail): (&str, Style, Detail), lines: &mut Vec<Line>) {
    let shown = |job: &&ObjectView| detail > Detail::Brief || job.state > State::Well;
    let jobs = view.database.iter().flat_map(|database| &database.jobs).filter(shown);
    let children: Vec<Child> = view
        .backup
        .iter()
        .map(Child::Backup)
        .chain(view.rehearsal.iter().map(Child::Rehearsal))
        .chain(view.migration.iter().map(Child::Migration))
        .chain(jobs.map(Child::Job))
        .collect();
    let branches = style.branches();
    let at = |last| if last { (branches.last, branches.blank) } else { (branches.middle, branches.through) };
    for (index, child) in children.iter().enumerate() {
        let (branch, under) = at(index + 1 == children.len());
        let (branch, under) = (format!("{indent}{branch}"), format!("{indent}{under}"));
        match child {
            Child::Backup(item) => {
                lines.push(backup(item, view, &branch));
                let jobs: Vec<&ObjectView> = item.jobs.iter().collect();
                super::nest(view, &jobs, (&under, style, detail), lines);
                for (index, copy) in item.copies.iter().enumerate() {
                    let (branch, _) = at(index + 1 == item.copies.len());
                    lines.push(Line {
                        name: format!("{under}{branch}Copy in {}", copy.storage),
                        state: item.state,
                        says: "stored".to_owned(),
                        age: words::age(item.taken_at, view.seen_at),
                        info: copy.manifest.key.clone(),
                    });
                }
            }
            Child::Rehearsal(item) => {
                lines.push(rehearsal(item, view, &branch));
                let jobs: Vec<&ObjectView> = item.jobs.iter().filter(shown).collect();
                super::nest(view, &jobs, (&under, style, detail), lines);
            }
            Child::Migration(item) => {
                lines.push(migration(item, view, &branch));
                let jobs: Vec<&ObjectView> = item.jobs.iter().filter(shown).collect();
                super::nest(view, &jobs, (&under, style, detail), lines);
            }
            Child::Job(job) => {
                lines.push(super::object(view, job, &branch, detail));
                let pods: Vec<&ObjectView> = job.pods.iter().filter(shown).collect();
                super::nest(view, &pods, (&under, style, detail), lines);
            }
        }
    }
}

fn backup(item: &BackupView, view: &ReleaseView, branch: &str) -> Line {
    Line {
        name: format!("{branch}DatabaseBackup {}", item.name),
        state: item.state,
        says: item.says.clone(),
        age: words::age(item.created, view.seen_at),
        info: about(item, view),
    }
}

fn about(backup: &BackupView, view: &ReleaseView) -> String {
    let mut info: Vec<String> = Vec::new();
    info.extend(backup.size_bytes.map(plan_text::size));
    if let (Some(rows), Some(tables)) = (backup.rows, backup.tables) {
        let plural = |count: i64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        info.push(format!("{} of {}", plural(rows, "row"), plural(tables, "table")));
    }
    info.extend(backup.taken_at.map(|taken| format!("taken {}", words::at(taken, view.seen_at))));
    let mut parts = vec![info.join(", ")];
    parts.extend(backup.proof_seconds.map(|took| {
        let parts = [("fetched", Some(took.fetch)), ("restored", took.restore), ("checked", took.check)];
        let said = parts.into_iter().filter_map(|(done, seconds)| Some(format!("{done} in {:.1} s", seconds?)));
        said.collect::<Vec<_>>().join(", ")
    }));
    parts.extend(backup.message.as_deref().map(words::one_line));
    parts.retain(|part| !part.is_empty());
    parts.join("; ")
}

fn rehearsal(item: &RehearsalView, view: &ReleaseView, branch: &str) -> Line {
    let version = item.version.as_deref().unwrap_or("unknown version");
    Line {
        name: format!("{branch}Rehearsal of {version} ({})", item.revision),
        state: item.state,
        says: item.says.clone(),
        age: words::age(item.passed_at, view.seen_at),
        info: item.message.as_deref().map(words::one_line).unwrap_or_default(),
    }
}

fn migration(item: &MigrationView, view: &ReleaseView, branch: &str) -> Line {
    let version = item.version.as_deref().unwrap_or("unknown version");
    Line {
        name: format!("{branch}Migration of {version} ({})", item.revision),
        state: item.state,
        says: item.says.clone(),
        age: words::age(item.ended_at, view.seen_at),
        info: item.message.as_deref().map(words::one_line).unwrap_or_default(),
    }
}
