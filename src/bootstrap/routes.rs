//! What bootstrap serves: on the peer port the handshake and the member list, on the client port the state.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::json;

use super::handshake::Hello;
use super::report::Report;
use super::shared::{OWN_STATE_PATH, Shared};
use crate::membership::Member;
use crate::telemetry::http_guard::plain;

pub(super) const HELLO_PATH: &str = "/kvorum/founding/hello";
pub(super) const MEMBERS_PATH: &str = "/members";
pub(super) const CLUSTER_ID_HEADER: &str = "x-etcd-cluster-id";

pub(super) fn peer(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(HELLO_PATH, post(hello))
        .route(OWN_STATE_PATH, get(own_state))
        .route(MEMBERS_PATH, any(members))
        .with_state(shared)
}

pub(super) fn client(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/kvorum/state", get(state))
        .route("/kvorum/founding/grant/{disk}", post(grant))
        .with_state(shared)
}

/// The note has to be on disk before the answer goes out, and syncing must not hold up other requests.
async fn hello(State(shared): State<Arc<Shared>>, Json(hello): Json<Hello>) -> Response {
    let answered = tokio::task::spawn_blocking(move || shared.answer(&hello)).await;
    match answered {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot note a peer");
            plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn own_state(State(shared): State<Arc<Shared>>) -> Json<Report> {
    Json(shared.own_report())
}

/// Leave to found a cluster on a disk, from whoever knows that it is to be a new one.
async fn grant(State(shared): State<Arc<Shared>>, Path(disk): Path<String>) -> Response {
    match shared.grant(&disk) {
        Ok(()) => plain(StatusCode::OK, "granted\n"),
        Err(why) => plain(StatusCode::CONFLICT, format!("{why}\n")),
    }
}

/// The reason alone tells all here: people and tools that show one line show this one.
async fn state(State(shared): State<Arc<Shared>>) -> Json<Report> {
    let report = shared.full_report().await;
    Json(Report { reason: report.summary(), ..report })
}

/// The member list in etcd's JSON. Before there is one, tools that poll are told to come again.
async fn members(State(shared): State<Arc<Shared>>, method: Method) -> Response {
    if method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    let (Some(document), Some(members)) = (shared.document(), shared.members()) else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the member has not started yet\n");
    };
    let list: Vec<serde_json::Value> = members.iter().map(as_etcd).collect();
    let mut response = Json(list).into_response();
    if let Ok(cluster) = HeaderValue::from_str(&document.cluster.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(CLUSTER_ID_HEADER), cluster);
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn as_etcd(member: &Member) -> serde_json::Value {
    let mut value = json!({"id": member.id.0, "peerURLs": member.peer_urls});
    if member.is_learner {
        value["isLearner"] = json!(true);
    }
    if !member.name.is_empty() {
        value["name"] = json!(member.name);
    }
    if !member.client_urls.is_empty() {
        value["clientURLs"] = json!(member.client_urls);
    }
    value
}

/// Reads what [`as_etcd`] writes.
pub(super) fn from_etcd(value: &serde_json::Value) -> Option<Member> {
    let texts = |key: &str| -> Vec<String> {
        let listed = value.get(key).and_then(serde_json::Value::as_array);
        listed.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    Some(Member {
        id: crate::types::MemberId(value.get("id")?.as_u64()?),
        name: value.get("name").and_then(|name| name.as_str()).unwrap_or_default().to_owned(),
        peer_urls: texts("peerURLs"),
        client_urls: texts("clientURLs"),
        is_learner: value.get("isLearner").and_then(serde_json::Value::as_bool).unwrap_or(false),
    })
}
