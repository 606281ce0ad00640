//! One stream of watches on a cluster, and what came through it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kvorum::proto::etcdserverpb as pb;
use pb::watch_request::RequestUnion;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::cluster::Member;

/// The key of the first watcher of a stream; nobody writes it.
const FIRST: &str = "~first";
/// Far more than any answer takes; only a wrong server needs it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Watches {
    requests: mpsc::Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
    /// What was told since the last look, by watcher: events, and how the watcher ended.
    pub(crate) told: BTreeMap<i64, Vec<String>>,
    pub(crate) live: Vec<i64>,
    last_revision: BTreeMap<i64, i64>,
    /// Whether the last response was one of several of its message.
    in_fragments: bool,
}

impl Watches {
    /// Opens a stream with one watcher that stays: a server in Go answers nothing, not even headers, before
    /// it has something to say.
    pub(crate) async fn open(member: &Member) -> anyhow::Result<Self> {
        let (requests, receiver) = mpsc::channel(64);
        let first = pb::WatchCreateRequest { key: FIRST.into(), ..Default::default() };
        let first = pb::WatchRequest { request_union: Some(RequestUnion::CreateRequest(first)) };
        requests.send(first).await?;
        let mut responses = member.watch().watch(ReceiverStream::new(receiver)).await?.into_inner();
        let created = responses.message().await?.context("the server ended the watch stream")?;
        if !created.created || created.canceled {
            bail!("the first watcher is not created: {created:?}");
        }
        Ok(Watches {
            requests,
            responses,
            told: BTreeMap::new(),
            live: Vec::new(),
            last_revision: BTreeMap::new(),
            in_fragments: false,
        })
    }

    async fn send(&self, request: RequestUnion) -> anyhow::Result<()> {
        let request = pb::WatchRequest { request_union: Some(request) };
        self.requests.send(request).await.context("the watch stream is closed")
    }

    async fn next(&mut self, within: Duration) -> anyhow::Result<Option<pb::WatchResponse>> {
        match tokio::time::timeout(within, self.responses.message()).await {
            Err(_) => Ok(None),
            Ok(message) => Ok(Some(message?.context("the server ended the watch stream")?)),
        }
    }

    /// Makes a watcher; the answer to it, with everything that came before noted.
    pub(crate) async fn create(
        &mut self,
        create: pb::WatchCreateRequest,
    ) -> anyhow::Result<pb::WatchResponse> {
        self.send(RequestUnion::CreateRequest(create)).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.next(PATIENCE).await? {
                Some(response) if response.created => {
                    if !response.canceled {
                        self.live.push(response.watch_id);
                        self.last_revision.remove(&response.watch_id);
                    }
                    return Ok(response);
                }
                Some(response) => self.note(response).await?,
                None => break,
            }
        }
        bail!("the watcher is not created within {PATIENCE:?}")
    }

    pub(crate) async fn cancel(&mut self, id: i64) -> anyhow::Result<()> {
        let cancel = pb::WatchCancelRequest { watch_id: id };
        self.send(RequestUnion::CancelRequest(cancel)).await?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.live.contains(&id) {
            let Some(response) = self.next(PATIENCE).await? else { break };
            self.note(response).await?;
        }
        if self.live.contains(&id) {
            bail!("watcher {id} is not canceled within {PATIENCE:?}");
        }
        Ok(())
    }

    /// Waits until every watcher has been told of everything up to `revision`.
    pub(crate) async fn all_told(&mut self, revision: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.live.is_empty() {
            self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {})).await?;
            while let Some(response) = self.next(Duration::from_millis(60)).await? {
                let is_progress = response.watch_id == -1 && response.events.is_empty();
                let at = response.header.map_or(0, |header| header.revision);
                self.note(response).await?;
                if is_progress && at >= revision {
                    return Ok(());
                }
            }
        }
        if self.live.is_empty() {
            return Ok(());
        }
        bail!("no progress of all watchers {:?} at {revision} within {PATIENCE:?}", self.live)
    }

    /// Waits until watcher `id` has been told of `revision`.
    pub(crate) async fn told_of(&mut self, id: i64, revision: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.last_revision.get(&id).is_some_and(|last| *last >= revision) {
                return Ok(());
            }
            let Some(response) = self.next(PATIENCE).await? else { break };
            self.note(response).await?;
        }
        bail!("watcher {id} is not told of revision {revision} within {PATIENCE:?}")
    }

    async fn note(&mut self, response: pb::WatchResponse) -> anyhow::Result<()> {
        let id = response.watch_id;
        let told = self.told.entry(id).or_default();
        if response.canceled {
            if response.compact_revision != 0 {
                told.push(format!("compacted at {}: {response:?}", response.compact_revision));
                // Until it is canceled, etcd counts it among those that are not in step.
                self.send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id })).await?;
            } else {
                told.push("canceled".to_string());
                self.live.retain(|live| *live != id);
            }
            return Ok(());
        }
        let header = response.header.context("a watch response without a header")?;
        if id == -1 || response.events.is_empty() {
            return Ok(());
        }
        let revision_of =
            |event: &kvorum::proto::mvccpb::Event| event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
        let (first, last) =
            (revision_of(&response.events[0]), revision_of(&response.events[response.events.len() - 1]));
        if header.revision < last {
            bail!("watcher {id}: header at {} with an event of {last}", header.revision);
        }
        let goes_on = std::mem::replace(&mut self.in_fragments, response.fragment);
        if let Some(before) = self.last_revision.insert(id, last)
            && (before > first || before == first && !goes_on)
        {
            bail!("watcher {id}: revision {first} comes again or in parts, after {before}");
        }
        told.extend(response.events.iter().map(|event| format!("{event:?}")));
        Ok(())
    }
}
