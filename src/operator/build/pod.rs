//! The Pod of a member: restricted in every respect that Pod security knows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, HTTPGetAction, PersistentVolumeClaimVolumeSource, Pod,
    PodSecurityContext, PodSpec, Probe, SeccompProfile, SecurityContext, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{
    CLUSTER_LABEL, LEARNER, LEAVING, MEMBER_LABEL, ROLE_LABEL, VOTER, addressing, headless_name, labels,
    match_labels, owned,
};
use crate::operator::arguments::{Place, arguments};
use crate::operator::names::{CLIENT_PORT, PEER_PORT};
use crate::operator::step::Launch;
use crate::operator::validate::Validated;

/// Where a member answers for its health and gives its metrics, in plain HTTP.
pub const METRICS_PORT: u16 = 2381;

/// The user and group that members run as; the image has no other.
pub const USER: i64 = 65532;

/// The annotation of a Pod that holds what it was started with.
pub const SETTINGS: &str = "kvorum.dev/settings";

/// The annotation of a leaving member's Pod that tells since when it has that role.
pub const LED_AWAY_SINCE: &str = "kvorum.dev/led-away-since";

/// Where the disk is mounted. The data lie in a folder below, since file systems have folders of
/// their own at the top.
const MOUNT: &str = "/var/lib/kvorum";

/// Time to hand leadership over and to close the log.
const GRACE_SECONDS: i64 = 30;

/// The image of members where the spec names none, and how nodes are to get images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: String,
}

/// The Pod that runs `launch`.
pub fn pod(validated: &Validated, launch: &Launch, image: &Image) -> Pod {
    let settings = &validated.spec.pod;
    let mut metadata = owned(launch.member.to_string(), validated, pod_labels(validated, launch));
    let mut annotations = settings.annotations.clone();
    annotations.insert(SETTINGS.to_owned(), launch.settings.to_text());
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), "member".to_owned());
    metadata.annotations = Some(annotations);
    Pod { metadata, spec: Some(pod_spec(validated, launch, image)), status: None }
}

/// Since when clients are led to others than this Pod; `None` while they are led to it.
pub fn led_away_since(pod: &Pod) -> Option<jiff::Timestamp> {
    let leaving = pod.metadata.labels.as_ref()?.get(ROLE_LABEL)? == LEAVING;
    let since = pod.metadata.annotations.as_ref()?.get(LED_AWAY_SINCE)?;
    since.parse().ok().filter(|_| leaving)
}

fn pod_labels(validated: &Validated, launch: &Launch) -> BTreeMap<String, String> {
    let mut all = validated.spec.pod.labels.clone();
    all.extend(labels(&validated.name));
    // A voter that comes back counts at once; everybody else when the cluster says so.
    let votes = launch.mark.voters.contains(&launch.member.ordinal());
    all.insert(ROLE_LABEL.to_owned(), if votes { VOTER } else { LEARNER }.to_owned());
    all.insert(MEMBER_LABEL.to_owned(), launch.member.to_string());
    all
}

fn pod_spec(validated: &Validated, launch: &Launch, image: &Image) -> PodSpec {
    let settings = &validated.spec.pod;
    PodSpec {
        // Together with the headless Service this is the member's name in DNS.
        hostname: Some(launch.member.to_string()),
        subdomain: Some(headless_name(&validated.name)),
        containers: vec![container(validated, launch, image)],
        volumes: Some(vec![Volume {
            name: "data".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: launch.member.to_string(),
                read_only: None,
            }),
            ..Volume::default()
        }]),
        restart_policy: Some("Always".to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        service_account_name: settings.service_account_name.clone(),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        node_selector: some_map(&settings.node_selector),
        tolerations: some_list(&settings.tolerations),
        affinity: settings.affinity.clone(),
        topology_spread_constraints: Some(spread(validated)),
        priority_class_name: settings.priority_class_name.clone(),
        image_pull_secrets: some_list(&settings.image_pull_secrets),
        ..PodSpec::default()
    }
}

fn container(validated: &Validated, launch: &Launch, image: &Image) -> Container {
    let settings = &validated.spec.pod;
    Container {
        name: "member".to_owned(),
        image: Some(validated.spec.image.clone().unwrap_or_else(|| image.name.clone())),
        image_pull_policy: Some(image.pull_policy.clone()),
        // The name under which every image of an etcd-like server has it.
        command: Some(vec!["/usr/local/bin/etcd".to_owned()]),
        args: Some(arguments(
            &addressing(&validated.name, &validated.namespace),
            &place(),
            &validated.spec,
            launch,
        )),
        env: some_list(&settings.env),
        ports: Some(vec![
            port("client", CLIENT_PORT),
            port("peer", PEER_PORT),
            port("metrics", METRICS_PORT),
        ]),
        resources: settings.resources.clone(),
        volume_mounts: Some(vec![VolumeMount {
            name: "data".to_owned(),
            mount_path: MOUNT.to_owned(),
            ..VolumeMount::default()
        }]),
        // A long log is read for as long as it takes: half an hour. Alive means this member, not
        // the cluster: a lost quorum must not kill those that are left.
        startup_probe: Some(probe("/livez", 2, 900)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 3)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// The user's constraints, else softly over nodes: a cluster on too few nodes is better than none.
fn spread(validated: &Validated) -> Vec<TopologySpreadConstraint> {
    let wanted = &validated.spec.pod.topology_spread_constraints;
    if !wanted.is_empty() {
        return wanted.clone();
    }
    vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(match_labels(&[(CLUSTER_LABEL, &validated.name)])),
        ..TopologySpreadConstraint::default()
    }]
}

fn place() -> Place {
    Place {
        data: format!("{MOUNT}/data"),
        listen_on: Some("0.0.0.0".to_owned()),
        metrics_url: Some(format!("http://0.0.0.0:{METRICS_PORT}")),
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn some_map(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn some_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
