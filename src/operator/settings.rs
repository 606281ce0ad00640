//! What a member's process is started with and can only be changed by starting it again.
//!
//! Kept as field and value in JSON, beside the process (an annotation, a file), and compared as
//! such. Fields at their default are left out: a later operator that knows more fields finds old
//! processes unchanged, and so restarts nobody by being new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::{KvorumClusterSpec, PodSettings};

/// The rolling fields of a spec that are not at their default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those that `spec` asks for.
    pub fn of(spec: &KvorumClusterSpec) -> Self {
        let plain = KvorumClusterSpec::default();
        let mut settings = Self::default();
        let timing = &spec.timing;
        settings.put("spec.image", &spec.image, &plain.image);
        settings.put(
            "spec.timing.heartbeatIntervalMs",
            &timing.heartbeat_interval_ms,
            &plain.timing.heartbeat_interval_ms,
        );
        settings.put(
            "spec.timing.electionTimeoutMs",
            &timing.election_timeout_ms,
            &plain.timing.election_timeout_ms,
        );
        settings.put("spec.snapshotCount", &spec.snapshot_count, &plain.snapshot_count);
        settings.put("spec.autoCompaction", &spec.auto_compaction, &plain.auto_compaction);
        settings.put_pod(&spec.pod, &plain.pod);
        settings
    }

    /// Reads what [`Settings::to_text`] wrote.
    ///
    /// # Errors
    /// When it is not a JSON object of strings.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// One line of JSON, the same for equal settings.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// The fields in which `self`, what is wanted, differs from `found`, with the wanted value;
    /// `null` means the default.
    pub fn differences<'a>(&'a self, found: &'a Settings) -> BTreeMap<&'a str, &'a str> {
        let fields = self.0.keys().chain(found.0.keys()).map(String::as_str);
        fields
            .filter(|field| self.0.get(*field) != found.0.get(*field))
            .map(|field| (field, self.0.get(field).map_or("null", String::as_str)))
            .collect()
    }

    fn put_pod(&mut self, pod: &PodSettings, plain: &PodSettings) {
        self.put("spec.pod.resources", &pod.resources, &plain.resources);
        self.put("spec.pod.nodeSelector", &pod.node_selector, &plain.node_selector);
        self.put("spec.pod.tolerations", &pod.tolerations, &plain.tolerations);
        self.put("spec.pod.affinity", &pod.affinity, &plain.affinity);
        self.put(
            "spec.pod.topologySpreadConstraints",
            &pod.topology_spread_constraints,
            &plain.topology_spread_constraints,
        );
        self.put("spec.pod.priorityClassName", &pod.priority_class_name, &plain.priority_class_name);
        self.put("spec.pod.labels", &pod.labels, &plain.labels);
        self.put("spec.pod.annotations", &pod.annotations, &plain.annotations);
        self.put("spec.pod.serviceAccountName", &pod.service_account_name, &plain.service_account_name);
        self.put("spec.pod.imagePullSecrets", &pod.image_pull_secrets, &plain.image_pull_secrets);
        self.put("spec.pod.env", &pod.env, &plain.env);
        self.put("spec.pod.extraArgs", &pod.extra_args, &plain.extra_args);
    }

    fn put<T: Serialize + PartialEq>(&mut self, field: &str, value: &T, plain: &T) {
        if value != plain {
            // Through Value, whose maps are ordered: equal settings give equal text.
            let text = serde_json::to_value(value).map(|value| value.to_string()).unwrap_or_default();
            self.0.insert(field.to_owned(), text);
        }
    }
}
