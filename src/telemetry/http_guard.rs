//! Who may speak HTTP to the client port: origins of browsers (`--cors`) and host names (`--host-whitelist`).
//! gRPC is not touched, as in etcd.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

/// What is let through; None lets everything through.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub origins: Option<Vec<String>>,
    pub hosts: Option<Vec<String>>,
}

/// Puts the guard in front of HTTP routes, and etcd's answer for paths that nobody serves behind them.
pub fn guarded(routes: Router, guard: Guard) -> Router {
    routes.fallback(not_found).layer(from_fn_with_state(Arc::new(guard), check))
}

/// etcd's 404.
pub async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A text as Go's `http.Error` sends it.
pub fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text.into()).into_response()
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    if is_grpc(request.headers()) {
        return next.run(request).await;
    }
    if !allows_host(&guard, request.headers()) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "etcd: host is not in --host-whitelist\n");
    }
    let origin = allowed_origin(&guard, request.headers());
    let preflight = request.method() == Method::OPTIONS;
    let mut response = if preflight { StatusCode::OK.into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        add_cors(response.headers_mut(), origin);
    }
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/grpc"))
}

fn allows_host(guard: &Guard, headers: &HeaderMap) -> bool {
    let Some(hosts) = &guard.hosts else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    hosts.iter().any(|allowed| allowed == name)
}

/// What to answer in `Access-Control-Allow-Origin`; None: the origin is not allowed, so nothing.
fn allowed_origin(guard: &Guard, headers: &HeaderMap) -> Option<HeaderValue> {
    match &guard.origins {
        None => Some(HeaderValue::from_static("*")),
        Some(origins) => headers
            .get(header::ORIGIN)
            .filter(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
            .cloned(),
    }
}

fn add_cors(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE"),
    );
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("accept, content-type, authorization"),
    );
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn answer(guard: Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        let router = guarded(Router::new().route("/health", get(|| async { "ok" })), guard);
        router.oneshot(request).await.expect("an answer")
    }

    fn cors(response: &Response) -> Option<&str> {
        response.headers().get("access-control-allow-origin").and_then(|value| value.to_str().ok())
    }

    #[tokio::test]
    async fn by_default_every_origin_and_host_may_ask() {
        let response = answer(Guard::default(), "GET", "/health", &[("host", "anything:2379")]).await;
        assert_eq!((response.status(), cors(&response)), (StatusCode::OK, Some("*")));
        let response = answer(Guard::default(), "OPTIONS", "/health", &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        let response = answer(Guard::default(), "GET", "/nothing", &[]).await;
        assert_eq!((response.status(), cors(&response)), (StatusCode::NOT_FOUND, Some("*")));
    }

    #[tokio::test]
    async fn only_listed_origins_are_told_that_they_may() {
        let guard = Guard { origins: Some(vec!["http://a.example:80".to_owned()]), hosts: None };
        let response = answer(guard.clone(), "GET", "/health", &[("origin", "http://a.example:80")]).await;
        assert_eq!(cors(&response), Some("http://a.example:80"));
        let response = answer(guard, "GET", "/health", &[("origin", "http://b.example:80")]).await;
        assert_eq!(cors(&response), None);
    }

    #[tokio::test]
    async fn only_listed_host_names_are_served_and_grpc_always() {
        let guard = Guard { origins: None, hosts: Some(vec!["etcd.local".to_owned()]) };
        let status = |host: &'static str, kind: &'static str| {
            let guard = guard.clone();
            async move {
                answer(guard, "GET", "/health", &[("host", host), ("content-type", kind)]).await.status()
            }
        };
        assert_eq!(status("etcd.local:2379", "text/plain").await, StatusCode::OK);
        assert_eq!(status("evil.example:2379", "text/plain").await, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(status("evil.example:2379", "application/grpc").await, StatusCode::OK);
    }
}
