//! `kubectl switchback logs`: what the containers of a Release say, line by line, each with where it comes from.
//!
//! Which of them is the affair of `choose`. Lines are text of others: what a terminal would act upon is written out.

mod choose;

use std::{io, pin::Pin};

use clap::{Args as ClapArgs, builder::PossibleValuesParser, builder::TypedValueParser as _};
use futures::{
    AsyncBufRead, AsyncBufReadExt as _, Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, LogParams},
};

use super::{
    connection::Cluster,
    harmless, look,
    problem::{Exit, Problem},
    show::print,
};
use crate::api::{
    DatabaseBackup, Step,
    labels::{BACKUP_UID, RELEASE_UID},
};
use choose::{STEPS, Source, Wanted, choose};

/// How many lines of each container are shown unless the caller says otherwise.
const LINES: &str = "200";
/// How much of one line is shown at once: a container may print without end and without a line break.
const LINE_BYTES: usize = 16 * 1024;
/// How many containers are followed at once: each is a connection to the API server.
const MOST_FOLLOWED: usize = 32;

/// Shows the logs of what is under way or has failed; when nothing is, of what serves.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Name of the Release
    pub name: String,
    /// Of what a step runs
    #[arg(long, value_name = "STEP", ignore_case = true, value_parser = step_parser(), conflicts_with_all = ["job", "active", "candidate"])]
    pub step: Option<Step>,
    /// Of the pods of one Job
    #[arg(long, value_name = "NAME", conflicts_with_all = ["active", "candidate"])]
    pub job: Option<String>,
    /// Of the version that traffic goes back to
    #[arg(long, conflicts_with = "candidate")]
    pub active: bool,
    /// Of the version on its way
    #[arg(long)]
    pub candidate: bool,
    /// Go on until every container has ended, or you interrupt
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines of each container; -1 for all
    #[arg(long, value_name = "LINES", default_value = LINES, allow_hyphen_values = true)]
    pub tail: i64,
}

fn step_parser() -> impl clap::builder::TypedValueParser<Value = Step> {
    let names = STEPS.iter().map(|step| step.as_str());
    PossibleValuesParser::new(names).map(|name| {
        let named = STEPS.iter().find(|step| step.as_str().eq_ignore_ascii_case(&name));
        named.copied().unwrap_or_default()
    })
}

impl Args {
    fn wanted(&self) -> Wanted<'_> {
        match (self.step, &self.job) {
            (Some(step), _) => Wanted::Step(step),
            (None, Some(job)) => Wanted::Job(job),
            (None, None) if self.active => Wanted::Active,
            (None, None) if self.candidate => Wanted::Candidate,
            (None, None) => Wanted::UnderWay,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When there is nothing to show, or nothing of it could be read.
pub async fn run(cluster: &Cluster, args: &Args) -> Result<Exit, Problem> {
    let release = look::release(cluster, &args.name).await?;
    let pods = pods(cluster, &release.uid().unwrap_or_default()).await?;
    let chosen = choose(&release, &pods, &args.wanted())?;
    if args.follow && chosen.sources.len() > MOST_FOLLOWED {
        let why = format!("that are {} containers, and at most {MOST_FOLLOWED} are followed", chosen.sources.len());
        let what = format!("cannot follow the logs of Release {}/{}", cluster.namespace, args.name);
        return Err(Problem::new(Exit::Usage, what, why).next("name one Job with --job, or take kubectl logs -f"));
    }
    // Standard output is for the lines alone.
    eprintln!("{}", harmless::text(&chosen.says));
    for pod in &chosen.silent {
        eprintln!("{}", harmless::text(pod));
    }
    let logs = chosen.sources.into_iter().map(|source| log(cluster, source, args));
    let lines = if args.follow { stream::select_all(logs).boxed() } else { stream::iter(logs).flatten().boxed() };
    show(lines).await
}

/// Reads the pods of a Release, and those of the backups that it took.
async fn pods(cluster: &Cluster, uid: &str) -> Result<Vec<core::Pod>, Problem> {
    let of_release = ListParams::default().labels(&format!("{RELEASE_UID}={uid}"));
    let api: Api<core::Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = format!("pods of this Release in namespace {}", cluster.namespace);
    let mut found = cluster.ask("list", &what, api.list(&of_release)).await?.items;
    // Their Jobs belong to them and not to the Release. Who may not read backups does not see them.
    let backups: Api<DatabaseBackup> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = format!("backups of this Release in namespace {}", cluster.namespace);
    let backups = cluster.ask("list", &what, backups.list(&of_release)).await.map(|list| list.items);
    let uids: Vec<String> = backups.into_iter().flatten().filter_map(|backup| backup.uid()).collect();
    if !uids.is_empty() {
        let of_backups = ListParams::default().labels(&format!("{BACKUP_UID} in ({})", uids.join(",")));
        let what = format!("pods of its backups in namespace {}", cluster.namespace);
        found.extend(cluster.ask("list", &what, api.list(&of_backups)).await?.items);
    }
    Ok(found.into_iter().map(harmless::object).collect())
}

/// Prints lines as they come. What could not be read is told; it keeps the others from nobody.
async fn show(mut lines: BoxStream<'_, Result<String, Problem>>) -> Result<Exit, Problem> {
    let mut shown = false;
    let mut failed = None;
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                print(&line)?;
                shown = true;
            }
            Err(problem) => {
                if let Some(before) = failed.replace(problem) {
                    eprintln!("{before}");
                }
            }
        }
    }
    match failed {
        Some(problem) if !shown => Err(problem),
        Some(problem) => {
            eprintln!("{problem}");
            Ok(Exit::Reached)
        }
        None => Ok(Exit::Reached),
    }
}

fn log(cluster: &Cluster, source: Source, args: &Args) -> BoxStream<'static, Result<String, Problem>> {
    let cluster = cluster.clone();
    let params = LogParams {
        container: Some(source.container.clone()),
        follow: args.follow && !source.previous,
        previous: source.previous,
        tail_lines: (args.tail >= 0).then_some(args.tail),
        ..LogParams::default()
    };
    let opened = async move {
        let api: Api<core::Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let what = format!("log of container {} of pod {}/{}", source.container, cluster.namespace, source.pod);
        let reader = cluster.ask("read", &what, api.log_stream(&source.pod, &params)).await?;
        let prefix = format!("[{}/{}] ", source.pod, source.container);
        let broken = move |error: io::Error| {
            Problem::new(Exit::Failed, format!("cannot go on with the {what}"), error.to_string())
        };
        Ok::<_, Problem>(lines(Box::pin(reader), prefix).map_err(broken))
    };
    stream::once(opened).try_flatten().boxed()
}

/// Returns the lines of a log, harmless and with their prefix.
fn lines<R: AsyncBufRead + Send>(reader: Pin<Box<R>>, prefix: String) -> impl Stream<Item = io::Result<String>> + Send {
    stream::try_unfold((reader, prefix), |(mut reader, prefix)| async move {
        let line = line(&mut reader).await?;
        Ok(line.map(|line| {
            let text = harmless::text(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            (format!("{prefix}{text}\n"), (reader, prefix))
        }))
    })
}

/// Reads to the end of a line, or as far as one may go; nothing at the end.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let room = LINE_BYTES - line.len();
        let end = available.iter().take(room).position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or_else(|| available.len().min(room));
        line.extend(available.iter().take(taken));
        reader.consume_unpin(taken);
        if end.is_some() || line.len() == LINE_BYTES {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    async fn read(bytes: &[u8]) -> Vec<String> {
        let reader = Box::pin(Cursor::new(bytes.to_vec()));
        lines(reader, "[web-1/web] ".to_owned()).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn input_54_what_containers_print_is_shown_harmless_and_in_pieces() {
        assert_eq!(read(b"one\r\n\ntwo").await, ["[web-1/web] one\n", "[web-1/web] \n", "[web-1/web] two\n"]);
        assert_eq!(read(b"\x1b[2Jgone\xff\n").await, ["[web-1/web] \\u{1b}[2Jgone\u{fffd}\n"]);
        assert!(read(b"").await.is_empty());
        let endless = read(&b"x".repeat(3 * LINE_BYTES + 1)).await;
        let lengths: Vec<usize> = endless.iter().map(|line| line.trim_end().len() - "[web-1/web] ".len()).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, LINE_BYTES, 1]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_hides_no_other_log() {
        let gone = || Err(Problem::new(Exit::NotFoundOrForbidden, "cannot read a log", "the pod is gone"));
        let line = || Ok(String::new());
        assert_eq!(show(stream::iter([gone(), line()]).boxed()).await, Ok(Exit::Reached));
        assert_eq!(show(stream::iter([gone(), gone()]).boxed()).await, Err(gone().unwrap_err()));
        assert_eq!(show(stream::iter([]).boxed()).await, Ok(Exit::Reached));
    }
}
