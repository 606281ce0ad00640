//! Clients that write all the time, and remember every write that was acknowledged to them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kvorum::proto::etcdserverpb::kv_client::KvClient;
use kvorum::proto::etcdserverpb::{PutRequest, RangeRequest};
use serde_json::Value;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use crate::bench::Bench;

/// The longest that a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(crate) struct Ledger {
    acknowledged: BTreeSet<String>,
    revision: i64,
    last: Option<Instant>,
    longest_silence: Duration,
    refused: u64,
    wrong: Vec<String>,
}

impl Ledger {
    fn acknowledge(&mut self, key: String, revision: i64) {
        let now = Instant::now();
        if let Some(last) = self.last {
            self.longest_silence = self.longest_silence.max(now - last);
        }
        self.last = Some(now);
        self.acknowledged.insert(key);
        self.revision = self.revision.max(revision);
    }
}

/// Two clients of one cluster: one over a connection that it keeps, one that is the real etcdctl.
pub(crate) struct Writers {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    endpoint: Arc<Mutex<String>>,
    rest: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub(crate) fn start(bench: &'static Bench, endpoint: &str) -> Writers {
        let writers = Writers {
            ledger: Arc::default(),
            endpoint: Arc::new(Mutex::new(endpoint.into())),
            rest: Arc::default(),
            stop: Arc::default(),
            tasks: Vec::new(),
        };
        let steady = writers.run_steady();
        let etcdctl = writers.run_etcdctl(bench);
        Writers { tasks: vec![tokio::spawn(steady), tokio::task::spawn_blocking(etcdctl)], ..writers }
    }

    /// No write is begun while the cluster is away on purpose.
    pub(crate) fn rest(&self) {
        self.rest.store(true, Ordering::Relaxed);
        // One that is under way ends by itself; its outcome is then known or was never promised.
        std::thread::sleep(PATIENCE);
        self.ledger().last = None;
    }

    /// Goes on, at the address that the cluster has now.
    pub(crate) fn resume(&self, endpoint: &str) {
        *self.endpoint.lock().expect("a writer panicked") = endpoint.to_owned();
        self.rest.store(false, Ordering::Relaxed);
    }

    fn endpoint(&self) -> String {
        told(&self.endpoint)
    }

    pub(crate) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("a writer panicked")
    }

    fn run_steady(&self) -> impl Future<Output = ()> + use<> {
        let (ledger, rest, stop) = (self.ledger.clone(), self.rest.clone(), self.stop.clone());
        let endpoint = self.endpoint.clone();
        async move {
            let mut client = None;
            // Within one client every acknowledged write is newer than the one before.
            let mut seen = 0;
            for number in 0.. {
                tokio::time::sleep(Duration::from_millis(25)).await;
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if rest.load(Ordering::Relaxed) {
                    continue;
                }
                let key = format!("steady/{number:07}");
                match put(&mut client, &told(&endpoint), &key).await {
                    Ok(revision) => {
                        let mut ledger = ledger.lock().expect("a writer panicked");
                        if revision <= seen {
                            ledger
                                .wrong
                                .push(format!("{key} was written at revision {revision} after {seen}"));
                        }
                        seen = revision;
                        ledger.acknowledge(key, revision);
                    }
                    Err(_) => {
                        client = None;
                        ledger.lock().expect("a writer panicked").refused += 1;
                    }
                }
            }
        }
    }

    fn run_etcdctl(&self, bench: &'static Bench) -> impl FnOnce() + use<> {
        let (ledger, rest, stop) = (self.ledger.clone(), self.rest.clone(), self.stop.clone());
        let endpoint = self.endpoint.clone();
        move || {
            for number in 0.. {
                std::thread::sleep(Duration::from_millis(700));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if rest.load(Ordering::Relaxed) {
                    continue;
                }
                let key = format!("etcdctl/{number:07}");
                let mut ctl = bench.tool("etcdctl");
                ctl.args([
                    "--endpoints",
                    &told(&endpoint),
                    "--command-timeout",
                    "3s",
                    "--write-out",
                    "json",
                    "put",
                    &key,
                    &key,
                ]);
                let revision = bench.run(&mut ctl).and_then(|text| header_revision(&text));
                let mut ledger = ledger.lock().expect("a writer panicked");
                match revision {
                    Ok(revision) => ledger.acknowledge(key, revision),
                    Err(_) => ledger.refused += 1,
                }
            }
        }
    }

    /// Every acknowledged write is there, and the revision is not below any that was told.
    pub(crate) async fn check(&self) -> Result<String> {
        let (acknowledged, revision) = {
            let ledger = self.ledger();
            if let Some(wrong) = ledger.wrong.first() {
                bail!("{wrong}");
            }
            (ledger.acknowledged.clone(), ledger.revision)
        };
        let (keys, now) = self.keys_at_last().await?;
        let lost: Vec<_> = acknowledged.difference(&keys).take(5).collect();
        ensure!(lost.is_empty(), "acknowledged writes are lost, the first of them {lost:?}");
        ensure!(now >= revision, "the revision went back from {revision} to {now}");
        let ledger = self.ledger();
        Ok(format!(
            "{} writes acknowledged, all there; {} refused; longest silence {:.1} s; revision {now}",
            acknowledged.len(),
            ledger.refused,
            ledger.longest_silence.as_secs_f64()
        ))
    }

    /// A connection may be led to a Pod that is just going; the next one is not.
    async fn keys_at_last(&self) -> Result<(BTreeSet<String>, i64)> {
        let deadline = Instant::now() + PATIENCE * 3;
        loop {
            match self.keys().await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(300)).await,
                answer => return answer,
            }
        }
    }

    /// A linearizable list of all keys that the writers may have written.
    async fn keys(&self) -> Result<(BTreeSet<String>, i64)> {
        let mut client = KvClient::new(connect(&self.endpoint())?).max_decoding_message_size(256 << 20);
        let everything = RangeRequest {
            key: vec![0].into(),
            range_end: vec![0].into(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let answer = client.range(everything).await.context("list of all keys")?.into_inner();
        let keys = answer.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect();
        Ok((keys, answer.header.unwrap_or_default().revision))
    }

    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

fn told(endpoint: &Mutex<String>) -> String {
    endpoint.lock().expect("a writer panicked").clone()
}

fn connect(endpoint: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(endpoint.to_owned())?
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE * 3)
        .connect_lazy())
}

async fn put(client: &mut Option<KvClient<Channel>>, endpoint: &str, key: &str) -> Result<i64> {
    let client = match client {
        Some(client) => client,
        none => none.insert(KvClient::new(connect(endpoint)?)),
    };
    let request =
        PutRequest { key: key.to_owned().into(), value: key.to_owned().into(), ..PutRequest::default() };
    let answer = tokio::time::timeout(PATIENCE, client.put(request)).await??;
    Ok(answer.into_inner().header.unwrap_or_default().revision)
}

fn header_revision(json: &str) -> Result<i64> {
    let answer: Value = serde_json::from_str(json)?;
    answer["header"]["revision"].as_i64().with_context(|| format!("no revision in {json}"))
}
