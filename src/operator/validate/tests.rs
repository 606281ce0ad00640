//! Wrong documents and what is said of them; and that Rust and CEL say the same.

use kube::core::cel::Validator;
use serde_json::{Value, json};

use super::document;
use crate::api::{KvorumCluster, crds};

/// A document with some fields of its spec set.
fn with(spec: Value) -> Value {
    json!({
        "apiVersion": "kvorum.dev/v1alpha1",
        "kind": "KvorumCluster",
        "metadata": { "name": "db" },
        "spec": spec,
    })
}

fn said_of(value: &Value) -> Vec<String> {
    document(&value.to_string(), None).map_or_else(|invalid| invalid.0, |_| Vec::new())
}

#[test]
fn wrong_documents_are_told_field_value_and_what_would_be_right() {
    let story = [
        (json!({ "replicas": 0 }), "spec.replicas is 0: must be 1 or more"),
        (json!({ "replicas": 10 }), "spec.replicas is 10: must be 9 or less"),
        (json!({ "replicas": "three" }), "spec.replicas is \"three\": must be a whole number"),
        (json!({ "replicas": 2.5 }), "spec.replicas is 2.5: must be a whole number"),
        (json!({ "paused": "yes" }), "spec.paused is \"yes\": must be true or false"),
        (
            json!({ "timing": { "electionTimeoutMs": 60000 } }),
            "spec.timing.electionTimeoutMs is 60000: must be 50000 or less",
        ),
        (
            json!({ "timing": { "heartbeatIntervalMs": 0 } }),
            "spec.timing.heartbeatIntervalMs is 0: must be 1 or more",
        ),
        (json!({ "snapshotCount": -1 }), "spec.snapshotCount is -1: must be 1 or more"),
        (json!({ "image": "" }), "spec.image is \"\": must have 1 characters or more"),
        (
            json!({ "storage": { "retention": { "onDelete": "Recycle" } } }),
            "spec.storage.retention.onDelete is \"Recycle\": must be one of Retain, Delete",
        ),
        (json!({ "pod": { "extraArgs": ["--a", 1] } }), "spec.pod.extraArgs[1] is 1: must be a string"),
        (
            json!({ "storage": { "size": "much" } }),
            "spec.storage.size is much: must be a quantity such as 8Gi",
        ),
        (
            json!({ "autoCompaction": { "retention": "1 day" } }),
            "spec.autoCompaction.retention is 1 day: must be a number of hours, or a span such as 30m or 8h",
        ),
    ];
    for (spec, message) in story {
        assert_eq!(said_of(&with(spec)), [message]);
    }
}

#[test]
fn unknown_fields_are_refused_at_every_depth() {
    let said = said_of(&with(json!({ "replica": 3 })));
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with("spec.replica is unknown: the fields there are autoCompaction, bootstrap,"),
        "{said:?}"
    );
    let said = said_of(&with(json!({ "timing": { "electionMs": 1000 } })));
    assert_eq!(
        said,
        ["spec.timing.electionMs is unknown: the fields there are electionTimeoutMs, heartbeatIntervalMs"]
    );
    let mut stray = with(json!({}));
    stray["replicas"] = json!(3);
    assert_eq!(said_of(&stray), ["replicas is unknown: a KvorumCluster has metadata and spec"]);
    assert_eq!(said_of(&with(json!({ "bootstrap": { "static": { "size": 3 } } }))).len(), 1);
}

#[test]
fn what_is_no_cluster_is_refused() {
    let mut other = with(json!({}));
    other["kind"] = json!("EtcdCluster");
    assert_eq!(said_of(&other), ["kind is \"EtcdCluster\": must be KvorumCluster"]);
    let mut old = with(json!({}));
    old["apiVersion"] = json!("kvorum.dev/v1");
    assert_eq!(said_of(&old), ["apiVersion is \"kvorum.dev/v1\": must be kvorum.dev/v1alpha1"]);
    let mut nameless = with(json!({}));
    nameless["metadata"] = json!({});
    assert_eq!(said_of(&nameless), ["metadata.name is missing: must be the name of the cluster"]);
    assert!(document("replicas: [", None).is_err());
}

/// One case for each CEL rule and verdict: old spec if it is a change, new spec, what is said.
fn ruled() -> Vec<(Option<Value>, Value, Option<&'static str>)> {
    let timing = |heartbeat, election| json!({ "timing": { "heartbeatIntervalMs": heartbeat, "electionTimeoutMs": election } });
    let size = |size: &str| json!({ "storage": { "size": size } });
    let class = |class: &str| json!({ "storage": { "className": class } });
    let compaction =
        |mode: &str, retention: &str| json!({ "autoCompaction": { "mode": mode, "retention": retention } });
    vec![
        (None, json!({}), None),
        (None, timing(100, 500), None),
        (
            None,
            timing(100, 499),
            Some(
                "spec.timing.electionTimeoutMs is 499: must be at least five times spec.timing.heartbeatIntervalMs, which is 100, so 500 or more",
            ),
        ),
        (None, compaction("Revision", "1000"), None),
        (None, compaction("Periodic", "1h30m"), None),
        (
            None,
            compaction("Revision", "1h"),
            Some(
                "spec.autoCompaction.retention is 1h: with mode Revision it must be a number of revisions, such as 10000",
            ),
        ),
        (None, size("0Gi"), Some("spec.storage.size is 0Gi: must be more than nothing, such as 8Gi")),
        (Some(size("1Gi")), size("1Gi"), None),
        (Some(size("1Gi")), size("1.5Gi"), None),
        (
            Some(size("1Gi")),
            size("1G"),
            Some("spec.storage.size is 1G: a disk cannot shrink; it must be 1Gi or more"),
        ),
        (Some(class("fast")), class("fast"), None),
        (
            Some(class("fast")),
            class("slow"),
            Some("spec.storage.className is slow: it cannot change after creation; put back fast"),
        ),
        (
            Some(class("fast")),
            json!({}),
            Some("spec.storage.className is not set: it cannot change after creation; put back fast"),
        ),
        (
            Some(json!({})),
            class("fast"),
            Some("spec.storage.className is fast: it cannot change after creation; put back no value"),
        ),
        (None, json!({ "bootstrap": { "static": {} } }), None),
        (
            None,
            json!({ "bootstrap": {} }),
            Some(
                "spec.bootstrap names no way to form the cluster: must hold exactly one, such as static: {}",
            ),
        ),
        (Some(json!({ "bootstrap": { "static": {} } })), json!({}), None),
    ]
}

#[test]
fn rust_and_cel_say_the_same() {
    let schema = crds().remove(0).spec.versions.remove(0).schema.and_then(|schema| schema.open_api_v3_schema);
    let schema = serde_json::to_value(schema.expect("a schema")).expect("JSON");
    for (old, new, said) in ruled() {
        let old = old.map(|old| document(&with(old).to_string(), None).expect("the old spec is valid"));
        let new = with(new);
        let ours = document(&new.to_string(), old.as_ref().map(|old| &old.spec));
        let ours = ours.map_or_else(|invalid| invalid.0, |_| Vec::new());
        assert_eq!(ours, said.into_iter().collect::<Vec<_>>(), "{new}");
        // As the API server sees it: with the defaults filled in.
        let new: KvorumCluster = serde_json::from_value(new).expect("it parses");
        let new = serde_json::to_value(new).expect("JSON");
        let old = old.map(|old| serde_json::to_value(old).expect("JSON"));
        let theirs = Validator::new().validate(&schema, &new, old.as_ref());
        let theirs: Vec<_> = theirs
            .err()
            .map(|errors| errors.iter().map(|error| error.message.clone()).collect())
            .unwrap_or_default();
        assert_eq!(theirs, ours, "{new}");
    }
}

#[test]
fn names_become_dns_labels() {
    let long = "a".repeat(41);
    let schema = crds().remove(0).spec.versions.remove(0).schema.and_then(|schema| schema.open_api_v3_schema);
    let schema = serde_json::to_value(schema.expect("a schema")).expect("JSON");
    for (name, good) in [
        ("db", true),
        ("a-1", true),
        (&long, false),
        ("1db", false),
        ("db-", false),
        ("d.b", false),
        ("Db", false),
    ] {
        let mut value = with(json!({}));
        value["metadata"]["name"] = json!(name);
        let ours = said_of(&value);
        assert_eq!(ours.is_empty(), good, "{name}");
        let value = serde_json::to_value(serde_json::from_value::<KvorumCluster>(value).expect("it parses"))
            .expect("JSON");
        let theirs = Validator::new().validate(&schema, &value, None);
        let theirs: Vec<_> = theirs
            .err()
            .map(|errors| errors.iter().map(|error| error.message.clone()).collect())
            .unwrap_or_default();
        assert_eq!(theirs, ours, "{name}");
    }
}
