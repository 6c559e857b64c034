//! Whether the backup's locks make others wait.
//!
//! An ALTER TABLE that waits for the dump makes every reader behind it wait as well: a backup must give way.

use std::{collections::BTreeMap, time::Duration};

use tokio_postgres::Client;

use super::failed;
use crate::{agent::refuse, api::Reason, clock::Stopwatch, protocol::Refusal};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long others may wait.
const PATIENCE: Duration = Duration::from_secs(5);
/// Who waits for one of the sessions with our name. Read from the locks, which every role may see in full.
const WAITING: &str = "SELECT DISTINCT l.pid, l.mode, l.relation::regclass::text FROM pg_locks l \
     WHERE NOT l.granted AND pg_blocking_pids(l.pid) && ARRAY(SELECT a.pid FROM pg_stat_activity a \
       WHERE a.application_name = $1)";

/// Looks all the time; returns when somebody has waited for too long, or the question fails.
pub async fn somebody_waits(client: &Client, name: &str) -> Refusal {
    let mut since: BTreeMap<i32, Stopwatch> = BTreeMap::new();
    let application = format!("switchback {name}");
    loop {
        let rows = match client.query(WAITING, &[&application]).await {
            Ok(rows) => rows,
            Err(error) => return failed("looking for sessions that wait", &error),
        };
        let mut waiting = BTreeMap::new();
        for row in &rows {
            let pid: i32 = row.try_get(0).unwrap_or_default();
            let begun = since.get(&pid).copied().unwrap_or_else(Stopwatch::start);
            waiting.insert(pid, begun);
            if begun.elapsed() >= PATIENCE {
                let mode: String = row.try_get(1).unwrap_or_default();
                let table = row.try_get::<_, Option<String>>(2).ok().flatten().unwrap_or_else(|| "something".into());
                let text = format!(
                    "process {pid} waited more than {} s for {mode} on {table}, which the backup held",
                    PATIENCE.as_secs()
                );
                return refuse(Reason::YieldedToDDL, text);
            }
        }
        since = waiting;
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends what is left of a backup on the server: a statement goes on after its client is gone.
pub async fn end_sessions(client: &Client, name: &str) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = $1 AND pid <> pg_backend_pid()";
    // They end by themselves as soon as they notice.
    let _ = client.query(end, &[&format!("switchback {name}")]).await;
}
