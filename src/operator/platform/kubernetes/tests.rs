use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, PodCondition, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::api::KvorumClusterSpec;
use crate::operator::build;
use crate::operator::observed::{DiskMark, ProcessState};
use crate::operator::settings::Settings;
use crate::operator::step::{Birth, Launch};
use crate::types::ClusterId;

const UID: &str = "0f8c";

pub(super) fn validated() -> Validated {
    let spec = KvorumClusterSpec::default();
    Validated {
        name: "db".into(),
        namespace: "prod".into(),
        uid: UID.into(),
        replicas: 3,
        paused: false,
        retention: spec.storage.retention.clone(),
        settings: Settings::of(&spec),
        spec,
    }
}

pub(super) fn member(ordinal: u32) -> MemberName {
    MemberName::new("db", ordinal)
}

fn mark() -> DiskMark {
    DiskMark {
        owner: UID.into(),
        cluster_id: None,
        member_id: None,
        voters: [0, 1].into(),
        next_ordinal: 0,
        quarantined: false,
        retired: false,
    }
}

fn pod(ordinal: u32) -> Pod {
    let validated = validated();
    let launch = Launch {
        member: member(ordinal),
        birth: Birth::Join,
        initial_cluster: Vec::new(),
        token: UID.into(),
        settings: validated.settings.clone(),
        mark: mark(),
    };
    let image = Image { name: "kvorum:1".into(), pull_policy: "Never".into() };
    build::pod(&validated, &launch, &image)
}

/// A cluster of two voters and a learner whose objects are all as they should be.
pub(super) fn settled() -> (Found, Surroundings) {
    let validated = validated();
    let claim = |ordinal| (member(ordinal), build::claim(&validated, &member(ordinal), &mark()));
    let services = [build::headless_service(&validated), build::client_service(&validated)];
    let budget = build::budget(&validated, 1);
    let mut cluster = KvorumCluster::new("db", KvorumClusterSpec::default());
    cluster.metadata.uid = Some(UID.into());
    let found = Found {
        cluster,
        pods: (0..3).map(|ordinal| (member(ordinal), pod(ordinal))).collect(),
        claims: (0..3).map(claim).collect(),
        services: services.map(|service| (service.metadata.name.clone().unwrap(), service)).into(),
        budgets: [("db".to_owned(), budget)].into(),
    };
    let wanted = Surroundings {
        finalizer: false,
        voters: [member(0), member(1)].into(),
        leaving: Default::default(),
        min_available: 1,
        marks: (0..3).map(|ordinal| (member(ordinal), mark())).collect(),
    };
    (found, wanted)
}

fn drifts(change: impl FnOnce(&mut Found, &mut Surroundings)) -> Vec<String> {
    let (mut found, mut wanted) = settled();
    change(&mut found, &mut wanted);
    drift::drifted(&found, &validated(), &wanted).iter().map(ToString::to_string).collect()
}

#[test]
fn a_settled_cluster_has_no_drift() {
    assert_eq!(drifts(|_, _| {}), [""; 0]);
}

/// Defaults of the API server and labels of others are theirs.
#[test]
fn what_others_add_is_no_drift() {
    let drifts = drifts(|found, _| {
        let service = found.services.get_mut("db-client").unwrap();
        service.spec.as_mut().unwrap().cluster_ip = Some("198.19.0.7".into());
        service.metadata.labels.as_mut().unwrap().insert("team".into(), "storage".into());
        let owners = service.metadata.owner_references.as_mut().unwrap();
        owners.insert(0, Default::default());
    });
    assert_eq!(drifts, [""; 0]);
}

#[test]
fn each_difference_is_named() {
    type Spoil = fn(&mut Found, &mut Surroundings);
    let cases: [(&str, Spoil); 8] = [
        ("the finalizer", |_, wanted| wanted.finalizer = true),
        ("the finalizer", |found, _| found.cluster.metadata.finalizers = Some(vec![build::FINALIZER.into()])),
        ("Service db-members", |found, _| drop(found.services.remove("db-members"))),
        ("PodDisruptionBudget db", |_, wanted| wanted.min_available = 2),
        ("db-2 as voter", |_, wanted| {
            wanted.voters.insert(member(2));
        }),
        ("db-1 as leaving", |_, wanted| {
            wanted.leaving.insert(member(1));
        }),
        ("db-1 as learner", |_, wanted| {
            wanted.voters.remove(&member(1));
        }),
        ("the mark of claim db-2", |_, wanted| {
            wanted.marks.get_mut(&member(2)).unwrap().cluster_id = Some(ClusterId(1));
        }),
    ];
    for (named, change) in cases {
        assert_eq!(drifts(change), [named]);
    }
}

/// A Service of an earlier resource of the same name is taken over, or it would go with that one.
#[test]
fn another_owner_is_drift() {
    let drifts = drifts(|found, _| {
        let service = found.services.get_mut("db-client").unwrap();
        service.metadata.owner_references.as_mut().unwrap()[0].uid = "older".into();
    });
    assert_eq!(drifts, ["Service db-client"]);
}

/// A Pod or claim that is going keeps the label and the mark that it has.
#[test]
fn what_is_going_is_left_alone() {
    let drifts = drifts(|found, wanted| {
        found.pods.get_mut(&member(1)).unwrap().metadata.deletion_timestamp = Some(now());
        found.claims.get_mut(&member(1)).unwrap().metadata.deletion_timestamp = Some(now());
        wanted.voters.remove(&member(1));
        wanted.marks.get_mut(&member(1)).unwrap().retired = true;
    });
    assert_eq!(drifts, [""; 0]);
}

pub(super) fn now() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

pub(super) fn status(phase: &str, state: Option<ContainerState>) -> PodStatus {
    PodStatus {
        phase: Some(phase.into()),
        pod_ip: Some("198.18.1.7".into()),
        container_statuses: Some(vec![ContainerStatus { state, ..ContainerStatus::default() }]),
        ..PodStatus::default()
    }
}

fn waits(reason: &str) -> Option<ContainerState> {
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: Some("why".into()) };
    Some(ContainerState { waiting: Some(waiting), ..ContainerState::default() })
}

fn ended(exit_code: i32) -> Option<ContainerState> {
    let terminated = ContainerStateTerminated { exit_code, ..ContainerStateTerminated::default() };
    Some(ContainerState { terminated: Some(terminated), ..ContainerState::default() })
}

#[test]
fn how_far_a_pod_is() {
    let unscheduled = PodStatus {
        phase: Some("Pending".into()),
        conditions: Some(vec![PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            message: Some("0/3 nodes are available".into()),
            ..PodCondition::default()
        }]),
        ..PodStatus::default()
    };
    let starting = |detail: &str| ProcessState::Starting { detail: detail.into() };
    let failing = |detail: &str| ProcessState::Failing { detail: detail.into() };
    let over = |detail: &str| ProcessState::Ended { detail: detail.into() };
    let cases = [
        (PodStatus::default(), starting("it has no node yet")),
        (unscheduled, starting("0/3 nodes are available")),
        (status("Pending", waits("ContainerCreating")), starting("ContainerCreating: why")),
        (status("Pending", waits("ImagePullBackOff")), failing("ImagePullBackOff: why")),
        (status("Running", Some(ContainerState::default())), ProcessState::Running),
        (status("Running", waits("CrashLoopBackOff")), failing("CrashLoopBackOff: why")),
        (status("Running", ended(1)), failing("its container ended with exit code 1")),
        (status("Failed", ended(137)), over("its container ended with exit code 137")),
        (status("Succeeded", ended(0)), over("its container ended with exit code 0")),
        (PodStatus { message: Some("Evicted".into()), ..status("Failed", None) }, over("Evicted")),
    ];
    for (status, state) in cases {
        let pod = Pod { status: Some(status.clone()), ..pod(1) };
        assert_eq!(observe::process(&pod, UID).state, state, "{status:?}");
    }
}

/// Told to go, it counts as going whatever its phase: on a dead node the phase means nothing.
#[test]
fn a_pod_that_was_told_to_go_is_going() {
    for phase in ["Running", "Failed", "Pending"] {
        let mut pod = Pod { status: Some(status(phase, None)), ..pod(1) };
        pod.metadata.deletion_timestamp = Some(now());
        assert_eq!(observe::process(&pod, UID).state, ProcessState::Stopping);
    }
    let of_earlier = Pod { status: Some(status("Running", Some(ContainerState::default()))), ..pod(1) };
    assert_eq!(observe::process(&of_earlier, "another").state, ProcessState::Stopping);
}

#[test]
fn a_running_pod_is_asked_at_its_address() {
    let running = |ip: &str| {
        let status =
            PodStatus { pod_ip: Some(ip.into()), ..status("Running", Some(ContainerState::default())) };
        observe::process(&Pod { status: Some(status), ..pod(1) }, UID).ask_at
    };
    assert_eq!(running("198.18.1.7").as_deref(), Some("http://198.18.1.7:2379"));
    assert_eq!(running("fd00::7").as_deref(), Some("http://[fd00::7]:2379"));
    let failed = Pod { status: Some(status("Failed", None)), ..pod(1) };
    assert_eq!(observe::process(&failed, UID).ask_at, None);
}

/// A Pod that clients were led away from says so itself, so that a new operator knows.
#[test]
fn a_leaving_voter_is_right_once_it_tells_since_when() {
    let leave = |since: Option<&str>| {
        drifts(|found, wanted| {
            wanted.leaving.insert(member(1));
            let metadata = &mut found.pods.get_mut(&member(1)).unwrap().metadata;
            metadata.labels.as_mut().unwrap().insert(build::ROLE_LABEL.into(), build::LEAVING.into());
            let annotations = metadata.annotations.as_mut().unwrap();
            annotations.extend(since.map(|since| (build::LED_AWAY_SINCE.to_owned(), since.to_owned())));
        })
    };
    assert_eq!(leave(Some("2026-11-22T21:00:00Z")), [""; 0]);
    assert_eq!(leave(None), ["db-1 as leaving"]);
    assert_eq!(leave(Some("a while ago")), ["db-1 as leaving"]);
}

/// A member that came back in time is no longer one that has failed.
#[test]
fn a_mark_that_says_more_than_it_should_is_drift() {
    let drifts = drifts(|found, _| {
        let annotations = found.claims.get_mut(&member(1)).unwrap().metadata.annotations.as_mut().unwrap();
        annotations.insert("kvorum.dev/quarantined".into(), "true".into());
    });
    assert_eq!(drifts, ["the mark of claim db-1"]);
}
