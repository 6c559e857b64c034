//! What is measured, for Prometheus.
//!
//! What has happened is counted here as it happens; what stands is counted when somebody asks ([`standing`]), so that
//! nothing is told of what is gone. Labels are bounded: kinds, verbs, codes, steps and reasons are ours and few, namespaces
//! and databases are as many as people make. No label holds the name of a Release, a pod or a Job.

pub mod standing;

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of reconcile durations and of ways back, in seconds.
const MOMENTS: [f64; 12] = [0.001, 0.003, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0, 30.0];
/// Upper bounds of the durations of steps, in seconds.
const STEPS: [f64; 11] = [0.1, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];

/// Histograms by some label.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of what happens, and their registry.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Counter>,
    seconds: Histograms<Kind>,
    steps: Histograms<StepLabel>,
    way_back: Histogram,
    decisions: Family<DecisionLabel, Counter>,
    requests: Family<Request, Counter>,
    watch_failures: Family<Kind, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconcile {
    kind: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabel {
    decision: &'static str,
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    code: String,
}

fn moments() -> Histogram {
    Histogram::new(MOMENTS)
}

fn steps() -> Histogram {
    Histogram::new(STEPS)
}

impl Default for Metrics {
    fn default() -> Self {
        let all = Self {
            registry: Registry::with_prefix("switchback"),
            reconciles: Family::default(),
            seconds: Family::new_with_constructor(moments),
            steps: Family::new_with_constructor(steps),
            way_back: moments(),
            decisions: Family::default(),
            requests: Family::default(),
            watch_failures: Family::default(),
        };
        all.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("reconciles", "Reconciles by kind and result", self.reconciles.clone());
        let help = "How long one reconcile took, waiting for its turn not counted";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, self.seconds.clone());
        let help = "How long a step of a release took that has ended";
        registry.register_with_unit("step_duration", help, Unit::Seconds, self.steps.clone());
        let help = "From the arrival of the event that ended it to the answer to the patch that moved traffic back";
        registry.register_with_unit("way_back", help, Unit::Seconds, self.way_back.clone());
        registry.register("decisions", "Decisions that something became of", self.decisions.clone());
        registry.register("api_requests", "Requests to the API server by verb and answer", self.requests.clone());
        let help = "Failures of watches; each is tried again";
        registry.register("watch_failures", help, self.watch_failures.clone());
        self
    }

    /// Counts one reconcile.
    pub fn reconciled(&self, kind: &str, success: bool, took: Duration) {
        let (kind, result) = (kind.to_owned(), if success { "success" } else { "error" });
        self.reconciles.get_or_create(&Reconcile { kind: kind.clone(), result }).inc();
        self.seconds.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// Counts one that panicked: what it would have counted at its end is lost with it, how long it took included.
    pub fn panicked(&self, kind: &str) {
        self.reconciles.get_or_create(&Reconcile { kind: kind.to_owned(), result: "panic" }).inc();
    }

    /// Counts a step that has ended.
    pub fn step_ended(&self, step: &'static str, took: Duration) {
        self.steps.get_or_create(&StepLabel { step }).observe(took.as_secs_f64());
    }

    /// Counts a way back.
    pub fn went_back(&self, took: Duration) {
        self.way_back.observe(took.as_secs_f64());
    }

    /// Counts what became of a Decision.
    pub fn decided(&self, decision: &'static str, state: &str) {
        self.decisions.get_or_create(&DecisionLabel { decision, state: state.to_owned() }).inc();
    }

    /// Counts a request; without a code when there was no answer.
    pub fn requested(&self, verb: &'static str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&Request { verb, code }).inc();
    }

    /// Counts a failure of a watch.
    pub fn watch_failed(&self, kind: &str) {
        self.watch_failures.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Returns all metrics as OpenMetrics text, with what stands beside what has happened.
    #[must_use]
    pub fn encode(&self, standing: &Registry) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode_registry(&mut out, &self.registry)
            .and_then(|()| text::encode_registry(&mut out, standing))
            .and_then(|()| text::encode_eof(&mut out));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_is_told_with_bounded_labels() {
        let metrics = Metrics::default();
        metrics.reconciled("Release", true, Duration::from_millis(2));
        metrics.step_ended("Deploy", Duration::from_secs(20));
        metrics.went_back(Duration::from_millis(12));
        metrics.decided("approve", "Used");
        metrics.requested("patch", Some(409));
        metrics.requested("get", None);
        metrics.watch_failed("Pod");
        let text = metrics.encode(&Registry::default());
        for line in [
            r#"switchback_reconciles_total{kind="Release",result="success"} 1"#,
            r#"switchback_reconcile_duration_seconds_count{kind="Release"} 1"#,
            r#"switchback_step_duration_seconds_bucket{le="60.0",step="Deploy"} 1"#,
            r#"switchback_way_back_seconds_bucket{le="0.025"} 1"#,
            r#"switchback_decisions_total{decision="approve",state="Used"} 1"#,
            r#"switchback_api_requests_total{verb="patch",code="409"} 1"#,
            r#"switchback_api_requests_total{verb="get",code="none"} 1"#,
            r#"switchback_watch_failures_total{kind="Pod"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
