//! What is measured, for Prometheus. Labels are bounded: no names of objects.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds of reconcile durations, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// The metrics and their registry.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    seconds: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("switchback");
        let reconciles = Family::<Outcome, Counter>::default();
        let seconds = Histogram::new(SECONDS);
        registry.register("reconciles", "Reconciles by result", reconciles.clone());
        registry.register("reconcile_duration_seconds", "How long one reconcile took", seconds.clone());
        Self { registry, reconciles, seconds }
    }
}

impl Metrics {
    /// Counts one reconcile.
    pub fn reconciled(&self, success: bool, took: Duration) {
        let result = if success { "success" } else { "error" };
        self.reconciles.get_or_create(&Outcome { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Returns all metrics as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
