//! A registry of etcd's v2 keys API: discovery.etcd.io and its own program, any etcd up to 3.5 that serves v2,
//! `kvorumctl discovery serve`.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde::Deserialize;

use super::roster::{self, Entry, Own, Refusal, Roster};
use super::{Registry, ServiceUrl, Trouble};
use crate::bootstrap::peer_http::{PeerHttp, Response};
use crate::flags::HostUrl;

/// How long one request may take, as in etcd.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Services end a wait after a minute or more; a connection that died silently is noticed by this.
const WAIT_WITHIN: Duration = Duration::from_secs(90);

/// "Key not found", "Key already exists".
const KEY_NOT_FOUND: u64 = 100;
const KEY_EXISTS: u64 = 105;

/// From here on the trouble is the service's own (no leader, timed out) and may pass.
const INTERNAL: u64 = 300;

const INDEX_HEADER: &str = "x-etcd-index";

pub(in crate::bootstrap) struct RegistryV2<'a> {
    http: &'a PeerHttp,
    url: &'a ServiceUrl,
    proxy: Option<&'a HostUrl>,
}

/// What every answer of the keys API holds: a node, or an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    node: Option<Node>,
    error_code: u64,
    message: String,
    cause: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Node {
    key: String,
    value: String,
    nodes: Vec<Node>,
    created_index: u64,
}

impl Registry for RegistryV2<'_> {
    fn place(&self) -> String {
        self.url.to_string()
    }

    async fn read(&self) -> Result<Roster, Trouble> {
        let size = self.get("/_config/size").await?.0;
        let size = match size.error_code {
            0 => roster::size(&size.node.unwrap_or_default().value).map_err(Trouble::Final)?,
            KEY_NOT_FOUND => return Err(Trouble::Final(Refusal::SizeNotFound)),
            _ => return Err(trouble(size)),
        };
        let (list, index) = self.get("").await?;
        if list.error_code != 0 {
            return Err(trouble(list));
        }
        let mut nodes = list.node.unwrap_or_default().nodes;
        nodes.sort_by_key(|node| node.created_index);
        let entries = nodes
            .into_iter()
            .map(|node| Entry { id: last_part(&node.key).to_owned(), value: node.value })
            .filter(|entry| entry.id != "_config")
            .collect();
        Ok(Roster { size, entries, index })
    }

    async fn register(&self, own: &Own) -> Result<(), Trouble> {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("value", &own.value).finish();
        let path = format!("/{}?prevExist=false", own.id);
        let (answer, _) = self.ask(Method::PUT, &path, form, ANSWER_WITHIN).await?;
        match answer.error_code {
            // An answer may have been lost on the way; whose the entry is shows when it is read.
            0 | KEY_EXISTS => Ok(()),
            _ => Err(trouble(answer)),
        }
    }

    async fn wait(&self, roster: &Roster) {
        let path = format!("?recursive=true&wait=true&waitIndex={}", roster.index + 1);
        // Whatever ends the wait, the roster is read anew, and that tells what is wrong.
        let _ = self.send(Method::GET, &path, String::new(), WAIT_WITHIN).await;
    }
}

impl<'a> RegistryV2<'a> {
    pub(in crate::bootstrap) fn new(
        http: &'a PeerHttp,
        url: &'a ServiceUrl,
        proxy: Option<&'a HostUrl>,
    ) -> Self {
        RegistryV2 { http, url, proxy }
    }

    async fn get(&self, path: &str) -> Result<(Body, u64), Trouble> {
        let path = format!("{path}?quorum=false&recursive=false&sorted=true");
        self.ask(Method::GET, &path, String::new(), ANSWER_WITHIN).await
    }

    /// The answer and the registry's index at its time.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        form: String,
        within: Duration,
    ) -> Result<(Body, u64), Trouble> {
        let response = self.send(method, path, form, within).await.map_err(Trouble::Away)?;
        let text = String::from_utf8_lossy(&response.body);
        let status = response.status;
        match serde_json::from_slice::<Body>(&response.body) {
            Ok(body) if body.node.is_some() || body.error_code != 0 => {
                let index =
                    response.headers.get(INDEX_HEADER).and_then(|index| index.to_str().ok()?.parse().ok());
                Ok((body, index.unwrap_or_default()))
            }
            // A service behind a proxy that is not up yet, or too busy.
            _ if status >= 500 || status == 429 => {
                Err(Trouble::Away(format!("HTTP {status}: {}", text.trim())))
            }
            _ => {
                let what = format!("HTTP {status}: {:.80}", text.trim());
                Err(Trouble::Final(Refusal::BadEndpoint(what)))
            }
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        form: String,
        within: Duration,
    ) -> Result<Response, String> {
        let at = self.url.at();
        let path = format!("{}{path}", self.url.path());
        let uri = match self.proxy {
            Some(_) => format!("http://{}{path}", at.authority()),
            None => path,
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, at.authority())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| error.to_string())?;
        self.http.send(self.proxy.unwrap_or(at), request, within).await
    }
}

fn trouble(body: Body) -> Trouble {
    let text = format!("error {}: {} ({})", body.error_code, body.message, body.cause);
    match body.error_code {
        code if code >= INTERNAL => Trouble::Away(text),
        _ => Trouble::Final(Refusal::BadEndpoint(text)),
    }
}

fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}
