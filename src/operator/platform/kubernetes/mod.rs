//! Members as Pods. Every look reads the API server itself, never a cache: a decision about
//! members on an old view is worth less than the reads it saves, and a steady cluster is looked
//! at rarely.

mod drift;
mod observe;
mod perform;
mod publish;

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::{Platform, PlatformError, Report};
use crate::api::KvorumCluster;
use crate::operator::build::Image;
use crate::operator::names::MemberName;
use crate::operator::observed::Observed;
use crate::operator::step::{Step, Surroundings};
use crate::operator::validate::Validated;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod tests;

/// The place of one cluster in Kubernetes.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    namespace: String,
    name: String,
    image: Image,
    recorder: Recorder,
}

/// The live objects of one look.
#[derive(Clone, Debug)]
pub struct Found {
    cluster: KvorumCluster,
    pods: BTreeMap<MemberName, Pod>,
    claims: BTreeMap<MemberName, PersistentVolumeClaim>,
    services: BTreeMap<String, Service>,
    budgets: BTreeMap<String, PodDisruptionBudget>,
}

/// What the API server answered, in its own words and no more of them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Refused(pub Box<kube::core::Status>);

/// What went wrong between us and the API server.
fn failed(doing: impl Into<String>, error: kube::Error) -> PlatformError {
    match error {
        kube::Error::Api(status) => PlatformError::new(doing, Refused(status)),
        error => PlatformError::new(doing, error),
    }
}

impl Kubernetes {
    /// The place of the cluster `name`. `image` is for clusters whose spec names none.
    pub fn new(client: Client, namespace: &str, name: &str, image: Image, recorder: Recorder) -> Self {
        Self { client, namespace: namespace.to_owned(), name: name.to_owned(), image, recorder }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Platform for Kubernetes {
    type Found = Found;

    async fn observe(&self) -> Result<(Observed, Found), PlatformError> {
        let found = self.look().await?;
        Ok((observe::observed(&found)?, found))
    }

    fn drifted(&self, found: &Found, validated: &Validated, wanted: &Surroundings) -> Vec<String> {
        drift::drifted(found, validated, wanted).iter().map(ToString::to_string).collect()
    }

    async fn perform(
        &self,
        step: &Step,
        validated: &Validated,
        observed: &Observed,
        found: &Found,
    ) -> Result<(), PlatformError> {
        perform::perform(self, step, validated, observed, found).await
    }

    async fn publish(&self, report: &Report, observed: &Observed) -> Result<(), PlatformError> {
        publish::publish(self, report, observed).await
    }
}
