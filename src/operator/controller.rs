//! The operator in a Pod: which clusters to pass over, and when.
//!
//! Each change of a cluster or of an object of its own calls for a pass; so does the time that the
//! last one asked for. What a pass does is decided in [`super::reconcile`].

mod election;
mod health;
mod metrics;
mod options;
mod requests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::controller::{Action, Config};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use rand::Rng;
use tokio_util::sync::CancellationToken;

use self::election::Election;
use self::health::Readiness;
use self::metrics::Metrics;
pub use self::options::Options;
use super::build::{CLUSTER_LABEL, FIELD_MANAGER, Image};
use super::platform::PlatformError;
use super::platform::kubernetes::{Kubernetes, Refused};
use super::reconcile::{Pass, Reconciler, chain};
use crate::api::KvorumCluster;

/// The wait after the first failed pass; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// The longest wait after a failed pass.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// No two passes over one cluster follow each other faster.
const PASS_EVERY_MIN: Duration = Duration::from_millis(100);

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot tell how to reach Kubernetes")]
    Config(#[source] kube::Error),
    #[error("cannot serve metrics and health on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("cannot use Lease {name} in namespace {namespace}")]
    Lease { name: String, namespace: String, source: Box<kube_lease_manager::LeaseManagerError> },
    #[error("Lease {name} was lost: another replica may work now")]
    LeaseLost { name: String },
    #[error("cannot set up metrics")]
    Metrics(#[source] prometheus::Error),
}

/// What all passes share.
struct Context {
    client: Client,
    image: Image,
    recorder: Recorder,
    metrics: Metrics,
    reconcilers: Mutex<HashMap<ObjectRef<KvorumCluster>, Arc<Reconciler<Kubernetes>>>>,
    failures: Mutex<HashMap<ObjectRef<KvorumCluster>, u32>>,
}

/// Runs until `stop`; the passes under way are finished, and the Lease is given back.
///
/// # Errors
/// See [`Error`]; on any of them the process should end and be started again.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), Error> {
    let metrics = Metrics::new().map_err(Error::Metrics)?;
    metrics.concurrency(options.concurrency);
    let config =
        kube::Config::infer().await.map_err(|error| Error::Config(kube::Error::InferConfig(error)))?;
    let client = requests::counted(config, metrics.clone()).map_err(Error::Config)?;
    let readiness = Readiness::default();
    let address = options.listen_address;
    let serving = health::serve(address, readiness.clone(), metrics.clone());
    let working = work(client, &options, readiness, metrics, stop);
    tokio::select! {
        served = serving => served.map_err(|source| Error::Listen { address, source }),
        worked = working => worked,
    }
}

/// Stands by for the Lease, then works until `stop` or until the Lease is lost.
async fn work(
    client: Client,
    options: &Options,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), Error> {
    if !options.leader_elect {
        control(client, options, readiness, metrics, stop).await;
        return Ok(());
    }
    let name = &options.lease_name;
    let mut election = Election::enter(client.clone(), options).await.map_err(|source| Error::Lease {
        name: name.clone(),
        namespace: options.lease_namespace.clone(),
        source: Box::new(source),
    })?;
    readiness.set(true);
    tracing::info!(lease = name, identity = options.identity, "standing by for the lease");
    tokio::select! {
        () = election.won() => {}
        () = stop.cancelled() => {
            election.leave().await;
            return Ok(());
        }
    }
    tracing::info!(lease = name, "lease won");
    metrics.leads(name, true);
    readiness.set(false);
    let lost = tokio::select! {
        () = control(client, options, readiness, metrics, stop) => false,
        () = election.lost() => true,
    };
    if lost {
        return Err(Error::LeaseLost { name: name.clone() });
    }
    election.leave().await;
    Ok(())
}

/// One controller for each watched namespace, or one for all of them.
async fn control(
    client: Client,
    options: &Options,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let reporter =
        Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(options.identity.clone()) };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        image: options.image(),
        metrics,
        reconcilers: Mutex::default(),
        failures: Mutex::default(),
    });
    let namespaces = options.namespaces();
    let places = if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let (stores, passes): (Vec<_>, Vec<_>) = places
        .into_iter()
        .map(|place| passes(context.clone(), place, options.concurrency, stop.clone()))
        .unzip();
    let in_view = async {
        for store in &stores {
            // The only failure is the end of the watch, which ends the passes too.
            let _ = store.wait_until_ready().await;
        }
        readiness.set(true);
        std::future::pending::<()>().await
    };
    let all = futures::stream::select_all(passes.into_iter().map(StreamExt::boxed));
    tokio::select! {
        () = all.for_each(|()| async {}) => {}
        () = in_view => {}
    }
}

/// The passes over the clusters of one namespace, or of all.
fn passes(
    context: Arc<Context>,
    namespace: Option<&str>,
    concurrency: u16,
    stop: CancellationToken,
) -> (Store<KvorumCluster>, impl Stream<Item = ()> + use<>) {
    let client = &context.client.clone();
    let everything = watcher::Config::default();
    // Only what carries our label: there may be many Pods that are no members.
    let ours = || watcher::Config::default().labels(CLUSTER_LABEL);
    let controller = Controller::new(api::<KvorumCluster>(client, namespace), everything)
        .owns(api::<Pod>(client, namespace), ours())
        .owns(api::<Service>(client, namespace), ours())
        .owns(api::<PodDisruptionBudget>(client, namespace), ours())
        .watches(api::<PersistentVolumeClaim>(client, namespace), ours(), cluster_of)
        .with_config(Config::default().concurrency(concurrency))
        .graceful_shutdown_on(async move { stop.cancelled().await });
    let store = controller.store();
    let ended = controller.run(pass, after_failure, context.clone()).map(move |ended| {
        use kube::runtime::controller::Error::{ObjectNotFound, ReconcilerFailed};
        match ended {
            // A failed pass has told of itself.
            Ok(_) | Err(ReconcilerFailed(..)) => {}
            Err(ObjectNotFound(gone)) => {
                context.forget(
                    &ObjectRef::new(&gone.name).within(gone.namespace.as_deref().unwrap_or_default()),
                );
            }
            Err(error) => tracing::warn!(%error, "watch failed"),
        }
    });
    (store, ended)
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Claims have no owner; their label says whose they are.
fn cluster_of(claim: PersistentVolumeClaim) -> Option<ObjectRef<KvorumCluster>> {
    let cluster = claim.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(cluster).within(&claim.namespace()?))
}

async fn pass(cluster: Arc<KvorumCluster>, context: Arc<Context>) -> Result<Action, PlatformError> {
    let began = Instant::now();
    context.metrics.pass_began();
    let outcome = context.reconciler(&cluster).pass().await;
    let failed = outcome.as_ref().map_or(true, |pass| pass.failure.is_some());
    let waits = |pass: &Pass| pass.plan.as_ref().is_some_and(|plan| plan.operation.is_some());
    let result = match &outcome {
        _ if failed => "error",
        Ok(pass) if waits(pass) => "requeue_after",
        _ => "success",
    };
    context.metrics.pass_ended(result, began.elapsed());
    let pass = outcome?;
    context.metrics.cluster(&pass);
    if let Some(failure) = pass.failure {
        return Err(failure);
    }
    context.failures.lock().remove(&ObjectRef::from_obj(&*cluster));
    Ok(Action::requeue(pass.check_again_after.max(PASS_EVERY_MIN)))
}

impl Context {
    /// The one that keeps the connections to this cluster's members.
    fn reconciler(&self, cluster: &KvorumCluster) -> Arc<Reconciler<Kubernetes>> {
        let mut all = self.reconcilers.lock();
        let kept = all.entry(ObjectRef::from_obj(cluster)).or_insert_with(|| {
            let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
            let recorder = self.recorder.clone();
            Arc::new(Reconciler::new(Kubernetes::new(
                self.client.clone(),
                &namespace,
                &name,
                self.image.clone(),
                recorder,
            )))
        });
        kept.clone()
    }

    fn forget(&self, cluster: &ObjectRef<KvorumCluster>) {
        self.reconcilers.lock().remove(cluster);
        self.failures.lock().remove(cluster);
        self.metrics.forget(cluster.namespace.as_deref().unwrap_or_default(), &cluster.name);
    }
}

/// Waits longer with each failure in a row, and never as long as others that failed with it.
fn after_failure(cluster: Arc<KvorumCluster>, error: &PlatformError, context: Arc<Context>) -> Action {
    let of = ObjectRef::from_obj(&*cluster);
    if is_gone(error) {
        context.forget(&of);
        return Action::await_change();
    }
    let failures = {
        let mut all = context.failures.lock();
        let failures = all.entry(of).or_default();
        *failures += 1;
        *failures
    };
    let wait = backoff(failures, rand::rng().random_range(0.5..1.0));
    tracing::warn!(
        namespace = cluster.namespace(),
        name = cluster.name_any(),
        error = chain(error),
        failures,
        wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        "pass failed"
    );
    Action::requeue(wait)
}

/// The resource was deleted between the call for a pass and the pass.
fn is_gone(error: &PlatformError) -> bool {
    error.source.downcast_ref().is_some_and(|Refused(status)| status.is_not_found())
}

/// `share` is what part of the full wait is taken, 0.5 to 1.
fn backoff(failures: u32, share: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MAX).mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_failures_grow_to_a_limit() {
        let waits: Vec<_> = [1, 2, 3, 8, 9, 100].map(|failures| backoff(failures, 1.0).as_millis()).into();
        assert_eq!(waits, [500, 1_000, 2_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff(1, 0.5).as_millis(), 250);
    }
}
