//! Carries a step out. Each call either has the effect, or had it already, or is an error.

use std::fmt::Debug;

use futures::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::drift::{Drift, drifted, is_marked};
use super::{Found, Kubernetes, failed};
use crate::api::{KvorumCluster, RetentionPolicy};
use crate::operator::build::{
    self, FIELD_MANAGER, FINALIZER, LEAVING, LED_AWAY_SINCE, ROLE_LABEL, annotations_of,
};
use crate::operator::names::MemberName;
use crate::operator::observed::{DiskMark, Observed};
use crate::operator::platform::PlatformError;
use crate::operator::step::{Launch, Step, Surroundings};
use crate::operator::validate::Validated;

/// An object of ours stands under a name that somebody else took.
#[derive(Debug, thiserror::Error)]
#[error("{object} is there and was not made for this cluster: delete or rename it")]
struct Taken {
    object: String,
}

pub(super) async fn perform(
    place: &Kubernetes,
    step: &Step,
    validated: &Validated,
    observed: &Observed,
    found: &Found,
) -> Result<(), PlatformError> {
    match step {
        Step::Apply { surroundings, .. } => place.apply_all(validated, found, surroundings).await,
        Step::Form { surroundings, launches } => {
            // Names first: members look each other up as soon as they run.
            place.apply_all(validated, found, surroundings).await?;
            try_join_all(launches.iter().map(|launch| place.start(validated, found, launch))).await?;
            Ok(())
        }
        Step::Start(launch) => place.start(validated, found, launch).await,
        Step::Stop { member } => match found.pods.get(member) {
            Some(pod) => place.delete(pod, format!("delete Pod {member}")).await,
            None => Ok(()),
        },
        Step::ReleaseDisk { member, policy } => place.release(observed, found, member, *policy).await,
        Step::Dismantle { policy } => place.dismantle(observed, found, *policy).await,
        // These change the membership, not the platform.
        Step::Nothing
        | Step::AddLearner { .. }
        | Step::Promote { .. }
        | Step::MoveLeader { .. }
        | Step::Remove { .. } => Ok(()),
    }
}

/// With another role the annotation goes by itself, being no longer applied.
fn role_metadata(role: &str) -> Value {
    let mut metadata = json!({ "labels": { ROLE_LABEL: role } });
    if role == LEAVING {
        metadata["annotations"] = json!({ LED_AWAY_SINCE: jiff::Timestamp::now() });
    }
    metadata
}

impl Kubernetes {
    async fn apply_all(
        &self,
        validated: &Validated,
        found: &Found,
        wanted: &Surroundings,
    ) -> Result<(), PlatformError> {
        for drift in drifted(found, validated, wanted) {
            self.mend(found, drift).await?;
        }
        Ok(())
    }

    async fn mend(&self, found: &Found, drift: Drift) -> Result<(), PlatformError> {
        let doing = format!("bring up to date: {drift}");
        match drift {
            Drift::Finalizer { wanted } => self.set_finalizer(found.cluster.uid(), wanted).await,
            Drift::Service(service) => self.apply::<Service>(&service.name_any(), &*service, doing).await,
            Drift::Budget(budget) => {
                self.apply::<PodDisruptionBudget>(&budget.name_any(), &*budget, doing).await
            }
            Drift::Role { member, role } => match found.pods.get(&member) {
                Some(pod) => self.apply_metadata(pod, role_metadata(role), doing).await,
                None => Ok(()),
            },
            Drift::Mark { member, mark } => self.mark(found, &member, &mark).await,
        }
    }

    async fn start(
        &self,
        validated: &Validated,
        found: &Found,
        launch: &Launch,
    ) -> Result<(), PlatformError> {
        let member = &launch.member;
        match found.claims.get(member) {
            Some(_) => self.mark(found, member, &launch.mark).await?,
            None => {
                let claim = build::claim(validated, member, &launch.mark);
                let ours = |held: &PersistentVolumeClaim| held.annotations() == claim.annotations();
                self.create(&claim, format!("claim {member}"), ours).await?;
            }
        }
        if let Some(ended) = found.pods.get(member) {
            self.delete(ended, format!("clear Pod {member} away")).await?;
        }
        let pod = build::pod(validated, launch, &self.image);
        let ours =
            |held: &Pod| held.owner_references().iter().any(|reference| reference.uid == validated.uid);
        self.create(&pod, format!("Pod {member}"), ours).await
    }

    async fn mark(&self, found: &Found, member: &MemberName, mark: &DiskMark) -> Result<(), PlatformError> {
        let Some(claim) = found.claims.get(member) else { return Ok(()) };
        if is_marked(claim, mark) {
            return Ok(());
        }
        self.apply_metadata(
            claim,
            json!({ "annotations": annotations_of(mark) }),
            format!("mark claim {member}"),
        )
        .await
    }

    async fn release(
        &self,
        observed: &Observed,
        found: &Found,
        member: &MemberName,
        policy: RetentionPolicy,
    ) -> Result<(), PlatformError> {
        let Some(claim) = found.claims.get(member) else { return Ok(()) };
        if policy == RetentionPolicy::Delete {
            return self.delete(claim, format!("delete claim {member}")).await;
        }
        let mark = observed.disks.get(member).and_then(|disk| disk.mark.clone());
        let mark = mark.unwrap_or_else(|| DiskMark {
            owner: observed.cluster.uid.clone(),
            cluster_id: observed.cluster_id(),
            member_id: None,
            voters: Default::default(),
            next_ordinal: 0,
            quarantined: false,
            retired: true,
        });
        self.mark(found, member, &DiskMark { retired: true, ..mark }).await
    }

    /// Members first, then the disks that were theirs.
    async fn dismantle(
        &self,
        observed: &Observed,
        found: &Found,
        policy: RetentionPolicy,
    ) -> Result<(), PlatformError> {
        if !found.pods.is_empty() {
            let deletions =
                found.pods.iter().map(|(member, pod)| self.delete(pod, format!("delete Pod {member}")));
            try_join_all(deletions).await?;
            return Ok(());
        }
        if policy == RetentionPolicy::Retain {
            return Ok(());
        }
        let ours = found.claims.iter().filter(|(member, _)| {
            let mark = observed.disks.get(*member).and_then(|disk| disk.mark.as_ref());
            mark.is_some_and(|mark| mark.owner == observed.cluster.uid)
        });
        let deletions = ours.map(|(member, claim)| self.delete(claim, format!("delete claim {member}")));
        try_join_all(deletions).await.map(drop)
    }

    /// Once nothing is left to wait for, the resource may go.
    pub(super) async fn let_go(&self, observed: &Observed) -> Result<(), PlatformError> {
        let kept = observed.spec.storage.retention.on_delete == RetentionPolicy::Retain;
        let ours = |mark: &DiskMark| mark.owner == observed.cluster.uid;
        let held = !kept && observed.disks.values().filter_map(|disk| disk.mark.as_ref()).any(ours);
        if !observed.deleting || held || !observed.processes.is_empty() {
            return Ok(());
        }
        self.set_finalizer(Some(observed.cluster.uid.clone()), false).await
    }

    /// Reads the resource anew, since its status was just written; then a merge on that version, and
    /// no server-side apply, which would make a resource again that somebody has deleted meanwhile.
    async fn set_finalizer(&self, uid: Option<String>, wanted: bool) -> Result<(), PlatformError> {
        let cluster = self.api::<KvorumCluster>().get_opt(&self.name).await;
        let cluster = cluster.map_err(|error| failed("read the KvorumCluster", error))?;
        let Some(cluster) = cluster.filter(|cluster| cluster.uid() == uid) else { return Ok(()) };
        let mut finalizers: Vec<_> =
            cluster.finalizers().iter().filter(|held| *held != FINALIZER).cloned().collect();
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        if finalizers == cluster.finalizers() {
            return Ok(());
        }
        let patch = json!({ "metadata": {
            "uid": cluster.uid(),
            "resourceVersion": cluster.resource_version(),
            "finalizers": finalizers,
        } });
        let manager = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let answer = self.api::<KvorumCluster>().patch(&self.name, &manager, &Patch::Merge(&patch)).await;
        answer.map(drop).map_err(|error| failed("set the finalizer", error))
    }

    async fn apply<K>(
        &self,
        name: &str,
        object: &(impl Serialize + Debug),
        doing: String,
    ) -> Result<(), PlatformError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let ours = PatchParams::apply(FIELD_MANAGER).force();
        let answer = self.api::<K>().patch(name, &ours, &Patch::Apply(object)).await;
        answer.map(drop).map_err(|error| failed(doing, error))
    }

    /// Applies labels or annotations to this very object; the identity keeps the patch from
    /// reaching a later object of the same name.
    async fn apply_metadata<K>(&self, object: &K, metadata: Value, doing: String) -> Result<(), PlatformError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let name = object.name_any();
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        metadata["uid"] = json!(object.uid());
        let patch = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata });
        self.apply::<K>(&name, &patch, doing).await
    }

    /// Makes the object, unless it is there already and `ours` says so.
    async fn create<K>(
        &self,
        object: &K,
        what: String,
        ours: impl Fn(&K) -> bool,
    ) -> Result<(), PlatformError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let manager = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let error = match self.api::<K>().create(&manager, object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let held = self.api::<K>().get_opt(&object.name_any()).await;
                match held.map_err(|error| failed(format!("read {what}"), error))? {
                    Some(held) if !ours(&held) => {
                        return Err(PlatformError::new("make it", Taken { object: what }));
                    }
                    _ => return Ok(()),
                }
            }
            Err(error) => error,
        };
        Err(failed(format!("make {what}"), error))
    }

    /// Deletes this very object, and no later one of the same name. Never by force.
    async fn delete<K>(&self, object: &K, doing: String) -> Result<(), PlatformError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        if object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let this = Preconditions { uid: object.uid(), resource_version: None };
        let answer =
            self.api::<K>().delete(&object.name_any(), &DeleteParams::default().preconditions(this)).await;
        match answer {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(failed(doing, error)),
        }
    }
}
