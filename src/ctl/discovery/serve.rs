//! The registry over HTTP.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::response::Response;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::registry::{ErrorKind, KeysError, PrevExist, Registry};
use super::request::{self, Asked, Misunderstood};
use super::store::{NotChanged, Store};
use crate::ctl::fail::{Exit, Failure};
use crate::ctl::globals::log_line;
use crate::ctl::{Session, print, say};

/// A wait ends with an empty answer after this time, as at discovery.etcd.io; clients wait again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// No request of a member is larger.
const BODY_BYTES_MAX: usize = 64 * 1024;

struct Service {
    store: Store,
    /// In front of a token in the answers of `/new`; empty: the host that the request named.
    advertise: String,
    wait_max: Duration,
}

/// Serves until it is told to stop.
pub(in crate::ctl) async fn serve(session: Session) -> Result<(), Failure> {
    let folder = PathBuf::from(session.flags.text("data-dir"));
    let listen = session.flags.text("listen").to_owned();
    let advertise = session.flags.text("advertise-url").trim_end_matches('/').to_owned();
    if !advertise.is_empty() && !advertise.starts_with("http://") {
        return Err(Failure::bad_args(format!(
            "--advertise-url={advertise}: http://HOST:PORT would be right"
        )));
    }
    let store = Store::open(&folder)?;
    let listener = TcpListener::bind(&listen)
        .await
        .map_err(|error| Failure::new(Exit::Failed, format!("--listen={listen}: {error}")))?;
    let at = listener.local_addr()?;
    let service = Arc::new(Service { store, advertise, wait_max: WAIT_MAX });
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    print(format!("discovery service at http://{at}, state in {}\n", folder.display()))?;
    tokio::select! {
        served = axum::serve(listener, router(service)).into_future() => Ok(served?),
        _ = stop.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(handle).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(service)
}

async fn handle(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    form: Bytes,
) -> Response {
    match request::read(method.as_str(), uri.path(), uri.query().unwrap_or_default(), &form) {
        Ok(asked) => service.carry_out(asked, &headers).await,
        // etcd names no index where it did not look at its keys.
        Err(Misunderstood::Keys(error)) => keys_error(&error, 0),
        Err(Misunderstood::Plain(code, text)) => plain(code, text),
    }
}

impl Service {
    async fn carry_out(self: Arc<Self>, asked: Asked, headers: &HeaderMap) -> Response {
        match asked {
            Asked::Home => plain(200, HOME.to_owned()),
            Asked::Health => answer(200, None, &serde_json::json!({"health": "true"})),
            Asked::New { size } => self.new_token(size, headers).await,
            Asked::Get { path, recursive } => {
                let (got, index) =
                    self.store.read(|registry| (registry.get(&path, recursive), registry.index()));
                match got {
                    Ok(body) => answer(200, Some(index), &body),
                    Err(error) => keys_error(&error, index),
                }
            }
            Asked::Wait { path, recursive, after } => self.wait(path, recursive, after),
            Asked::Put { path, value, prev_exist } => {
                let text = format!("{path} = {value}");
                self.change("registered", text, move |registry| registry.put(&path, &value, prev_exist)).await
            }
            Asked::Delete { path, recursive } => {
                let text = path.clone();
                self.change("deleted", text, move |registry| registry.delete(&path, recursive)).await
            }
        }
    }

    async fn new_token(self: Arc<Self>, size: u64, headers: &HeaderMap) -> Response {
        let token = format!("{:032x}", rand::random::<u128>());
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let url = match self.advertise.as_str() {
            "" if host.is_empty() => {
                return plain(400, "the request names no host; start with --advertise-url\n".to_owned());
            }
            "" => format!("http://{host}/{token}"),
            advertise => format!("{advertise}/{token}"),
        };
        let key = request::size_key(&token);
        let made = self
            .change("new token", format!("{token} for {size} members"), move |registry| {
                registry.put(&key, &size.to_string(), PrevExist::MustNot)
            })
            .await;
        if made.status().is_success() { plain(200, url) } else { made }
    }

    /// Syncing must not hold up other requests.
    async fn change(
        self: Arc<Self>,
        what: &'static str,
        text: String,
        change: impl FnOnce(&mut Registry) -> Result<super::registry::Done, KeysError> + Send + 'static,
    ) -> Response {
        let service = Arc::clone(&self);
        match tokio::task::spawn_blocking(move || service.store.change(change)).await {
            Ok(Ok((done, index))) => {
                say(&log_line("info", what, &[("key", &text)]));
                answer(if done.is_new { 201 } else { 200 }, Some(index), &done.body)
            }
            Ok(Err(NotChanged::Keys(error))) => keys_error(&error, self.store.read(Registry::index)),
            Ok(Err(NotChanged::Disk(error))) => {
                say(&log_line("error", "the registry cannot be written", &[("error", &error.to_string())]));
                self.failed(&format!("the registry cannot be written: {error}"))
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, cause: &str) -> Response {
        keys_error(&KeysError::new(ErrorKind::Full, cause), self.store.read(Registry::index))
    }

    /// The head goes out at once, the event when it comes: clients tell a slow answer from a dead service by it.
    fn wait(self: Arc<Self>, path: String, recursive: bool, after: Option<u64>) -> Response {
        // Subscribed before the index is read: no change falls between.
        let mut changes = self.store.changes();
        let index = self.store.read(Registry::index);
        let after = after.unwrap_or(index + 1);
        let wait_max = self.wait_max;
        let event = async move {
            let found = async {
                loop {
                    if let Some(event) = self.store.read(|registry| registry.since(&path, recursive, after)) {
                        return Some(line(&event));
                    }
                    changes.changed().await.ok()?;
                }
            };
            let found = tokio::time::timeout(wait_max, found).await.ok().flatten();
            Ok::<_, io::Error>(Bytes::from(found.unwrap_or_default()))
        };
        let mut response = Response::new(Body::from_stream(futures::stream::once(event)));
        set_headers(&mut response, 200, Some(index), "application/json");
        response
    }
}

const HOME: &str = "Kvorum's discovery service.\n\
    GET /new?size=3 answers the URL of a new token for three members; give it to each of them as --discovery.\n";

fn line(body: &Value) -> String {
    format!("{body}\n")
}

fn answer(code: u16, index: Option<u64>, body: &Value) -> Response {
    let mut response = Response::new(Body::from(line(body)));
    set_headers(&mut response, code, index, "application/json");
    response
}

fn keys_error(error: &KeysError, index: u64) -> Response {
    answer(error.kind.code().2, Some(index), &error.body(index))
}

fn plain(code: u16, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    set_headers(&mut response, code, None, "text/plain; charset=utf-8");
    response
}

fn set_headers(response: &mut Response, code: u16, index: Option<u64>, kind: &'static str) {
    *response.status_mut() = axum::http::StatusCode::from_u16(code).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(index) = index {
        // etcd's clients read the first; the others are there because etcd has them.
        headers.insert("x-etcd-index", HeaderValue::from(index));
        headers.insert("x-raft-index", HeaderValue::from(index));
        headers.insert("x-raft-term", HeaderValue::from(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    fn service(folder: &tempfile::TempDir, wait_max: Duration) -> Arc<Service> {
        let store = Store::open(folder.path()).unwrap();
        Arc::new(Service { store, advertise: String::new(), wait_max })
    }

    async fn call(service: &Arc<Service>, method: &str, uri: &str, form: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, "discovery.test:8087")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = router(Arc::clone(service)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_token_is_made_filled_and_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(&folder, WAIT_MAX);
        let (code, _, url) = call(&service, "GET", "/new?size=2", "").await;
        let token = url.strip_prefix("http://discovery.test:8087/").unwrap().to_owned();
        assert_eq!((code, token.len()), (200, 32));
        let (code, headers, body) = call(&service, "GET", &format!("/{token}/_config/size"), "").await;
        assert!(code == 200 && body.contains(r#""value":"2""#), "{body}");
        assert_eq!(headers["x-etcd-index"], "1");
        let waiting = tokio::spawn({
            let (service, uri) = (service.clone(), format!("/{token}?recursive=true&wait=true&waitIndex=2"));
            async move { call(&service, "GET", &uri, "").await }
        });
        let (code, ..) = call(&service, "PUT", &format!("/{token}/1f?prevExist=false"), "value=a").await;
        assert_eq!(code, 201);
        let (code, _, event) = waiting.await.unwrap();
        assert!(code == 200 && event.contains("/1f"), "{event}");
        let (code, headers, body) =
            call(&service, "PUT", &format!("/{token}/1f?prevExist=false"), "value=b").await;
        assert!(code == 412 && body.contains("105"), "{body}");
        assert_eq!(headers["x-etcd-index"], "2");
        let (code, _, body) = call(&service, "GET", "/nosuchtoken/_config/size", "").await;
        assert!(code == 404 && body.contains(r#""errorCode":100"#), "{body}");
    }

    #[tokio::test]
    async fn a_wait_ends_empty_after_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(&folder, Duration::from_millis(1));
        let (code, _, body) = call(&service, "GET", "/v2/keys/a?wait=true", "").await;
        assert_eq!((code, body.as_str()), (200, ""));
    }
}
