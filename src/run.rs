//! Wiring: client, election, watches, the work, shutdown.

mod lane;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use futures::future::join_all;
use kube::{Client, client::ClientBuilder};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};

use crate::{
    config::Config,
    databases,
    decision::{self, guard::not_looked_yet},
    error::Error,
    kube_io::{
        elect::Election,
        index::Scope,
        leadership::Leadership,
        wire::Wire,
        work::{Stop, stopped},
    },
    metrics::Metrics,
    release::observed::{Guard, Settings},
};
use lane::{Parts, lanes};

/// How long what has begun may take to end once the process is told to. Kubernetes kills after thirty seconds, and the
/// lease must be given back before that.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the controller until it is told to stop.
///
/// # Errors
/// When the configuration does not allow to start.
pub async fn run(config: Config) -> Result<(), Error> {
    let terms = config.election.terms()?;
    let elected = config.election.leader_elect;
    let leadership = Arc::new(if elected { Leadership::to_be_elected() } else { Leadership::alone() });
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::default());
    let client = client(Wire { leadership: Arc::clone(&leadership), metrics: Arc::clone(&metrics) }).await?;
    let election = elected.then(|| Election::new(&client, &config.election.lease_name, terms, Arc::clone(&leadership)));
    // Each once: two watches of one namespace would contradict each other.
    let named: BTreeSet<&String> = config.namespaces.iter().collect();
    let scopes: Vec<Scope> = if named.is_empty() { vec![None] } else { named.into_iter().cloned().map(Some).collect() };
    let settings = Settings {
        agent_image: config.agent_image.clone(),
        tools_image: config.tools_image.clone(),
        jobs: config.jobs.clone(),
    };
    let ([guard, stamp], keep_guards) = guards(&client)?;
    let mut first_judged = [guard.clone(), stamp.clone()];
    let (shared, database_lanes) = databases::lanes((&client, &leadership, &metrics), &scopes, &settings);
    let parts = Parts { client, leadership, metrics, guard, stamp, settings };
    let (context, release_lanes) = lanes(parts, &scopes);
    let server = crate::http::serve(config.listen, context, shared);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?config.namespaces, elected, "started");
    let (release_lanes, ends): (Vec<_>, Vec<_>) = release_lanes.into_iter().unzip();
    let (writers, woken): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let guarding = async {
        tokio::join!(keep_guards, async {
            for judged in &mut first_judged {
                // A sender that is gone has ended the program.
                let _ = judged.changed().await;
            }
            release_lanes.iter().for_each(|lane| lane.lists.read_one());
        })
    };
    let watching = join_all(release_lanes.iter().zip(writers).map(|(lane, writer)| lane.watch(writer)));
    let working = async {
        let releases = join_all(release_lanes.iter().zip(woken).map(|(lane, woken)| lane.work(woken, &stop)));
        let databases = join_all(database_lanes.into_iter().map(|lane| lane.run(&stop)));
        tokio::join!(releases, databases)
    };
    tokio::select! {
        _ = watching => Ok(()),
        _ = guarding => Ok(()),
        () = until_over(working, &stop, election) => Ok(()),
        served = server => served,
    }
}

/// Turns true once the process is told to end.
fn stop_on_signal() -> Result<Stop, Error> {
    let unusable = |error: std::io::Error| Error::Config(format!("signals cannot be waited for: {error}"));
    let mut terminated = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(unusable)?;
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        told.send_replace(true);
    });
    Ok(stop)
}

/// Works until the process is told to end and what has begun is finished; only then gives the lease back, because the
/// next leader begins at once.
async fn until_over<T>(working: impl Future<Output = T>, stop: &Stop, election: Option<Election>) {
    let drained = async {
        let late = async {
            stopped(stop).await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            _ = working => {}
            () = late => tracing::warn!("what had begun is not finished in time and is left to the next leader"),
        }
    };
    let Some(election) = election else { return drained.await };
    let (done, over) = oneshot::channel::<()>();
    let drained = async move {
        drained.await;
        drop(done);
    };
    let over = async {
        // The other end is dropped, never used.
        let _ = over.await;
    };
    tokio::join!(drained, election.run(over));
}

/// Whether the admission policies guard Decisions, and whether they stamp Releases.
type Judged = [watch::Receiver<Guard>; 2];

/// Returns whether the admission policies guard and stamp, and what keeps both up to date.
fn guards(client: &Client) -> Result<(Judged, impl Future + use<>), Error> {
    let (judged, guard) = watch::channel(not_looked_yet());
    let (judged_stamp, stamp) = watch::channel(not_looked_yet());
    let keep_guard = decision::keep(client.clone(), decision::required()?, judged);
    let keep_stamp = decision::keep(client.clone(), decision::stamping()?, judged_stamp);
    Ok(([guard, stamp], futures::future::join(keep_guard, keep_stamp)))
}

/// Makes a client whose calls are tried once: each of ours has its own deadline and its own way to repeat. What writes
/// is asked whether this process leads.
async fn client(wire: Wire) -> Result<Client, Error> {
    let config_error = |error: &dyn std::fmt::Display| Error::Config(error.to_string());
    let mut config = kube::Config::infer().await.map_err(|error| config_error(&error))?;
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).map_err(|error| config_error(&error))?;
    Ok(builder.with_layer(&wire).build())
}
