//! What a migration's own command says of what is due, where it has one; pure.
//!
//! Its Job only reads, and so begins at once, like the one that looks at the database: before anybody has approved anything.

use super::{
    super::{
        manifests,
        observed::{InstanceSeen, Observed},
    },
    Action,
    database::{Look, Said, refused, result},
    inspect::{self, Inspection},
    policies::Policies,
    when_recorded,
};
use crate::{
    api::{DatabaseRecord, Reason, Record, ReleaseSpec},
    protocol::{Answer, MigrationState, PendingResult},
};

/// Asks the migration's own command what is due, where it has one and the ledger leaves that open.
pub(super) fn ask(
    seen: &Observed,
    record: &Record,
    (spec, instance): (&ReleaseSpec, &InstanceSeen),
    (looked, state): (DatabaseRecord, Option<MigrationState>),
) -> Look {
    let migration = spec.database.as_ref().and_then(|database| database.migration.as_ref());
    // One whose end is not known runs again, so that the ledger gets an end; and no image runs that a policy refuses.
    let is_open = looked.pending.is_some()
        && state != Some(MigrationState::Started)
        && Policies(&seen.policies).refuses(spec, seen.now).is_none();
    let Some(migration) = migration.filter(|migration| is_open && !migration.pending.is_empty()) else {
        return Look::Seen(Box::new(looked));
    };
    let told = || format!("Asking `{}` whether a migration is due.", migration.pending.join(" "));
    let name = manifests::pending_name(&seen.release, record);
    let Some(job) = seen.job(&name) else {
        let job = manifests::pending_job((&seen.release, &seen.settings), (spec, migration), (&name, instance));
        let Some(job) = job else {
            let message = "migration.pending runs before anything of the version is made, and its pod reads files of \
                           spec.config. Nothing was changed. Leave pending out, or give the migration a pod of its own \
                           that reads none.";
            return Look::Refused(Reason::PendingUnknown, message.to_owned());
        };
        return match inspect::takes(seen, &job) {
            Inspection::Asking(asks) => Look::Working(vec![], asks, told()),
            Inspection::Refused(reason, message) => Look::Refused(reason, message),
            Inspection::Fine => {
                Look::Working(when_recorded(seen, record, Action::Create(Box::new(job))), vec![], told())
            }
        };
    };
    match result::<Answer<PendingResult>>(seen, job) {
        Said::Nothing => Look::Working(vec![], vec![], told()),
        Said::Lost(message) => Look::Refused(Reason::JobLost, message),
        Said::This(answer) => match *answer {
            Answer::Refused(refusal) => refused(&instance.name, refusal),
            Answer::Done(PendingResult { due }) => {
                let pending = looked.pending.filter(|_| due);
                Look::Seen(Box::new(DatabaseRecord { pending, asked: true, ..looked }))
            }
        },
    }
}
