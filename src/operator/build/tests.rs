use insta::assert_yaml_snapshot;
use k8s_openapi::api::core::v1::{EnvVar, Toleration};

use super::*;
use crate::api::{KvorumClusterSpec, PodSettings};
use crate::operator::names::MemberName;
use crate::operator::observed::DiskMark;
use crate::operator::settings::Settings;
use crate::operator::step::{Birth, Launch};
use crate::types::{ClusterId, MemberId};

fn validated(spec: KvorumClusterSpec) -> Validated {
    Validated {
        name: "db".into(),
        namespace: "prod".into(),
        uid: "0f8c".into(),
        replicas: 3,
        paused: false,
        retention: spec.storage.retention.clone(),
        settings: Settings::of(&spec),
        spec,
    }
}

fn launch(validated: &Validated, ordinal: u32, birth: Birth) -> Launch {
    let addressing = addressing("db", "prod");
    let all = (0..3).map(|ordinal| MemberName::new("db", ordinal));
    Launch {
        member: MemberName::new("db", ordinal),
        birth,
        initial_cluster: all.map(|name| (name.to_string(), addressing.peer_url(&name))).collect(),
        token: "0f8c".into(),
        settings: validated.settings.clone(),
        mark: mark(),
    }
}

fn mark() -> DiskMark {
    DiskMark {
        owner: "0f8c".into(),
        cluster_id: Some(ClusterId(0xcafe)),
        member_id: Some(MemberId(0xbeef)),
        voters: [0, 1, 2].into(),
        next_ordinal: 0,
        quarantined: false,
        retired: false,
    }
}

fn image() -> Image {
    Image { name: "kvorum:1".into(), pull_policy: "IfNotPresent".into() }
}

#[test]
fn a_member_with_the_default_spec() {
    let validated = validated(KvorumClusterSpec::default());
    let launch = launch(&validated, 1, Birth::Found);
    assert_yaml_snapshot!("default_pod", pod(&validated, &launch, &image()));
    assert_yaml_snapshot!("default_claim", claim(&validated, &launch.member, &launch.mark));
}

#[test]
fn what_stands_around_the_members() {
    let validated = validated(KvorumClusterSpec::default());
    assert_yaml_snapshot!("headless_service", headless_service(&validated));
    assert_yaml_snapshot!("client_service", client_service(&validated));
    assert_yaml_snapshot!("budget", budget(&validated, 2));
}

/// The user's settings are taken over; where they meet the operator's own, the operator's win.
#[test]
fn a_member_with_settings_of_the_user() {
    let pod_settings = PodSettings {
        labels: map(&[("team", "storage"), (CLUSTER_LABEL, "mine")]),
        annotations: map(&[("note", "yes"), (SETTINGS, "{}")]),
        node_selector: map(&[("disk", "fast")]),
        tolerations: vec![Toleration { key: Some("db".into()), ..Toleration::default() }],
        env: vec![EnvVar { name: "ETCD_MAX_TXN_OPS".into(), value: Some("256".into()), ..EnvVar::default() }],
        extra_args: vec!["--log-level=debug".into()],
        ..PodSettings::default()
    };
    let spec = KvorumClusterSpec {
        image: Some("mirror/kvorum:2".into()),
        pod: pod_settings,
        ..KvorumClusterSpec::default()
    };
    let validated = validated(spec);
    let pod = pod(&validated, &launch(&validated, 5, Birth::Join), &image());
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(labels["team"], "storage");
    assert_eq!(labels[CLUSTER_LABEL], "db");
    assert_eq!(labels[ROLE_LABEL], LEARNER, "5 is not among the voters yet");
    let annotations = pod.metadata.annotations.unwrap();
    assert_eq!(annotations["note"], "yes");
    assert_eq!(Settings::parse(&annotations[SETTINGS]).unwrap(), validated.settings);
    let spec = pod.spec.unwrap();
    assert_eq!(spec.node_selector.unwrap()["disk"], "fast");
    assert_eq!(spec.tolerations.unwrap().len(), 1);
    let container = &spec.containers[0];
    assert_eq!(container.image.as_deref(), Some("mirror/kvorum:2"));
    let args = container.args.as_ref().unwrap();
    assert_eq!(args.last().unwrap(), "--log-level=debug", "the user's arguments come last");
    assert!(args.contains(&"--initial-cluster-state=existing".to_owned()));
}

#[test]
fn a_mark_survives_its_annotations() {
    let unborn = DiskMark { cluster_id: None, member_id: None, ..mark() };
    let retired = DiskMark { retired: true, voters: [].into(), ..mark() };
    let quarantined = DiskMark { quarantined: true, ..mark() };
    for mark in [mark(), unborn, retired, quarantined] {
        assert_eq!(mark_of(&annotations_of(&mark)), Ok(Some(mark)));
    }
    assert_eq!(mark_of(&map(&[("note", "yes")])), Ok(None));
}

#[test]
fn a_mark_that_somebody_spoiled_is_an_error() {
    let cases = [
        ("kvorum.dev/cluster-id", "none", "must be an identity in hex"),
        ("kvorum.dev/voters", "0,1,two", "must be ordinals with commas between them"),
        ("kvorum.dev/retired", "maybe", "must be true, or absent"),
    ];
    for (annotation, value, text) in cases {
        let mut annotations = annotations_of(&mark());
        annotations.insert(annotation.into(), value.into());
        let error = mark_of(&annotations).unwrap_err().to_string();
        assert!(error.contains(annotation) && error.contains(value) && error.contains(text), "{error}");
    }
}
