//! `kubectl switchback plan`: what will happen, what could go wrong, and the way back after each step.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};

use super::{
    connection::{Cluster, Flags, connect},
    file,
    gate::GateArg,
    look,
    problem::{Exit, Problem},
    show::{json, print, yaml},
    style::Style,
    view::{PlanView, Standing, State, Summary},
};
use crate::{
    api::{Gate, Release, Step},
    clock,
    release::plan_text::{self, Line, Section},
};

/// Shows the plan of a Release: its steps, risks, the way back after each step and what it loses.
#[derive(Debug, ClapArgs)]
#[command(group(ArgGroup::new("what").args(["name", "file"]).required(true)))]
pub struct Args {
    /// Name of the Release whose plan waits or runs
    pub name: Option<String>,
    /// Which of the plans that may wait; without: that of a release, or else of a Contract migration
    #[arg(long, value_name = "GATE", requires = "name")]
    pub gate: Option<GateArg>,
    /// File with a Release, to see what applying it would do; - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Ask no cluster: the file is not validated, and nothing is known of what serves now
    #[arg(long, requires = "file")]
    pub offline: bool,
    /// Form of the output
    #[arg(short, long, value_name = "FORM")]
    pub output: Option<Output>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// JSON, `apiVersion: view.switchback.dev/v1`
    Json,
    /// The same as YAML
    Yaml,
}

/// Runs the command.
///
/// # Errors
/// When there is no plan, the file is refused, or something cannot be read.
pub async fn run(flags: &Flags, args: &Args) -> Result<Exit, Problem> {
    let (view, warnings) = match (&args.name, &args.file) {
        (Some(name), _) => {
            let cluster = connect(flags).await?;
            let release = look::release(&cluster, name).await?;
            (of(&release, args.gate).ok_or_else(|| none(&cluster, &release))?, vec![])
        }
        (None, Some(path)) => {
            let forecast = file::forecast(flags, path, args.offline).await?;
            (forecast.view, forecast.warnings)
        }
        (None, None) => return Err(Problem::new(Exit::Usage, "cannot show a plan", "no Release and no file is named")),
    };
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    print(&match args.output {
        None => text(&view, Style::of_stdout()),
        Some(Output::Json) => json(&view)?,
        Some(Output::Yaml) => yaml(&view)?,
    })?;
    Ok(Exit::Reached)
}

/// Returns the plan that is asked for.
fn of(release: &Release, gate: Option<GateArg>) -> Option<PlanView> {
    let of_release = PlanView::of(release).filter(|view| gate.is_none_or(|gate| Gate::from(gate) == view.gate));
    let asked = |wanted: GateArg| gate.is_none_or(|gate| gate == wanted);
    // What waits for a word comes before what runs.
    let data_loss = PlanView::of_data_loss(release).filter(|_| asked(GateArg::DataLoss));
    let contract = || PlanView::of_contract(release).filter(|_| asked(GateArg::Contract));
    data_loss.or(of_release).or_else(contract)
}

/// Says why a Release has no plan.
pub(super) fn none(cluster: &Cluster, release: &Release) -> Problem {
    let summary = Summary::of(release, clock::now());
    let what = format!("there is no plan of Release {}/{}", cluster.namespace, summary.name);
    let why = format!("its step is {}, {}: {}", summary.step.name, summary.reason, summary.message);
    Problem::new(Exit::Failed, what, why.trim_end_matches('.'))
        .next(format!("kubectl switchback get {} -n {}", summary.name, summary.namespace))
}

/// Returns a plan as text.
#[must_use]
pub fn text(view: &PlanView, style: Style) -> String {
    let mut parts = vec![heads(view, style)];
    // What was unmet when the plan was made has been met by the time it runs.
    let met = |section: &Section| section.title == plan_text::UNMET && view.standing == Standing::Running;
    for section in plan_text::sections(&view.plan).into_iter().filter(|section| !met(section)) {
        parts.push(format!("{}\n{}", style.bold(section.title), lines(&section.lines, view.step, style)));
    }
    let next = match view.standing {
        Standing::Forecast => None,
        Standing::Waiting => Some(["approve", "reject"]),
        Standing::Running => Some(["get", "abort"]),
    };
    if let Some(verbs) = next {
        let option = if view.standing == Standing::Waiting { view.option() } else { "" };
        let command = |verb| format!("  kubectl switchback {verb} {}{option} -n {}", view.name, view.namespace);
        parts.push(format!("{}\n{}", style.bold("Next"), verbs.map(command).join("\n")));
    }
    format!("{}\n", parts.join("\n\n"))
}

fn heads(view: &PlanView, style: Style) -> String {
    let head = |name: &str, text: &str| style.hang(&format!("{name:<10}"), text);
    let plan = &view.plan;
    let place = if view.namespace.is_empty() { String::new() } else { format!(" in namespace {}", view.namespace) };
    let what = match view.gate {
        Gate::Release => view.version.clone(),
        Gate::Contract => format!("Contract migration of {}", view.version),
        Gate::DataLoss => format!("way back of the data from {}", view.version),
    };
    let subject = format!("{what} of Release {}{place}", view.name);
    let mut lines = vec![head("Plan", &subject), head("Revision", &plan.revision.to_string())];
    let standing = match (view.standing, view.step) {
        (Standing::Forecast, _) => {
            "a forecast by this plugin, not approved by anybody and not inspected in the cluster; the controller \
             makes the plan that counts, and its digest, when the file is applied"
        }
        (Standing::Waiting, _) => "waits for approval; nothing has happened yet",
        (Standing::Running, Some(step)) => &format!("runs; the step is {}", step.as_str()),
        (Standing::Running, None) => "runs",
    };
    if !plan.digest.is_empty() {
        lines.push(head("Digest", &plan.digest));
    }
    lines.push(head("Standing", standing));
    if let Some(source) = &view.source {
        let parts: Vec<&str> = [&source.repository, &source.commit].into_iter().flatten().map(String::as_str).collect();
        lines.push(head("Source", &parts.join(" at ")));
    }
    if let Some(notes) = &view.notes {
        lines.push(head("Notes", notes));
    }
    lines.join("\n")
}

/// Lays lines out in two columns, those of the step under way marked.
pub(super) fn lines(lines: &[Line], under_way: Option<Step>, style: Style) -> String {
    let width = lines.iter().map(|line| line.head.len()).max().unwrap_or(0);
    let one = |line: &Line| {
        if line.head.is_empty() {
            return style.hang("  - ", &line.text);
        }
        let here = line.step.is_some() && line.step == under_way && line.head.starts_with(|c: char| c.is_ascii_digit());
        let mark = if here { format!("{} ", style.icon(State::Moving)) } else { "  ".to_owned() };
        style.hang(&format!("{mark}{:<width$}  ", line.head), &line.text)
    };
    lines.iter().map(one).collect::<Vec<_>>().join("\n")
}
