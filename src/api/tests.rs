//! What is generated from the types is as Kubernetes and its readers need it.

use serde_json::Value;

use super::{REPLICAS_MAX, crds, crds_yaml};
use crate::operator::validate::document;

fn schema() -> Value {
    serde_json::to_value(crds()).expect("a CRD is JSON")
}

/// Every schema below `value`, with the way to it.
fn each<'a>(value: &'a Value, path: &str, visit: &mut dyn FnMut(&str, &'a Value)) {
    match value {
        Value::Object(fields) => {
            visit(path, value);
            fields.iter().for_each(|(field, value)| each(value, &format!("{path}.{field}"), visit));
        }
        Value::Array(items) => items.iter().for_each(|value| each(value, path, visit)),
        _ => {}
    }
}

/// Readers of YAML 1.1, kubectl among them, take these words for true and false when they stand
/// without quotes.
#[test]
fn no_word_is_read_as_a_boolean() {
    let words = ["y", "n", "yes", "no", "on", "off"];
    let yaml = crds_yaml().expect("a CRD is YAML");
    for (number, line) in yaml.lines().enumerate() {
        let bare = line.trim_start_matches([' ', '-']);
        let (key, value) = bare.split_once(": ").unwrap_or((bare.trim_end_matches(':'), bare));
        for word in [key, value] {
            assert!(!words.contains(&word.to_lowercase().as_str()), "line {}: {line}", number + 1);
        }
    }
}

/// The API server warns of unsigned formats at every installation.
#[test]
fn no_number_is_unsigned() {
    each(&schema(), "", &mut |path, value| {
        let format = value.get("format").and_then(Value::as_str).unwrap_or_default();
        assert!(!format.starts_with("uint"), "{path}");
    });
}

/// `kubectl explain` has something to say of each field, and says how a change of it arrives.
#[test]
fn every_field_of_the_spec_says_how_it_changes() {
    let crds = schema();
    let spec = &crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = 0;
    for group in [
        "",
        "/timing",
        "/storage",
        "/storage/retention",
        "/replacement",
        "/autoCompaction",
        "/pod",
        "/bootstrap",
    ] {
        let schema = spec.pointer(&group.replace('/', "/properties/")).expect("the group is there");
        for (field, schema) in schema["properties"].as_object().expect("it has fields") {
            let says = schema["description"].as_str().unwrap_or_default();
            let how = ["Live", "Rolling", "NewMembersOnly", "Immutable"].iter().any(|how| says.contains(how));
            // Of a group, its fields say it.
            let said_inside = schema.get("properties").is_some();
            assert!(!says.is_empty() && (how || said_inside), "{group}/{field}: {says}");
            fields += 1;
        }
    }
    assert!(fields > 25, "{fields}");
}

/// Without a bound the API server cannot estimate what a rule costs, and refuses the CRD.
#[test]
fn strings_and_lists_of_ours_are_bounded() {
    let crds = schema();
    let root = &crds[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    // Types of Kubernetes itself are taken as they are, and maps are bounded as maps.
    let theirs = [
        "resources",
        "tolerations",
        "affinity",
        "topologySpread",
        "env",
        "imagePullSecrets",
        "additionalProperties",
    ];
    each(root, "", &mut |path, value| {
        if theirs.iter().any(|theirs| path.contains(theirs)) || value.get("enum").is_some() {
            return;
        }
        let bounded = match value.get("type").and_then(Value::as_str) {
            Some("string") if value.get("format").is_none() => value.get("maxLength").is_some(),
            Some("array") => value.get("maxItems").is_some(),
            Some("integer") if path.starts_with(".spec") => value.get("maximum").is_some(),
            _ => true,
        };
        assert!(bounded, "{path}");
    });
    assert_eq!(root["spec"]["properties"]["replicas"]["maximum"], f64::from(REPLICAS_MAX));
}

#[test]
fn a_resource_that_nobody_looked_at_says_so() {
    let status = &schema()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    assert_eq!(status["default"]["observedGeneration"], -1);
}

#[test]
fn the_samples_are_valid() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples");
    let mut read = 0;
    for entry in std::fs::read_dir(samples).expect("there are samples") {
        let path = entry.expect("the folder can be read").path();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let sample = document(&text, None);
        assert!(sample.is_ok(), "{}: {sample:?}", path.display());
        read += 1;
    }
    assert!(read >= 3);
}
