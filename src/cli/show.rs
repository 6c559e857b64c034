//! Writes views to standard output, in the form that was asked for.

use std::{collections::BTreeMap, io::Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::{
    problem::{Exit, Problem},
    style::Style,
    text::{self, Detail},
    view::{BackupView, ListView, MigrationView, ObjectView, RehearsalView, ReleaseView, Summary},
    words,
};

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text with more columns
    Wide,
    /// JSON, `apiVersion: view.switchback.dev/v1`
    Json,
    /// The same as YAML
    Yaml,
    /// Names alone
    Name,
}

/// What is shown: one Release or several.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Page {
    /// One Release with everything that belongs to it.
    One(Box<ReleaseView>),
    /// Several Releases.
    Many(ListView),
}

impl Page {
    /// Returns the page as text.
    #[must_use]
    pub fn text(&self, style: Style, detail: Detail) -> String {
        match self {
            Self::One(view) => text::release(view, style, detail),
            Self::Many(view) => text::list(view, style, detail),
        }
    }

    /// Returns the page in the form that was asked for.
    ///
    /// # Errors
    /// When a view cannot be written, which no view of ours does.
    pub fn formatted(&self, output: Option<Output>, style: Style) -> Result<String, Problem> {
        match output {
            None => Ok(self.text(style, Detail::Normal)),
            Some(Output::Wide) => Ok(self.text(style, Detail::Wide)),
            Some(Output::Json) => json(self),
            Some(Output::Yaml) => yaml(self),
            Some(Output::Name) => Ok(self.names()),
        }
    }

    fn names(&self) -> String {
        let name = |summary: &Summary| format!("release.switchback.dev/{}\n", summary.name);
        match self {
            Self::One(view) => name(&view.summary),
            Self::Many(view) => view.items.iter().map(name).collect(),
        }
    }

    /// Returns what is said of each object, for one line per change.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::new();
        match self {
            Self::Many(view) => facts.extend(view.items.iter().map(fact)),
            Self::One(view) => {
                facts.extend([fact(&view.summary)]);
                for revision in &view.revisions {
                    let version = revision.version.as_deref().unwrap_or("unknown version");
                    let part = format!("{:?}", revision.part).to_lowercase();
                    let name = format!("Revision {version} ({})", revision.revision);
                    facts.insert(name, format!("{part}, {}", revision.says));
                    revision.objects().for_each(|object| add(&mut facts, object));
                }
                view.database_jobs().for_each(|job| add(&mut facts, job));
                facts.extend(view.backup.iter().map(fact_of_backup));
                facts.extend(view.rehearsal.iter().map(fact_of_rehearsal));
                facts.extend(view.migration.iter().map(fact_of_migration));
                let hooks = view.hooks.iter();
                facts.extend(hooks.map(|hook| (format!("Hook {}", hook.name), hook.says.clone())));
                let services = view.services.iter();
                facts.extend(services.map(|service| (format!("Service {}", service.name), service.says.clone())));
            }
        }
        facts
    }

    /// Returns the page without what changes by itself.
    #[must_use]
    pub fn timeless(&self) -> Self {
        let mut page = self.clone();
        match &mut page {
            Self::One(view) => view.seen_at = jiff::Timestamp::UNIX_EPOCH,
            Self::Many(view) => view.seen_at = jiff::Timestamp::UNIX_EPOCH,
        }
        page
    }
}

fn fact(summary: &Summary) -> (String, String) {
    let message = words::one_line(&summary.message);
    let name = format!("Release {}/{}", summary.namespace, summary.name);
    (name, format!("{}, {}: {message}", summary.step.name, summary.reason))
}

fn fact_of_backup(backup: &BackupView) -> (String, String) {
    let message = backup.message.as_ref().map_or_else(String::new, |message| format!(": {}", words::one_line(message)));
    (format!("DatabaseBackup {}", backup.name), format!("{}{message}", backup.says))
}

fn fact_of_migration(migration: &MigrationView) -> (String, String) {
    let version = migration.version.as_deref().unwrap_or("unknown version");
    let message =
        migration.message.as_ref().map_or_else(String::new, |message| format!(", {}", words::one_line(message)));
    (format!("Migration of {version} ({})", migration.revision), format!("{}{message}", migration.says))
}

fn fact_of_rehearsal(rehearsal: &RehearsalView) -> (String, String) {
    let version = rehearsal.version.as_deref().unwrap_or("unknown version");
    let message =
        rehearsal.message.as_ref().map_or_else(String::new, |message| format!(", {}", words::one_line(message)));
    (format!("Rehearsal of {version} ({})", rehearsal.revision), format!("{}{message}", rehearsal.says))
}

fn add(facts: &mut BTreeMap<String, String>, object: &ObjectView) {
    let problem = object.problem.as_ref().map_or_else(String::new, |problem| format!(": {}", words::cause(problem)));
    facts.insert(format!("{} {}", object.kind, object.name), format!("{}{problem}", object.says));
    object.pods.iter().for_each(|pod| add(facts, pod));
}

/// Returns JSON for people and programs.
///
/// # Errors
/// When it cannot be written.
pub fn json(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string_pretty(value).map(|text| format!("{text}\n")).map_err(|error| unwritable(&error))
}

/// Returns JSON on one line.
///
/// # Errors
/// When it cannot be written.
pub fn json_line(value: &impl Serialize) -> Result<String, Problem> {
    serde_json::to_string(value).map(|text| format!("{text}\n")).map_err(|error| unwritable(&error))
}

/// Returns YAML that readers of YAML 1.1, Kubernetes' own among them, read as the same strings: `no`, `1.10` and
/// times are quoted.
///
/// # Errors
/// When it cannot be written.
pub fn yaml(value: &impl Serialize) -> Result<String, Problem> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(value, options).map_err(|error| unwritable(&error))
}

fn unwritable(error: &dyn std::error::Error) -> Problem {
    Problem::new(Exit::Failed, "cannot write the view", error.to_string())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure: the command ends there.
///
/// # Errors
/// When the output cannot be written.
pub fn print(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Problem::new(Exit::Reached, "", "")),
        Err(error) => Err(Problem::new(Exit::Failed, "cannot write to standard output", error.to_string())),
        Ok(()) => Ok(()),
    }
}
