//! The schema and its rules, each rule both ways.

use super::crds_yaml;

#[test]
fn the_generated_file_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/kvorum.dev_kvorumclusters.yaml");
    let committed = std::fs::read_to_string(path).expect("the CRD is committed");
    assert_eq!(
        committed,
        crds_yaml().expect("a CRD is YAML"),
        "run `kvorum-operator crds > crds/kvorum.dev_kvorumclusters.yaml`"
    );
}
