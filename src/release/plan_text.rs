//! The plan of a Release in words, for everything that shows it; pure.
//!
//! In: the plan as status holds it. Out: headed lines without any layout, so that a terminal, a page and a
//! message can each lay them out their own way.

use crate::api::{Duration, PlanRecord, RehearsalFindings, Scope, Step, WayBackPoint};

/// Heading of what is still missing.
pub const UNMET: &str = "Unmet";

/// Some lines under a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What stands under it.
    pub lines: Vec<Line>,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The step it is about.
    pub step: Option<Step>,
    /// What it begins with; empty for a line without one.
    pub head: String,
    /// What it says.
    pub text: String,
}

/// Returns the whole plan: steps, the way back after each, risks, what is unmet. Sections without a line are
/// left out, but for risks: that none is known is worth a line.
#[must_use]
pub fn sections(plan: &PlanRecord) -> Vec<Section> {
    let steps = plan.steps.iter().enumerate().map(|(index, planned)| Line {
        step: Some(planned.step),
        head: format!("{} {}", index + 1, planned.step.as_str()),
        text: format!("{}{}", planned.does, planned.expected.map(last_time).unwrap_or_default()),
    });
    // After several steps in a row it may be the same.
    let back = plan.way_back.chunk_by(|one, next| (one.scope, &one.loses) == (next.scope, &next.loses));
    let back = back.filter_map(|same| {
        let steps: Vec<&str> = same.iter().map(|point| point.after.as_str()).collect();
        let point = same.first()?;
        Some(Line { step: Some(point.after), head: format!("after {}", steps.join(", ")), text: way_back(point) })
    });
    let mut risks: Vec<Line> = plan.risks.iter().map(|risk| plain(risk)).collect();
    if risks.is_empty() {
        risks.push(plain("None is known."));
    }
    let sections = [
        Section { title: "Steps", lines: steps.collect() },
        Section { title: "Way back", lines: back.collect() },
        Section { title: "Point of no return", lines: vec![plain(&no_return(plan))] },
        Section { title: "Risks", lines: risks },
        Section { title: UNMET, lines: plan.unmet.iter().map(|unmet| plain(unmet)).collect() },
    ];
    sections.into_iter().filter(|section| !section.lines.is_empty()).collect()
}

/// Returns the plan in part of a sentence, for conditions and events: its steps, how far it can be taken back, whether
/// there is a risk to read about.
#[must_use]
pub fn brief(plan: &PlanRecord) -> String {
    let back = point_of_no_return(plan).map_or_else(
        || "every step can be taken back".to_owned(),
        |point| format!("no way back after {}", point.after.as_str()),
    );
    let risks = match plan.risks.len() {
        0 => "no risk is known".to_owned(),
        1 => "1 risk is known".to_owned(),
        count => format!("{count} risks are known"),
    };
    format!("{}; {back}; {risks}", step_names(plan))
}

/// Returns the plan in a few lines, for whoever is about to approve it.
#[must_use]
pub fn short(plan: &PlanRecord) -> Vec<Line> {
    let headed = |head: &str, text: String| Line { step: None, head: head.to_owned(), text };
    let known =
        plan.steps.iter().filter_map(|planned| planned.expected).map(Duration::as_std).sum::<std::time::Duration>();
    let millis = u64::try_from(known.as_millis()).unwrap_or(u64::MAX);
    let took = Some(Duration::from_millis(millis)).filter(|_| millis > 0).map(last_time).unwrap_or_default();
    let mut lines = vec![headed("Steps", format!("{}.{took}", step_names(plan)))];
    // What is done to the database, what runs and what decides about its fate: in these a plan differs from the last one.
    let of = |step| plan.steps.iter().find(move |planned| planned.step == step);
    let shown = [Step::Backup, Step::Rehearse, Step::Migrate, Step::Deploy, Step::Watch];
    lines.extend(shown.into_iter().filter_map(of).map(|planned| headed(planned.step.as_str(), planned.does.clone())));
    // What is lost when it goes back by itself.
    let watched = plan.way_back.iter().find(|point| point.after == Step::Watch);
    lines.extend(watched.map(|point| headed("Way back", way_back(point))));
    lines.push(headed("No return", no_return(plan)));
    lines.extend(plan.risks.iter().map(|risk| headed("Risk", risk.clone())));
    lines
}

/// Returns the first step after which there is no way back by itself.
#[must_use]
pub fn point_of_no_return(plan: &PlanRecord) -> Option<&WayBackPoint> {
    plan.way_back.iter().find(|point| point.scope == Scope::ForwardOnly)
}

/// Says what a rehearsal has shown.
#[must_use]
pub fn rehearsed(findings: &RehearsalFindings) -> String {
    let RehearsalFindings { took, files, locks, rewritten, rows, changes, down, .. } = findings;
    let mut said = vec![format!("the migration took {took}, changed {changes} objects of the schema and {rows} rows")];
    if let (Some(slowest), true) = (files.first(), files.len() > 1) {
        said.push(format!("{} took longest, {}", slowest.name, slowest.took));
    }
    let held: Vec<String> =
        locks.iter().map(|lock| format!("{} on {} for {}", lock.mode, lock.table, lock.held)).collect();
    said.push(if held.is_empty() {
        "no lock was seen to be held for long".to_owned()
    } else {
        format!("held {}", held.join(", "))
    });
    if !rewritten.is_empty() {
        said.push(format!("rewrote {}", rewritten.join(", ")));
    }
    let taken: Vec<String> = findings
        .takes
        .iter()
        .map(|taken| {
            taken.column.as_ref().map_or_else(|| taken.table.clone(), |column| format!("{}.{column}", taken.table))
        })
        .collect();
    let more = if findings.takes_more { " and more" } else { "" };
    let with = if taken.is_empty() { String::new() } else { format!(" and takes {}{more} with it", taken.join(", ")) };
    said.extend(down.map(|took| format!("taking it back took {took}{with}")));
    said.join("; ")
}

/// Returns a size in the unit that people read.
#[must_use]
pub fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10_000 && unit + 1 < UNITS.len() {
        value /= 1000;
        unit += 1;
    }
    format!("{value} {}", UNITS.get(unit).unwrap_or(&"B"))
}

fn step_names(plan: &PlanRecord) -> String {
    let steps: Vec<&str> = plan.steps.iter().map(|planned| planned.step.as_str()).collect();
    steps.join(", ")
}

fn no_return(plan: &PlanRecord) -> String {
    point_of_no_return(plan).map_or_else(
        || "There is none: every step can be taken back.".to_owned(),
        |point| format!("The end of {}: {}.", point.after.as_str(), point.loses),
    )
}

fn way_back(point: &WayBackPoint) -> String {
    match point.scope {
        Scope::Full => format!("Everything comes back. Lost: {}.", point.loses),
        Scope::WithLoss => {
            format!("Traffic comes back, the data once people approve what is lost. Lost: {}.", point.loses)
        }
        Scope::ForwardOnly => format!("Only forward: {}.", point.loses),
    }
}

/// Says how long something took, in the unit that people read.
fn last_time(took: Duration) -> String {
    let millis = u64::try_from(took.as_std().as_millis()).unwrap_or(u64::MAX);
    let read = if millis < 10_000 { took } else { Duration::from_secs(millis.div_ceil(1000)) };
    format!(" Took {read} last time.")
}

fn plain(text: &str) -> Line {
    Line { step: None, head: String::new(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_in_the_unit_that_people_read() {
        let sizes = [0, 7_300_000, 41_000_000_000, i64::MAX].map(super::size);
        assert_eq!(sizes, ["0 B", "7300 kB", "41 GB", "9223372 TB"]);
    }
}
