//! `KvorumCluster`: what a user asks for.

#![expect(unreachable_pub, reason = "the schema derive repeats each type inside a function")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::KvorumClusterStatus;

/// The most members a cluster may have: every write waits for a majority of them, so more
/// members make a cluster slower and, from nine on, hardly safer.
pub const REPLICAS_MAX: i32 = 9;

/// The longest name of a cluster: members, Services and labels are named after it, and a DNS
/// label ends at 63 characters.
pub const NAME_CHARACTERS_MAX: usize = 40;

/// Heartbeats that must fit into one election timeout.
pub const HEARTBEATS_PER_ELECTION_MIN: i32 = 5;

/// The longest election timeout, in milliseconds.
pub const ELECTION_TIMEOUT_MS_MAX: i32 = 50_000;

// Messages print numbers by format(): string() of a number has no length that the API server
// could estimate, and it refuses the whole CRD for its cost.

/// What the cluster should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "kvorum.dev",
    version = "v1alpha1",
    kind = "KvorumCluster",
    namespaced,
    shortname = "kvc",
    category = "kvorum",
    doc = "A cluster of Kvorum members: an etcd-compatible key-value store, changed one member at a time.",
    derive = "PartialEq",
    status = "KvorumClusterStatus",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the cluster is as it should be"),
    printcolumn(name = "Members", type_ = "string", json_path = ".status.readyMembers", description = "Members in health and in step, of those wanted"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader", description = "The member that leads"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version", description = "The version that all members run"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "One word for where the cluster stands"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "Why it is Ready, or not"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Doing", type_ = "string", json_path = ".status.operation.step", description = "The step in progress", priority = 1),
    printcolumn(name = "Cluster-ID", type_ = "string", json_path = ".status.clusterId", description = "Identity of the cluster", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message(Message::Expression("'metadata.name is %s, %d characters: must be at most 40, since members and Services are named after it'.format([self.metadata.name, self.metadata.name.size()])".into()))
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message(Message::Expression("'metadata.name is ' + self.metadata.name + ': must begin with a letter and hold only lower-case letters, digits and dashes, since it becomes a DNS label'".into()))
        .reason(Reason::FieldValueInvalid),
)]
#[serde(rename_all = "camelCase")]
pub struct KvorumClusterSpec {
    /// How many voting members the cluster has. Odd numbers serve best: a fourth member lets no
    /// further failure be survived. Live: members join or leave one at a time.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,

    /// The image of the members. Empty: the one the operator was built with, at the time a
    /// member is made; a new operator restarts no member by itself. Rolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Heartbeat and election timeout, for the network that the members share. Rolling.
    #[serde(default)]
    pub timing: Timing,

    /// Applied entries after which a member makes a checkpoint of its state and lets the log
    /// before it go. Fewer mean less to replay at a start and more writing. Rolling.
    #[serde(default = "default_snapshot_count")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub snapshot_count: i64,

    /// How the history of keys is compacted without anybody asking. Rolling.
    #[serde(default)]
    pub auto_compaction: AutoCompaction,

    /// Where the members keep their data.
    #[serde(default)]
    pub storage: Storage,

    /// When a member that has failed is replaced by a new one.
    #[serde(default)]
    pub replacement: Replacement,

    /// How the first members find each other. It matters until `status.clusterId` is set; from
    /// then on members join through the cluster itself. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("spec.bootstrap was changed: it cannot change after creation, since it only matters while the cluster forms; put back what it was")
        .reason(Reason::FieldValueForbidden))]
    pub bootstrap: Bootstrap,

    /// What the Pods of the members look like. Rolling, as a whole.
    #[serde(default, skip_serializing_if = "PodSettings::is_default")]
    pub pod: PodSettings,

    /// Stops the operator from changing anything; the members go on serving. Live.
    #[serde(default)]
    pub paused: bool,
}

/// The two timings of consensus, as `--heartbeat-interval` and `--election-timeout`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.electionTimeoutMs >= 5 * self.heartbeatIntervalMs")
    .message(Message::Expression("'spec.timing.electionTimeoutMs is %d: must be at least five times spec.timing.heartbeatIntervalMs, which is %d, so %d or more'.format([self.electionTimeoutMs, self.heartbeatIntervalMs, 5 * self.heartbeatIntervalMs])".into()))
    .reason(Reason::FieldValueInvalid)
    .field_path(".electionTimeoutMs"))]
pub struct Timing {
    /// Milliseconds between two heartbeats of the leader: about the longest round trip between
    /// two members. Rolling.
    #[serde(default = "default_heartbeat_interval_ms")]
    #[schemars(range(min = 1, max = 10_000))]
    pub heartbeat_interval_ms: i32,

    /// Milliseconds without a heartbeat after which a member calls an election: about ten round
    /// trips, at least five heartbeats, at most 50000. Rolling.
    #[serde(default = "default_election_timeout_ms")]
    #[schemars(range(min = 5, max = 50_000))]
    pub election_timeout_ms: i32,
}

/// Compaction by the members themselves.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.mode != 'Revision' || self.retention.matches('^[0-9]+$')")
    .message(Message::Expression("'spec.autoCompaction.retention is ' + self.retention + ': with mode Revision it must be a number of revisions, such as 10000'".into()))
    .reason(Reason::FieldValueInvalid)
    .field_path(".retention"))]
pub struct AutoCompaction {
    /// `Periodic` keeps the history of a span of time, `Revision` a number of revisions. Rolling.
    #[serde(default)]
    pub mode: AutoCompactionMode,

    /// What is kept: with `Periodic` a span such as `30m` or `8h`, or a number of hours; with
    /// `Revision` a number of revisions. `0` keeps everything. Rolling.
    #[serde(default = "default_retention")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^([0-9]+|([0-9]+(\.[0-9]+)?(ms|s|m|h))+)$"))]
    pub retention: String,
}

/// What `spec.autoCompaction.retention` counts.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoCompactionMode {
    #[default]
    Periodic,
    Revision,
}

/// One disk for each member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
    .message(Message::Expression("'spec.storage.className is ' + (has(self.className) ? self.className : 'not set') + ': it cannot change after creation; put back ' + (has(oldSelf.className) ? oldSelf.className : 'no value')".into()))
    .reason(Reason::FieldValueForbidden)
    .field_path(".className"))]
pub struct Storage {
    /// The size of a member's disk, as a Kubernetes quantity such as `8Gi`. It may grow, never
    /// shrink. NewMembersOnly.
    #[serde(default = "default_storage_size")]
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
        .message(Message::Expression("'spec.storage.size is ' + self + ': a disk cannot shrink; it must be ' + oldSelf + ' or more'".into()))
        .reason(Reason::FieldValueInvalid),
        validation = Rule::new("quantity(self).isGreaterThan(quantity('0'))")
        .message(Message::Expression("'spec.storage.size is ' + self + ': must be more than nothing, such as 8Gi'".into()))
        .reason(Reason::FieldValueInvalid))]
    pub size: String,

    /// The storage class of the disks; without it the default class of Kubernetes. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,

    /// What becomes of disks that are no longer needed. Live.
    #[serde(default)]
    pub retention: Retention,
}

/// Whether disks outlive their members.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// When the cluster is deleted: `Retain` keeps the disks, and a cluster created again under
    /// the same name takes them over; `Delete` deletes them. Live.
    #[serde(default)]
    pub on_delete: RetentionPolicy,

    /// When a member leaves because `replicas` became smaller: `Retain` keeps its disk, which no
    /// later member uses; `Delete` deletes it. Live.
    #[serde(default)]
    pub on_scale_in: RetentionPolicy,
}

/// What happens to a disk.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetentionPolicy {
    #[default]
    Retain,
    Delete,
}

/// Replacement of members that have failed: the failed one leaves, a new one with a new name and a
/// new disk joins. The old disk is kept untouched, whatever `storage.retention` says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Replacement {
    /// Whether failed members are replaced without anybody asking. Live.
    #[serde(default = "default_replacement_enabled")]
    pub enabled: bool,

    /// Seconds after which a member has failed that the leader has no contact with. One whose disk
    /// is gone, or that says its disk cannot be trusted, has failed at once. Live.
    #[serde(default = "default_unhealthy_after_seconds")]
    #[schemars(range(min = 10, max = 86_400))]
    pub unhealthy_after_seconds: i32,

    /// How many members are replaced within any hour at most: a fault that fells one after another
    /// needs a person. Live.
    #[serde(default = "default_max_per_hour")]
    #[schemars(range(min = 1, max = 16))]
    pub max_per_hour: i32,
}

/// How the first members find each other: exactly one way.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.static)")
    .message("spec.bootstrap names no way to form the cluster: must hold exactly one, such as static: {}")
    .reason(Reason::FieldValueInvalid))]
pub struct Bootstrap {
    /// All first members start at once, each with the full list of all of them. Immutable.
    #[serde(rename = "static", default, skip_serializing_if = "Option::is_none")]
    pub static_list: Option<StaticBootstrap>,
}

/// Formation from a fixed list, which the operator makes from `replicas`; it takes no settings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct StaticBootstrap {}

/// The part of a Pod that users may shape. Only `env` and `extraArgs` have a meaning without
/// Kubernetes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Processor time and memory of a member. Rolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Labels that a node must have to carry a member. Rolling.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,

    /// Taints of nodes that members tolerate. Rolling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,

    /// Which nodes members prefer, need or avoid. Rolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How members are spread; without it, softly over nodes. Rolling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// The priority class of the Pods. Rolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Further labels of the Pods; those of the operator win. Rolling.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,

    /// Further annotations of the Pods; those of the operator win. Rolling.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,

    /// The service account of the Pods; its token is never mounted. Rolling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// Secrets to pull the image with. Rolling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Further environment of the member's process. Rolling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,

    /// Further arguments of the member's process, after those of the operator. Rolling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 1024)))]
    pub extra_args: Vec<String>,
}

impl PodSettings {
    /// Whether nothing was set.
    pub fn is_default(&self) -> bool {
        *self == PodSettings::default()
    }
}

fn default_replicas() -> i32 {
    3
}
fn default_snapshot_count() -> i64 {
    10_000
}
fn default_heartbeat_interval_ms() -> i32 {
    100
}
fn default_election_timeout_ms() -> i32 {
    1_000
}
fn default_retention() -> String {
    "0".to_owned()
}
fn default_replacement_enabled() -> bool {
    true
}
fn default_unhealthy_after_seconds() -> i32 {
    300
}
fn default_max_per_hour() -> i32 {
    3
}
fn default_storage_size() -> String {
    "1Gi".to_owned()
}

// By hand, from the functions that the schema's defaults come from: a derived Default would put
// zeros and empty strings into the defaults of the parents.
impl Default for KvorumClusterSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            image: None,
            timing: Timing::default(),
            snapshot_count: default_snapshot_count(),
            auto_compaction: AutoCompaction::default(),
            storage: Storage::default(),
            replacement: Replacement::default(),
            bootstrap: Bootstrap::default(),
            pod: PodSettings::default(),
            paused: false,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: default_heartbeat_interval_ms(),
            election_timeout_ms: default_election_timeout_ms(),
        }
    }
}

impl Default for AutoCompaction {
    fn default() -> Self {
        Self { mode: AutoCompactionMode::default(), retention: default_retention() }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_storage_size(), class_name: None, retention: Retention::default() }
    }
}

impl Default for Replacement {
    fn default() -> Self {
        Self {
            enabled: default_replacement_enabled(),
            unhealthy_after_seconds: default_unhealthy_after_seconds(),
            max_per_hour: default_max_per_hour(),
        }
    }
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { static_list: Some(StaticBootstrap {}) }
    }
}
