//! A registry in the key space of any etcd of today, or of a Kvorum: etcd's v3 discovery, its keys and values.

use std::time::Duration;

use super::roster::{self, Entry, Own, Refusal, Roster};
use super::{Registry, Trouble};
use crate::client::{self, Client, Code, Names, Timeouts};
use crate::proto::etcdserverpb as pb;

const PREFIX: &str = "/_etcd/registry";

/// A watch that has gone silent is given up after this; reading anew costs little.
const WAIT_WITHIN: Duration = Duration::from_secs(30);

/// `--discovery-token` and its companions.
#[derive(Clone, Debug)]
pub struct ServiceV3 {
    pub token: String,
    pub endpoints: Vec<String>,
    pub timeouts: Timeouts,
}

pub(in crate::bootstrap) struct RegistryV3<'a> {
    service: &'a ServiceV3,
    client: Client,
}

impl<'a> RegistryV3<'a> {
    /// # Errors
    /// Names the endpoint that is none.
    pub(in crate::bootstrap) fn new(service: &'a ServiceV3, names: &Names) -> Result<Self, String> {
        let client = Client::connect_by(names.clone(), &service.endpoints, service.timeouts)
            .map_err(|error| format!("--discovery-endpoints: {error}"))?;
        Ok(RegistryV3 { service, client })
    }

    /// A key of this token; etcd joins the parts so that no two slashes meet.
    fn key(&self, rest: &str) -> String {
        let token: Vec<&str> = self.service.token.split('/').filter(|part| !part.is_empty()).collect();
        format!("{PREFIX}/{}/{rest}", token.join("/"))
    }
}

impl Registry for RegistryV3<'_> {
    fn place(&self) -> String {
        format!("token {} at {}", self.service.token, self.service.endpoints.join(","))
    }

    async fn read(&self) -> Result<Roster, Trouble> {
        let key = self.key("_config/size").into_bytes();
        let size = self.client.range(&pb::RangeRequest { key: key.into(), ..Default::default() }).await;
        let size = match size.map_err(trouble)?.kvs.first() {
            Some(kv) => roster::size(&String::from_utf8_lossy(&kv.value)).map_err(Trouble::Final)?,
            None => return Err(Trouble::Final(Refusal::SizeNotFound)),
        };
        let (key, range_end) = members(&self.key("members"));
        let request = pb::RangeRequest { key: key.into(), range_end: range_end.into(), ..Default::default() };
        let mut answer = self.client.range(&request).await.map_err(trouble)?;
        answer.kvs.sort_by_key(|kv| kv.create_revision);
        let entry = |kv: crate::proto::mvccpb::KeyValue| {
            let key = String::from_utf8_lossy(&kv.key).trim().to_owned();
            let value = String::from_utf8_lossy(&kv.value).trim().to_owned();
            let id = key.rsplit('/').next().unwrap_or_default().to_owned();
            Entry { id, value }
        };
        Ok(Roster {
            size,
            // etcd passes over what no member can have written.
            entries: answer.kvs.into_iter().map(entry).filter(|entry| entry.value.contains('=')).collect(),
            index: answer.header.and_then(|header| u64::try_from(header.revision).ok()).unwrap_or_default(),
        })
    }

    async fn register(&self, own: &Own) -> Result<(), Trouble> {
        let key = self.key(&format!("members/{}", own.id)).into_bytes();
        let unused = pb::Compare {
            result: pb::compare::CompareResult::Equal.into(),
            target: pb::compare::CompareTarget::Create.into(),
            key: key.clone().into(),
            target_union: Some(pb::compare::TargetUnion::CreateRevision(0)),
            ..Default::default()
        };
        let put = pb::PutRequest {
            key: key.into(),
            value: own.value.clone().into_bytes().into(),
            ..Default::default()
        };
        let put = pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) };
        let txn = pb::TxnRequest { compare: vec![unused], success: vec![put], failure: Vec::new() };
        // An answer may have been lost on the way; whose the key is shows when it is read.
        self.client.txn(&txn).await.map(drop).map_err(trouble)
    }

    async fn wait(&self, roster: &Roster) {
        let (key, range_end) = members(&self.key("members"));
        let request = pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: i64::try_from(roster.index + 1).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let event = async {
            let mut stream = self.client.watch(request).await.ok()?;
            while let Some(Ok(response)) = stream.next().await {
                if response.canceled || !response.events.is_empty() {
                    break;
                }
            }
            Some(())
        };
        // Whatever ends the wait, the roster is read anew, and that tells what is wrong.
        let _ = tokio::time::timeout(WAIT_WITHIN, event).await;
    }
}

/// All keys that begin so, as etcd asks for them.
fn members(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // The last byte is a letter.
        *last += 1;
    }
    (prefix.as_bytes().to_vec(), end)
}

/// What waiting does not mend is final.
fn trouble(error: client::Error) -> Trouble {
    match error.code() {
        Some(
            Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
            | Code::FailedPrecondition,
        ) => Trouble::Final(Refusal::BadEndpoint(error.to_string())),
        _ => Trouble::Away(error.to_string()),
    }
}
