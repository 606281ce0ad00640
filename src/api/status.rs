//! `KvorumCluster`: what the operator answers. Nothing in it moves with the load of clients:
//! positions, sizes and lags are metrics, so that a busy cluster writes no status.

#![expect(unreachable_pub, reason = "the schema derive repeats each type inside a function")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the cluster is, as the operator last saw it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KvorumClusterStatus {
    /// The generation of the spec that this status speaks of; -1 before the operator first looked.
    #[serde(default)]
    pub observed_generation: i64,

    /// One word for where the cluster stands, for people; programs read the conditions. One of
    /// Pending, Forming, Running, Changing, Degraded, Unavailable, Refused, Paused, Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,

    /// Identity of the cluster in hex. Once it is set the cluster is formed, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub cluster_id: Option<String>,

    /// The members, in the order of their ordinals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<MemberStatus>,

    /// The name of the member that leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub leader: Option<String>,

    /// The version that the members run; empty while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,

    /// Voting members that the cluster has now; what `kubectl scale` and autoscalers read.
    #[serde(default)]
    pub replicas: i32,

    /// Voting members in health and in step, of those wanted, such as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready_members: Option<String>,

    /// The label selector of the members' Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,

    /// The ordinal that the next new member gets; names are never used again.
    #[serde(default)]
    pub next_ordinal: i32,

    /// What is asked for in the spec and is not yet everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pending_changes: Vec<PendingChange>,

    /// What the operator is about now; absent when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,

    /// The members that failed and were replaced last, the newest at the end. Their disks are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub replaced: Vec<Replaced>,

    /// Ready, Available, Progressing and Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One word for where a cluster stands.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Forming,
    Running,
    Changing,
    Degraded,
    Unavailable,
    Refused,
    Paused,
    Deleting,
}

/// One member of the cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The member's name; its Pod and its disk are named alike.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// The member's identity in hex, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub id: Option<String>,

    /// `Voter`, `Learner`, or `Unlisted` for one that is not in the list of members (yet, or any
    /// more).
    pub role: MemberRole,

    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,

    /// `Healthy`: it serves, having heard from a majority. `Unhealthy`: it does not, and says so
    /// or is known to be down. `Unknown`: it does not answer.
    pub health: MemberHealth,

    /// `InStep`, `CatchingUp`, `Starting`, `Stopping`, or `Stopped`.
    pub state: MemberState,

    /// The version it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,

    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub node: Option<String>,

    /// Since when the leader has had no contact with it; absent while it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Time>,

    /// Its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub claim: Option<String>,
}

/// What a member is in the list of members.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberRole {
    Voter,
    Learner,
    Unlisted,
}

/// Whether a member serves.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberHealth {
    Healthy,
    Unhealthy,
    Unknown,
}

/// How far a member is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    InStep,
    CatchingUp,
    Starting,
    Stopping,
    Stopped,
}

/// A part of the spec that has not reached every member.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PendingChange {
    /// The field, such as `spec.timing.electionTimeoutMs`.
    #[schemars(length(max = 253))]
    pub field: String,

    /// What it should be, as JSON.
    #[schemars(length(max = 1024))]
    pub wanted: String,

    /// The members that do not have it yet.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub members: Vec<String>,
}

/// A member that failed and was replaced.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    /// Its name, which its disk bears as well.
    #[schemars(length(max = 253))]
    pub member: String,

    /// Why, in words.
    #[schemars(length(max = 1024))]
    pub because: String,

    /// When it was taken off the list of members.
    pub at: Time,
}

/// What the operator is about.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// `Form`, `ScaleOut`, `ScaleIn`, `Roll`, `Restore` (of a member that was gone), `Maintain`,
    /// `Replace` (of a member that has failed or is to move), or `Delete`.
    pub kind: OperationKind,

    /// The member that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub member: Option<String>,

    /// The step in progress, in words.
    #[schemars(length(max = 1024))]
    pub step: String,

    /// Why that step, in words.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub reason: String,

    /// What the step waits for, in words; absent when nothing holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub waiting_on: Option<String>,

    /// When this kind of operation began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
}

/// The kinds of operation.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    Form,
    ScaleOut,
    ScaleIn,
    Roll,
    Restore,
    Replace,
    Maintain,
    Delete,
}

/// One aspect of the cluster's state, in the shape of `metav1.Condition`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready` (all is as the spec says), `Available` (a majority serves), `Progressing` (the
    /// operator changes something), or `Degraded` (something needs attention).
    #[serde(rename = "type")]
    pub kind: ConditionType,

    /// Whether it holds; `Unknown` when the operator's view is too old to say.
    pub status: ConditionStatus,

    /// Why, in one word of a closed list.
    pub reason: ConditionReason,

    /// Why, in words.
    #[schemars(length(max = 4096))]
    pub message: String,

    /// When `status` last changed.
    pub last_transition_time: Time,

    /// The generation of the spec that this speaks of.
    #[serde(default)]
    pub observed_generation: i64,
}

/// The conditions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    Ready,
    Available,
    Progressing,
    Degraded,
}

/// Whether a condition holds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// Why a condition is what it is. The list is closed; docs/concepts.md explains each.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionReason {
    /// All members serve and are what the spec says.
    AsSpecified,
    /// A majority of the voters serves.
    QuorumHealthy,
    /// Fewer than a majority of the voters serve.
    QuorumLost,
    /// The cluster has not formed yet.
    NotFormed,
    /// The first members start together.
    Forming,
    /// Members are being added.
    ScalingOut,
    /// Members are being removed.
    ScalingIn,
    /// Members are restarted one at a time with new settings.
    Rolling,
    /// A member that was gone is being started again on its disk.
    RestoringMember,
    /// A member that has failed, or is to move, gives way to a new one.
    Replacing,
    /// Objects around the members are brought up to date.
    Maintaining,
    /// A step waits until it is safe.
    WaitingForSafety,
    /// Nothing is in progress.
    Settled,
    /// A member does not serve.
    MemberUnhealthy,
    /// A disk of the cluster is missing.
    DiskMissing,
    /// The cluster has members that the operator did not make.
    MembershipDrift,
    /// The spec cannot be carried out as it stands.
    InvalidSpec,
    /// Disks of an earlier cluster are there and do not make up all of it.
    ForeignDisks,
    /// The operator leaves the cluster alone because the spec says so.
    Paused,
    /// The resource is being deleted.
    Deleting,
    /// The operator could not look or act lately.
    StaleView,
}
