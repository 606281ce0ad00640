//! Clients that write and read all the while, each call recorded for [`super::history`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kvorum::client::{Client, Error, Timeouts};
use kvorum::proto::{etcdserverpb as pb, mvccpb};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::history::{Call, Event, Fate, Judged, What, judge};
use super::member::PATIENCE;
use super::wait::{holds, until};

/// All keys of the load begin with it.
pub(crate) const PREFIX: &str = "load/";
/// The write that ends a history.
const END_KEY: &str = "load/~end";
const END_VALUE: &str = "end";

const TIMEOUTS: Timeouts = Timeouts { dial: Duration::from_millis(300), call: Duration::from_secs(2) };
/// Before the next call when none can be sent.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Load {
    stop: CancellationToken,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<Call>>>,
}

impl Load {
    /// `writers` each with a key of its own, and half as many readers of all keys, over all members.
    pub(crate) fn start(cluster: &Cluster, writers: usize) -> Load {
        let endpoints: Vec<String> = cluster.members.iter().map(|member| member.client_url.clone()).collect();
        Load::over(&endpoints, writers)
    }

    /// The same over these endpoints.
    pub(crate) fn over(endpoints: &[String], writers: usize) -> Load {
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let client = || Client::connect(endpoints, TIMEOUTS).expect("members' URLs are endpoints");
        let writing =
            (0..writers).map(|number| tokio::spawn(write(client(), number, stop.clone(), done.clone())));
        let reading = (0..writers.div_ceil(2)).map(|_| tokio::spawn(read(client(), writers, stop.clone())));
        Load { clients: writing.chain(reading).collect(), stop, done }
    }

    /// Until `more` writes have been acknowledged from now on.
    pub(crate) async fn progress(&self, more: u64, within: Duration) {
        let goal = self.done.load(Ordering::Relaxed) + more;
        until(&format!("{more} more writes"), within, async || {
            let done = self.done.load(Ordering::Relaxed);
            holds(done >= goal, format!("{done} of {goal}"))
        })
        .await;
    }

    pub(crate) async fn stop(self) -> Vec<Call> {
        self.stop.cancel();
        let mut calls = Vec::new();
        for client in self.clients {
            calls.extend(client.await.expect("no client panics"));
        }
        calls
    }

    /// Ends the load, reads the whole history back and judges it; all members must hold the same.
    pub(crate) async fn judge(self, cluster: &mut Cluster) -> Judged {
        let judged = self.judge_by(&cluster.client()).await;
        cluster.assert_equal_stores().await;
        judged
    }

    /// Ends the load and judges it by the history that this client reads.
    pub(crate) async fn judge_by(self, client: &Client) -> Judged {
        let mut calls = self.stop().await;
        calls.push(end_history(client).await);
        let events = events(client, PREFIX, 1, END_KEY).await;
        judge(&calls, &events).unwrap_or_else(|wrong| panic!("{wrong}"))
    }
}

/// The last write: when it is seen, all before it were.
async fn end_history(client: &Client) -> Call {
    let begun = Instant::now();
    let revision = put(client, END_KEY, END_VALUE).await;
    let what = What::Put { key: END_KEY.into(), value: END_VALUE.into(), fate: Fate::Done(revision) };
    Call { begun, ended: Instant::now(), what }
}

impl Cluster {
    /// A put that must succeed; the revision it made.
    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        put(&self.client(), key, value).await
    }
}

/// A put that must succeed; the revision it made.
pub(crate) async fn put(client: &Client, key: &str, value: &str) -> i64 {
    let answer = client.put(&put_request(key, value)).await;
    answer.unwrap_or_else(|error| panic!("put {key}: {error}")).header.unwrap_or_default().revision
}

pub(crate) fn put_request(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

async fn write(client: Client, number: usize, stop: CancellationToken, done: Arc<AtomicU64>) -> Vec<Call> {
    let key = format!("{PREFIX}{number}");
    let mut calls = Vec::new();
    for serial in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let value = format!("{number}-{serial}");
        let begun = Instant::now();
        let answer = client.put(&put_request(&key, &value)).await;
        let fate = fate(&answer);
        let ended = Instant::now();
        match fate {
            Fate::Done(_) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Fate::Unsent | Fate::Unknown => tokio::time::sleep(PAUSE).await,
        }
        calls.push(Call { begun, ended, what: What::Put { key: key.clone(), value, fate } });
    }
    calls
}

fn fate(answer: &Result<pb::PutResponse, Error>) -> Fate {
    match answer {
        Ok(answer) => Fate::Done(answer.header.as_ref().map(|header| header.revision).unwrap_or_default()),
        Err(error) if error.is_unsent() => Fate::Unsent,
        Err(_) => Fate::Unknown,
    }
}

async fn read(client: Client, keys: usize, stop: CancellationToken) -> Vec<Call> {
    let mut calls = Vec::new();
    for turn in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let key = format!("{PREFIX}{}", turn % keys);
        let request = pb::RangeRequest { key: key.clone().into(), ..Default::default() };
        let begun = Instant::now();
        match client.range(&request).await {
            Ok(answer) => {
                let found = answer.kvs.first().map(|kv| (text(&kv.value), kv.mod_revision));
                let at = answer.header.unwrap_or_default().revision;
                calls.push(Call { begun, ended: Instant::now(), what: What::Get { key, at, found } });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    calls
}

/// All writes to keys under `prefix` from revision `from` to the one of `last_key`, as a watcher sees them.
pub(crate) async fn events(client: &Client, prefix: &str, from: i64, last_key: &str) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let collect = async {
        // A stream ends with its member or its leader; the next one goes on behind what was seen.
        loop {
            let next = events.last().map_or(from, |event| event.revision + 1);
            let Ok(mut stream) = client.watch(watch_request(prefix, next)).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            while let Some(Ok(response)) = stream.next().await {
                assert!(!response.canceled, "the watcher was canceled: {response:?}");
                events.extend(response.events.iter().filter_map(event));
                if events.last().is_some_and(|event| event.key == last_key) {
                    return;
                }
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, collect).await.is_ok();
    assert!(ended, "{last_key} was not seen within {PATIENCE:?} after {} events", events.len());
    events
}

/// A watcher of everything under `prefix` from revision `from` on.
pub(crate) fn watch_request(prefix: &str, from: i64) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: prefix_end(prefix).into(),
        start_revision: from,
        ..Default::default()
    }
}

/// The first key behind all that begin with `prefix`.
pub(crate) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix is not empty") += 1;
    end
}

fn event(event: &mvccpb::Event) -> Option<Event> {
    let kv = event.kv.as_ref()?;
    Some(Event { revision: kv.mod_revision, key: text(&kv.key), value: text(&kv.value) })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
