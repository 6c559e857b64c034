//! Events: what is told once, on the object it concerns. A lost event is logged, never an error.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

/// Publishes events.
#[derive(Clone)]
pub struct Announcer(Recorder);

impl Announcer {
    /// Makes an announcer that speaks in the operator's name.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "switchback".to_owned(), instance: None };
        Self(Recorder::new(client, reporter))
    }

    /// Tells one thing about one object.
    pub async fn tell(&self, about: &ObjectReference, warning: bool, (reason, action, note): (&str, &str, &str)) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            note: Some(note.to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        let published = super::calls::call("publish an event about", reason, self.0.publish(&event, about)).await;
        if let Err(error) = published {
            tracing::warn!(%error, "an event is lost");
        }
    }
}
