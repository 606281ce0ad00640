//! Which calls the API server gets: Pods that ended are made again on the same claim, Pods that are
//! going are never forced.

use std::sync::Arc;

use http::{Method, Request, Response};
use kube::client::Body;
use kube::runtime::events::Reporter;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::tests::{member, now, settled, status, validated};
use super::*;
use crate::api::RetentionPolicy;
use crate::operator::plan::plan;
use crate::operator::validate::validate;

/// An API server that holds some objects, agrees to every write and makes none.
struct Api {
    found: Found,
    /// Each write: method, path, body.
    writes: Arc<Mutex<Vec<(Method, String, Value)>>>,
}

impl Api {
    /// A settled cluster, with the Pod of db-1 changed.
    fn with(change: impl FnOnce(&mut Pod)) -> Api {
        let mut found = settled().0;
        found.cluster.metadata.namespace = Some("prod".into());
        for (name, pod) in &mut found.pods {
            pod.metadata.uid = Some(format!("uid-of-{name}"));
        }
        change(found.pods.get_mut(&member(1)).expect("it is there"));
        Api { found, writes: Arc::default() }
    }

    fn place(&self) -> Kubernetes {
        let (found, writes) = (self.found.clone(), self.writes.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (found, writes) = (found.clone(), writes.clone());
            async move {
                let (head, body) = request.into_parts();
                let path = head.uri.path().to_owned();
                let body = body.collect_bytes().await?;
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let answer = match head.method {
                    Method::GET => read(&found, &path),
                    method => {
                        writes.lock().push((method, path, body.clone()));
                        body
                    }
                };
                Ok::<_, kube::Error>(Response::new(Body::from(answer.to_string().into_bytes())))
            }
        });
        let client = Client::new(service, "prod");
        let reporter = Reporter { controller: "test".into(), instance: None };
        let recorder = Recorder::new(client.clone(), reporter);
        let image = Image { name: "kvorum:1".into(), pull_policy: "Never".into() };
        Kubernetes::new(client, "prod", "db", image, recorder)
    }

    /// What a pass plans and writes, no member answering.
    fn pass(&self) -> (Step, Vec<(Method, String, Value)>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let place = self.place();
            let (observed, found) = place.observe().await.expect("all can be read");
            let validated = validate(&observed).expect("the spec is valid");
            let plan = plan(&validated, &observed, &[]);
            place.perform(&plan.step, &validated, &observed, &found).await.expect("it is performed");
            (plan.step, self.writes.lock().clone())
        })
    }

    /// What is written when these steps are asked for all the same.
    fn perform(&self, step: &Step) -> Vec<(Method, String, Value)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let place = self.place();
            let (observed, found) = place.observe().await.expect("all can be read");
            place.perform(step, &validated(), &observed, &found).await.expect("it is performed");
            self.writes.lock().clone()
        })
    }
}

fn read(found: &Found, path: &str) -> Value {
    let list = |items: Value| json!({ "metadata": {}, "items": items });
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "pods" => list(json!(found.pods.values().collect::<Vec<_>>())),
        "persistentvolumeclaims" => list(json!(found.claims.values().collect::<Vec<_>>())),
        "services" => list(json!(found.services.values().collect::<Vec<_>>())),
        "poddisruptionbudgets" => list(json!(found.budgets.values().collect::<Vec<_>>())),
        _ => json!(found.cluster),
    }
}

/// The claims are marked as a formed cluster's, so that nobody forms it anew.
fn formed(mut api: Api) -> Api {
    for claim in api.found.claims.values_mut() {
        let annotations = claim.metadata.annotations.get_or_insert_default();
        annotations.insert("kvorum.dev/cluster-id".into(), "c1".into());
    }
    api
}

#[test]
fn a_pod_that_ended_is_made_again_on_the_same_claim() {
    for phase in ["Failed", "Succeeded"] {
        let api = formed(Api::with(|pod| pod.status = Some(status(phase, None))));
        let (step, writes) = api.pass();
        assert_eq!(step.to_string(), "start db-1", "{phase}");
        let calls: Vec<_> = writes.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
        let expected = ["DELETE /api/v1/namespaces/prod/pods/db-1", "POST /api/v1/namespaces/prod/pods"];
        assert_eq!(calls, expected, "the claim is not touched");
        // The Pod that goes is this very one, and it is not forced.
        assert_eq!(writes[0].2["preconditions"]["uid"], "uid-of-db-1");
        assert!(writes[0].2.get("gracePeriodSeconds").is_none(), "{}", writes[0].2);
        assert_eq!(writes[1].2["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "db-1");
    }
}

#[test]
fn a_pod_that_is_stuck_terminating_is_never_forced() {
    for phase in ["Running", "Failed", "Unknown", "Pending"] {
        let api = formed(Api::with(|pod| {
            pod.metadata.deletion_timestamp = Some(now());
            pod.status = Some(status(phase, None));
        }));
        let (step, writes) = api.pass();
        assert_eq!((step, writes), (Step::Nothing, Vec::new()), "{phase}");
        for step in [Step::Stop { member: member(1) }, Step::Dismantle { policy: RetentionPolicy::Delete }] {
            let writes = api.perform(&step);
            let touched = writes.iter().any(|(_, path, _)| path.ends_with("pods/db-1"));
            assert!(!touched, "{phase}, {step}: {writes:?}");
        }
    }
}
