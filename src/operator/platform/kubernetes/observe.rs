//! From live objects to what the planner may know.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod, PodStatus};
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{Found, Kubernetes, failed};
use crate::api::KvorumCluster;
use crate::operator::build::{SETTINGS, addressing, led_away_since, mark_of, selector};
use crate::operator::names::{CLIENT_PORT, MemberName, REPLACE};
use crate::operator::observed::{Disk, DiskState, Identity, Observed, Process, ProcessState};
use crate::operator::platform::PlatformError;
use crate::operator::settings::Settings;

/// Why a container that waits will not come to run by itself.
const HOPELESS: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];

impl Kubernetes {
    /// All objects of the cluster, or an error: what could not be read is not absent.
    pub(super) async fn look(&self) -> Result<Found, PlatformError> {
        let cluster = async {
            let api = self.api::<KvorumCluster>();
            api.get(&self.name).await.map_err(|error| failed("read the KvorumCluster", error))
        };
        let (cluster, pods, claims, services, budgets) = tokio::try_join!(
            cluster,
            self.list("list Pods"),
            self.list("list claims"),
            self.list("list Services"),
            self.list("list disruption budgets"),
        )?;
        Ok(Found {
            cluster,
            pods: self.by_member(pods),
            claims: self.by_member(claims),
            services: by_name(services),
            budgets: by_name(budgets),
        })
    }

    async fn list<K>(&self, doing: &str) -> Result<Vec<K>, PlatformError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels(&selector(&self.name));
        let list = self.api::<K>().list(&ours).await.map_err(|error| failed(doing, error))?;
        Ok(list.items)
    }

    /// What carries our label and is not named like a member was not made by us, and is not ours to judge.
    fn by_member<K: ResourceExt>(&self, objects: Vec<K>) -> BTreeMap<MemberName, K> {
        let named =
            objects.into_iter().map(|object| (MemberName::parse(&self.name, &object.name_any()), object));
        named.filter_map(|(name, object)| Some((name?, object))).collect()
    }
}

fn by_name<K: ResourceExt>(objects: Vec<K>) -> BTreeMap<String, K> {
    objects.into_iter().map(|object| (object.name_any(), object)).collect()
}

/// Everything but the members' answers.
pub(super) fn observed(found: &Found) -> Result<Observed, PlatformError> {
    let cluster = &found.cluster;
    let identity = Identity {
        name: cluster.name_any(),
        namespace: cluster.namespace().unwrap_or_default(),
        uid: cluster.uid().unwrap_or_default(),
    };
    let disks = found.claims.iter().map(|(name, claim)| Ok((name.clone(), disk(claim)?)));
    let processes = found.pods.iter().map(|(name, pod)| (name.clone(), process(pod, &identity.uid)));
    Ok(Observed {
        generation: cluster.metadata.generation.unwrap_or_default(),
        spec: cluster.spec.clone(),
        deleting: cluster.metadata.deletion_timestamp.is_some(),
        status: cluster.status.clone().unwrap_or_default(),
        now: jiff::Timestamp::now(),
        addressing: addressing(&identity.name, &identity.namespace),
        processes: processes.collect(),
        disks: disks.collect::<Result<_, PlatformError>>()?,
        objects_age: Duration::ZERO,
        asked_to_move: cluster
            .annotations()
            .get(REPLACE)
            .and_then(|name| MemberName::parse(&identity.name, name.trim())),
        answers: BTreeMap::new(),
        linked: None,
        cluster: identity,
    })
}

fn disk(claim: &PersistentVolumeClaim) -> Result<Disk, PlatformError> {
    let mark = mark_of(claim.annotations())
        .map_err(|error| PlatformError::new(format!("read the mark of claim {}", claim.name_any()), error))?;
    let leaving = claim.metadata.deletion_timestamp.is_some();
    Ok(Disk { state: if leaving { DiskState::Leaving } else { DiskState::Usable }, mark })
}

pub(super) fn process(pod: &Pod, owner: &str) -> Process {
    let settings = pod.annotations().get(SETTINGS).and_then(|text| Settings::parse(text).ok());
    let status = pod.status.clone().unwrap_or_default();
    let running = status.phase.as_deref() == Some("Running");
    Process {
        state: state(pod, &status, owner),
        settings: settings.unwrap_or_default(),
        ask_at: status.pod_ip.as_deref().filter(|_| running).map(client_url),
        ready: status.conditions.iter().flatten().any(|held| held.type_ == "Ready" && held.status == "True"),
        led_away_since: led_away_since(pod),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
    }
}

fn client_url(address: &str) -> String {
    if address.contains(':') {
        format!("http://[{address}]:{CLIENT_PORT}")
    } else {
        format!("http://{address}:{CLIENT_PORT}")
    }
}

/// Stopping comes first: a Pod that was told to go counts as going, even on a node that is dead,
/// until it is gone. Nobody but its node can say that it no longer writes to its disk.
fn state(pod: &Pod, status: &PodStatus, owner: &str) -> ProcessState {
    if pod.metadata.deletion_timestamp.is_some() || !belongs_to(pod, owner) {
        return ProcessState::Stopping;
    }
    let container = status.container_statuses.as_deref().unwrap_or_default().first();
    match status.phase.as_deref() {
        Some("Failed" | "Succeeded") => ProcessState::Ended { detail: ending(status, container) },
        Some("Running") => running(container),
        _ => starting(status, container),
    }
}

/// A Pod of an earlier resource of the same name is about to go with that one.
fn belongs_to(pod: &Pod, owner: &str) -> bool {
    pod.owner_references().iter().any(|reference| reference.uid == owner)
}

fn running(container: Option<&ContainerStatus>) -> ProcessState {
    let Some(state) = container.and_then(|container| container.state.as_ref()) else {
        return ProcessState::Starting { detail: "its container has no state yet".to_owned() };
    };
    if let Some(ended) = &state.terminated {
        return ProcessState::Failing {
            detail: format!("its container ended with exit code {}", ended.exit_code),
        };
    }
    match waiting(container) {
        Some((reason, detail)) if HOPELESS.contains(&reason) => ProcessState::Failing { detail },
        Some((_, detail)) => ProcessState::Starting { detail },
        None => ProcessState::Running,
    }
}

fn starting(status: &PodStatus, container: Option<&ContainerStatus>) -> ProcessState {
    match waiting(container) {
        Some((reason, detail)) if HOPELESS.contains(&reason) => ProcessState::Failing { detail },
        Some((_, detail)) => ProcessState::Starting { detail },
        None => {
            ProcessState::Starting { detail: unscheduled(status).unwrap_or("it has no node yet".to_owned()) }
        }
    }
}

/// The reason of a container that waits, and the same with its message.
fn waiting(container: Option<&ContainerStatus>) -> Option<(&str, String)> {
    let waiting = container?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("waiting");
    let detail = match &waiting.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    Some((reason, detail))
}

fn unscheduled(status: &PodStatus) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let told = conditions.filter(|held| held.type_ == "PodScheduled" && held.status == "False");
    told.filter_map(|held| held.message.clone()).next()
}

fn ending(status: &PodStatus, container: Option<&ContainerStatus>) -> String {
    if let Some(message) = status.message.as_ref().or(status.reason.as_ref()) {
        return message.clone();
    }
    let ended = container.and_then(|container| container.state.as_ref()?.terminated.as_ref());
    match ended {
        Some(ended) => format!("its container ended with exit code {}", ended.exit_code),
        None => "its Pod ended".to_owned(),
    }
}
