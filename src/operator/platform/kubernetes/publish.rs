//! Makes known what a pass came to: the status, only when it changed, and an event.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use serde_json::json;

use super::{Kubernetes, failed};
use crate::api::{GROUP, KvorumCluster, VERSION};
use crate::operator::build::FIELD_MANAGER;
use crate::operator::observed::{Identity, Observed};
use crate::operator::platform::{self, PlatformError, Report};
use crate::operator::reconcile::chain;

/// Kubernetes takes no longer note.
const NOTE_BYTES_MAX: usize = 1000;

pub(super) async fn publish(
    place: &Kubernetes,
    report: &Report,
    observed: &Observed,
) -> Result<(), PlatformError> {
    if report.status != observed.status {
        let patch = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "KvorumCluster",
            // The identity: a resource made again under this name has a history of its own.
            "metadata": { "name": observed.cluster.name, "uid": observed.cluster.uid },
            "status": report.status,
        });
        let ours = PatchParams::apply(FIELD_MANAGER).force();
        let answer =
            place.api::<KvorumCluster>().patch_status(&place.name, &ours, &Patch::Apply(&patch)).await;
        answer.map_err(|error| failed("write the status", error))?;
    }
    if let Some(event) = &report.event {
        let sent = place.recorder.publish(&record(event), &reference(&observed.cluster)).await;
        // History is for people; the cluster does not wait for it.
        if let Err(error) = sent {
            let error = failed("record an event", error);
            tracing::warn!(error = chain(&error), reason = event.reason, "event not recorded");
        }
    }
    place.let_go(observed).await
}

fn record(event: &platform::Event) -> Event {
    let mut note = event.note.clone();
    while note.len() > NOTE_BYTES_MAX {
        note.pop();
    }
    Event {
        type_: if event.warning { EventType::Warning } else { EventType::Normal },
        reason: event.reason.clone(),
        note: Some(note),
        action: event.reason.clone(),
        secondary: None,
    }
}

fn reference(cluster: &Identity) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{GROUP}/{VERSION}")),
        kind: Some("KvorumCluster".to_owned()),
        name: Some(cluster.name.clone()),
        namespace: Some(cluster.namespace.clone()),
        uid: Some(cluster.uid.clone()),
        ..ObjectReference::default()
    }
}
