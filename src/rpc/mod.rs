//! The etcd v3 API over gRPC: one file per service.
//!
//! A call goes gate (may it be asked of this member now?) -> parse (proto to checked operation) -> the
//! service's one function -> answer (outcome to proto), or status (error to etcd's code and text). `grpc`
//! carries the bytes.

mod answer;
mod cluster;
mod gate;
mod grpc;
mod header;
mod health;
mod kv;
mod maintenance;
mod parse;
mod quota;
mod status;
mod watch;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use futures::Stream;
use http::{HeaderMap, Request, Response};
use prost::Message;
use tonic::Status;

use crate::apply::State;
use crate::clock::Clock;
use crate::raft::Handle;
use crate::telemetry::metrics::{Metrics, RpcKind};
use crate::types::{ClusterId, MemberId};
use crate::watch::Hub;

use self::cluster::Cluster;
use self::gate::Gate;
use self::grpc::{Encoded, Meter, Reply};
use self::header::Headers;
use self::health::Health;
use self::kv::Kv;
use self::maintenance::Maintenance;
use self::quota::Quota;
use self::watch::Watch;

/// gRPC's own part of a message that may come in, above the request itself.
const MESSAGE_OVERHEAD_BYTES: usize = 512 * 1024;

/// What the services are made of.
pub struct Services {
    pub cluster: ClusterId,
    pub me: MemberId,
    pub handle: Handle,
    pub state: State,
    pub hub: Hub,
    pub metrics: Metrics,
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
}

/// The flags that bound or time what clients ask.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `--max-txn-ops`
    pub txn_ops_max: usize,
    /// `--max-request-bytes`
    pub request_bytes_max: usize,
    /// `--election-timeout`
    pub election: Duration,
    /// `--watch-progress-notify-interval`
    pub progress_interval: Duration,
    /// `--strict-reconfig-check`
    pub strict_reconfig: bool,
    /// `--max-learners`
    pub learners_max: usize,
    /// `--quota-backend-bytes` as members report it: the default is filled in.
    pub quota_bytes: i64,
}

impl Services {
    /// The routes of all services; every other path is answered as gRPC answers an unknown method.
    /// Must be called within the runtime that will serve them.
    pub fn routes(self) -> Router {
        let Services { cluster, me, handle, state, hub, metrics, clock, limits } = self;
        let gate = Arc::new(Gate::new(me, handle.clone(), state.clone()));
        tokio::spawn(gate::watch_leader(Arc::downgrade(&gate), limits.election, clock.clone()));
        let headers = Headers { cluster, me, handle: handle.clone(), state };
        let bytes_max = limits.request_bytes_max + MESSAGE_OVERHEAD_BYTES;
        let quota = Quota {
            me,
            handle: handle.clone(),
            state: headers.state.clone(),
            bytes: u64::try_from(limits.quota_bytes).ok(),
        };
        let kv = Kv::new(
            gate.clone(),
            headers.clone(),
            quota,
            metrics.clone(),
            limits.txn_ops_max,
            limits.request_bytes_max,
        );
        let watch = Watch {
            gate: gate.clone(),
            headers: headers.clone(),
            hub,
            clock,
            progress_interval: limits.progress_interval,
            message_bytes_max: bytes_max,
        };
        let cluster = Cluster {
            gate: gate.clone(),
            headers: headers.clone(),
            handle: handle.clone(),
            strict: limits.strict_reconfig,
            learners_max: limits.learners_max,
        };
        let maintenance =
            Maintenance { gate: gate.clone(), headers, handle, quota_bytes: limits.quota_bytes };
        let routes = Routes { router: Router::new(), metrics, bytes_max };
        let routes = kv_routes(routes, &Arc::new(kv));
        let routes = watch_routes(routes, Arc::new(watch));
        let routes = cluster_routes(routes, &Arc::new(cluster));
        let routes = maintenance_routes(routes, &Arc::new(maintenance));
        let routes = health_routes(routes, &Arc::new(Health { gate }));
        routes.router.route("/{service}/{method}", any(unknown))
    }
}

fn kv_routes(routes: Routes, kv: &Arc<Kv>) -> Routes {
    const KV: &str = "etcdserverpb.KV";
    routes
        .encoded(KV, "Range", kv, Kv::range)
        .server_stream(KV, "RangeStream", kv, Kv::range_stream)
        .unary(KV, "Put", kv, Kv::put)
        .unary(KV, "DeleteRange", kv, Kv::delete_range)
        .unary(KV, "Txn", kv, Kv::txn)
        .unary(KV, "Compact", kv, Kv::compact)
}

fn watch_routes(routes: Routes, watch: Arc<Watch>) -> Routes {
    routes.route("etcdserverpb.Watch", "Watch", RpcKind::BidiStream, move |meter, request| {
        std::future::ready(watch.serve(meter, request))
    })
}

fn cluster_routes(routes: Routes, cluster: &Arc<Cluster>) -> Routes {
    const CLUSTER: &str = "etcdserverpb.Cluster";
    routes
        .unary(CLUSTER, "MemberAdd", cluster, Cluster::add)
        .unary(CLUSTER, "MemberRemove", cluster, Cluster::remove)
        .unary(CLUSTER, "MemberUpdate", cluster, Cluster::update)
        .unary(CLUSTER, "MemberPromote", cluster, Cluster::promote)
        .unary(CLUSTER, "MemberList", cluster, Cluster::list)
}

fn maintenance_routes(routes: Routes, maintenance: &Arc<Maintenance>) -> Routes {
    const MAINTENANCE: &str = "etcdserverpb.Maintenance";
    routes
        .unary(MAINTENANCE, "Status", maintenance, Maintenance::status)
        .unary(MAINTENANCE, "Alarm", maintenance, Maintenance::alarm)
        .unary(MAINTENANCE, "Defragment", maintenance, Maintenance::defragment)
        .unary(MAINTENANCE, "Hash", maintenance, Maintenance::hash)
        .unary(MAINTENANCE, "HashKV", maintenance, Maintenance::hash_kv)
        .unary(MAINTENANCE, "MoveLeader", maintenance, Maintenance::move_leader)
}

fn health_routes(routes: Routes, health: &Arc<Health>) -> Routes {
    const HEALTH: &str = "grpc.health.v1.Health";
    routes.unary(HEALTH, "Check", health, Health::check).server_stream(HEALTH, "Watch", health, Health::watch)
}

/// What a member answers that does not run yet; clients try another one, or again.
pub fn not_running() -> Router {
    Router::new().route("/{service}/{method}", post(async || grpc::refuse(&status::not_running())))
}

/// Calls of etcd's that wait for their issue, and calls that nobody has.
async fn unknown(request: Request<Body>) -> Response<Body> {
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return grpc::refuse(&status::not_served(request.uri().path().trim_start_matches('/')));
    }
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    response
}

/// Collects the routes of all services, each with its counters.
struct Routes {
    router: Router,
    metrics: Metrics,
    /// Largest message of a client.
    bytes_max: usize,
}

impl Routes {
    fn route<F>(
        mut self,
        service: &'static str,
        method: &'static str,
        kind: RpcKind,
        call: impl Fn(Meter, Request<Body>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let meter = Meter::new(&self.metrics, kind, service, method);
        let serve = move |request: Request<Body>| call(meter.clone(), request);
        self.router = self.router.route(&format!("/{service}/{method}"), post(serve));
        self
    }

    fn unary<S, Q, A, F>(
        self,
        service: &'static str,
        method: &'static str,
        to: &Arc<S>,
        call: impl Fn(Arc<S>, HeaderMap, Q) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        S: Send + Sync + 'static,
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Future<Output = Result<Reply<A>, Status>> + Send + 'static,
    {
        let (to, bytes_max) = (to.clone(), self.bytes_max);
        self.route(service, method, RpcKind::Unary, move |meter, request| {
            let to = to.clone();
            grpc::unary(meter, request, bytes_max, move |headers, message| async move {
                let reply = call(to, headers, message).await?;
                Ok((Encoded::Whole(grpc::frame(&reply.message)), reply.header))
            })
        })
    }

    fn encoded<S, Q, F>(
        self,
        service: &'static str,
        method: &'static str,
        to: &Arc<S>,
        call: impl Fn(Arc<S>, HeaderMap, Q) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        S: Send + Sync + 'static,
        Q: Message + Default + 'static,
        F: Future<Output = Result<Encoded, Status>> + Send + 'static,
    {
        let (to, bytes_max) = (to.clone(), self.bytes_max);
        self.route(service, method, RpcKind::Unary, move |meter, request| {
            let to = to.clone();
            grpc::unary(meter, request, bytes_max, move |headers, message| async move {
                Ok((call(to, headers, message).await?, None))
            })
        })
    }

    fn server_stream<S, Q, A, M, F>(
        self,
        service: &'static str,
        method: &'static str,
        to: &Arc<S>,
        call: impl Fn(Arc<S>, HeaderMap, Q) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        S: Send + Sync + 'static,
        Q: Message + Default + 'static,
        A: Message + 'static,
        M: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<M, Status>> + Send + 'static,
    {
        let (to, bytes_max) = (to.clone(), self.bytes_max);
        self.route(service, method, RpcKind::ServerStream, move |meter, request| {
            let to = to.clone();
            grpc::server_stream(meter, request, bytes_max, move |headers, message| call(to, headers, message))
        })
    }
}
