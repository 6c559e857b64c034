//! A Job's word: what the agent leaves as the termination message, in one form for each verb.
//!
//! Who writes one and who reads one names its type here; nobody chooses a form of his own. What is not of that form was
//! not said.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Answer, BackupResult, CheckResult, DatabaseFacts, InspectResult, MigrateResult, PendingResult, ProofSeconds,
    Refusal, RehearseResult, ReportResult, RestoreDataResult,
};
use crate::api::{DataLoss, Reason, RehearsalFindings};

/// What a Job leaves. Either it is whole JSON of this form, or the Job has said nothing.
pub trait Word: Serialize + DeserializeOwned {
    /// The agent's command, which is also the value of the label [`crate::api::labels::VERB`] where the Job has one.
    const VERB: &'static str;

    /// Returns why it was not done, when it was not.
    fn refusal(self) -> Option<Refusal>;
}

/// What was done, as the content of an [`Answer`].
pub trait Done: Serialize + DeserializeOwned {
    /// The verb that it comes of.
    const VERB: &'static str;

    /// Returns what went wrong although the agent did its part.
    fn problem(self) -> Option<Refusal> {
        None
    }
}

impl<T: Done> Word for Answer<T> {
    const VERB: &'static str = T::VERB;

    fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Done(done) => done.problem(),
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

impl Done for DatabaseFacts {
    const VERB: &'static str = "mark";
}

impl Done for PendingResult {
    const VERB: &'static str = "pending";
}

impl Done for BackupResult {
    const VERB: &'static str = "backup";
}

impl Done for MigrateResult {
    const VERB: &'static str = "migrate";

    fn problem(self) -> Option<Refusal> {
        self.problem
    }
}

/// Of the first container of a rehearsal.
impl Done for ProofSeconds {
    const VERB: &'static str = "rehearse-restore";
}

/// Of the second container of a rehearsal.
impl Done for RehearsalFindings {
    const VERB: &'static str = "rehearse-migrate";
}

impl Done for RehearseResult {
    const VERB: &'static str = "rehearse";
}

impl Done for ReportResult {
    const VERB: &'static str = "report";
}

impl Done for DataLoss {
    const VERB: &'static str = "restore-loss";
}

impl Done for RestoreDataResult {
    const VERB: &'static str = "restore-data";
}

impl Word for InspectResult {
    const VERB: &'static str = "inspect";

    fn refusal(self) -> Option<Refusal> {
        fn of<T>(part: Option<Answer<T>>) -> Option<Refusal> {
            match part? {
                Answer::Done(_) => None,
                Answer::Refused(refusal) => Some(refusal),
            }
        }
        let Self { database, storages, migration, schema } = self;
        of(database)
            .or_else(|| storages.into_iter().find_map(|storage| storage.problem))
            .or_else(|| of(migration))
            .or_else(|| of(schema))
    }
}

impl Word for CheckResult {
    const VERB: &'static str = "check";

    fn refusal(self) -> Option<Refusal> {
        let message = self.failures();
        (!message.is_empty()).then_some(Refusal { reason: Reason::ChecksFailed, message })
    }
}

/// Reads a word; `None` when it is not of the form that is asked for.
#[must_use]
pub fn read<W: Word>(text: &str) -> Option<W> {
    serde_json::from_str(text).ok()
}

/// Returns why a Job of that verb did not do what it was asked for; `None` also where that cannot be told.
#[must_use]
pub fn refusal(verb: &str, text: &str) -> Option<Refusal> {
    fn of<W: Word>(text: &str) -> Option<Refusal> {
        read::<W>(text)?.refusal()
    }
    match verb {
        CheckResult::VERB => of::<CheckResult>(text),
        InspectResult::VERB => of::<InspectResult>(text),
        DatabaseFacts::VERB => of::<Answer<DatabaseFacts>>(text),
        PendingResult::VERB => of::<Answer<PendingResult>>(text),
        BackupResult::VERB => of::<Answer<BackupResult>>(text),
        MigrateResult::VERB => of::<Answer<MigrateResult>>(text),
        RehearseResult::VERB => of::<Answer<RehearseResult>>(text),
        ReportResult::VERB => of::<Answer<ReportResult>>(text),
        DataLoss::VERB => of::<Answer<DataLoss>>(text),
        RestoreDataResult::VERB => of::<Answer<RestoreDataResult>>(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MigrationState;

    fn migrated(problem: Option<Refusal>) -> MigrateResult {
        let state = MigrationState::Failed;
        MigrateResult { state, problem, database: None, began_at: None, files: 1, seconds: 0.1 }
    }

    fn why(message: &str) -> Refusal {
        Refusal { reason: Reason::MigrationFailed, message: message.to_owned() }
    }

    #[test]
    fn a_result_without_its_answer_is_no_word() {
        let bare = serde_json::to_string(&migrated(None)).unwrap();
        assert!(read::<Answer<MigrateResult>>(&bare).is_none());
        let word = serde_json::to_string(&Answer::Done(migrated(None))).unwrap();
        assert!(read::<Answer<MigrateResult>>(&word).is_some());
    }

    #[test]
    fn every_verb_that_is_refused_says_why() {
        let refused = serde_json::to_string(&Answer::<ReportResult>::Refused(why("no"))).unwrap();
        for verb in ["mark", "pending", "backup", "migrate", "rehearse", "report", "restore-loss", "restore-data"] {
            assert_eq!(refusal(verb, &refused), Some(why("no")), "{verb}");
        }
        let failed = serde_json::to_string(&Answer::Done(migrated(Some(why("line 3"))))).unwrap();
        assert_eq!(refusal("migrate", &failed), Some(why("line 3")));
        assert_eq!(refusal("migrate", "killed"), None);
    }
}
