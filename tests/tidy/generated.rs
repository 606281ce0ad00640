//! What is generated is fresh. `make generate` (KVORUM_UPDATE=1) rewrites it instead of complaining.

use std::fs;
use std::path::Path;

use crate::source::root;

const BEGIN: &str = "<!-- generated: flags -->\n";
const END: &str = "<!-- end of generated: flags -->\n";

#[test]
fn the_crds_are_what_the_types_say() {
    let expected = kvorum::api::crds_yaml().expect("the CRDs can be written");
    compare(&root().join("crds/kvorum.dev_kvorumclusters.yaml"), &expected);
}

#[test]
fn the_charts_crds_are_copies() {
    let crds =
        fs::read_to_string(root().join("crds/kvorum.dev_kvorumclusters.yaml")).expect("the CRD is there");
    compare(&root().join("charts/kvorum-operator/files/crds/kvorum.dev_kvorumclusters.yaml"), &crds);
}

/// The rest of install.yaml needs helm and is compared by `manifests/render.sh --check` (make test-kube).
#[test]
fn install_yaml_holds_the_crds() {
    let documents = |text: &str| -> Vec<serde_yaml::Value> {
        serde_yaml::Deserializer::from_str(text)
            .map(|document| serde::Deserialize::deserialize(document).expect("it is YAML"))
            .collect()
    };
    let read = |path: &str| documents(&fs::read_to_string(root().join(path)).expect("it is there"));
    let is_crd = |document: &&serde_yaml::Value| document["kind"] == "CustomResourceDefinition";
    let install = read("manifests/install.yaml");
    let installed: Vec<_> = install.iter().filter(is_crd).map(|crd| &crd["spec"]).collect();
    let crds = read("crds/kvorum.dev_kvorumclusters.yaml");
    let expected: Vec<_> = crds.iter().filter(is_crd).map(|crd| &crd["spec"]).collect();
    assert!(installed == expected, "manifests/install.yaml is stale: run manifests/render.sh");
}

#[test]
fn the_table_of_flags_in_the_documents_is_the_codes() {
    let path = root().join("docs/compatibility.md");
    let text = fs::read_to_string(&path).expect("docs/compatibility.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table's first mark is there");
    let (_, after) = rest.split_once(END).expect("the table's last mark is there");
    compare(&path, &format!("{before}{BEGIN}{}{END}{after}", kvorum::flags::markdown()));
}

fn compare(path: &Path, expected: &str) {
    let found = fs::read_to_string(path).unwrap_or_default();
    if found == expected {
        return;
    }
    if std::env::var_os("KVORUM_UPDATE").is_some() {
        return fs::write(path, expected).expect("generated files can be written");
    }
    let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b).unwrap_or_default() + 1;
    panic!("{} is stale from line {line} on: run `make generate`", path.display());
}
