//! Random rounds: some watchers, some requests, then everything told must be equal.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kvorum::proto::etcdserverpb as pb;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::answers::{self, Answer, Names};
use crate::cluster::{Clients, Cluster};
use crate::generate::{self, Generator, Known};
use crate::watches::Watches;

const REQUESTS_PER_ROUND: usize = 30;
/// More than the seven seconds that either server gives a request.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer descriptions of past calls are cut.
const LINE_MAX: usize = 1500;
const WATCHERS_MAX: usize = 12;
/// The key of the watcher that tells when the watchers of the future stream have been told.
const FUTURE_MARK: &str = "~future";

#[derive(Clone, Debug)]
enum Call {
    Range(pb::RangeRequest),
    RangeStream(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    Members(pb::MemberListRequest),
    Alarms(pb::AlarmRequest),
    HashKv(pb::HashKvRequest),
}

impl Call {
    async fn send(self, member: &Clients) -> Answer {
        match self {
            Call::Range(request) => answers::of(member.kv().range(request).await),
            Call::RangeStream(request) => range_stream(member, request).await,
            Call::Put(request) => answers::of(member.kv().put(request).await),
            Call::Delete(request) => answers::of(member.kv().delete_range(request).await),
            Call::Txn(request) => answers::of(member.kv().txn(request).await),
            Call::Compact(request) => answers::of(member.kv().compact(request).await),
            Call::Members(request) => answers::of(member.cluster().member_list(request).await),
            Call::Alarms(request) => answers::of(member.maintenance().alarm(request).await),
            Call::HashKv(request) => answers::of(member.maintenance().hash_kv(request).await),
        }
    }
}

/// All chunks put together, as clients do.
async fn range_stream(member: &Clients, request: pb::RangeRequest) -> Answer {
    let mut whole = pb::RangeResponse::default();
    let chunks = async {
        let mut chunks = member.kv().range_stream(request).await?.into_inner();
        while let Some(chunk) = chunks.message().await? {
            let chunk = chunk.range_response.unwrap_or_default();
            whole.kvs.extend(chunk.kvs);
            (whole.more, whole.count, whole.header) = (chunk.more, chunk.count, chunk.header);
        }
        Ok(())
    };
    match chunks.await {
        Ok(()) => answers::of(Ok(tonic::Response::new(whole))),
        Err(status) => answers::of_error(&status),
    }
}

/// The two clusters side by side.
struct Sides {
    clusters: [Cluster; 2],
    names: [Names; 2],
    known: Known,
    /// Where one transaction deleted keys and put some of them again. Compacted there, etcd loses those keys:
    /// it keeps the tombstone, takes it for the key's last change, and stops at the next read.
    never_compacted_at: BTreeSet<i64>,
    seed: u64,
    /// The last calls, for whoever has to find out.
    recent: VecDeque<String>,
}

impl Sides {
    fn remember(&mut self, mut what: String) {
        if what.len() > LINE_MAX {
            let end = what.floor_char_boundary(LINE_MAX);
            what.truncate(end);
            what.push_str(" ...");
        }
        self.recent.push_back(what);
        if self.recent.len() > 12 {
            self.recent.pop_front();
        }
    }

    fn differ(&self, what: &str, ours: &str, etcds: &str) -> anyhow::Error {
        let recent: Vec<_> = self.recent.iter().map(String::as_str).collect();
        anyhow::anyhow!(
            "answers differ (KVORUM_SEED={})\nto:   {what}\nours: {ours}\netcd: {etcds}\nbefore:\n{}",
            self.seed,
            recent.join("\n")
        )
    }

    /// Sends a call to the same member of both and compares.
    async fn call(&mut self, member: usize, call: Call) -> anyhow::Result<Answer> {
        let [ours, etcd] = &self.clusters;
        let send = |cluster: &Cluster| {
            let (call, member) = (call.clone(), cluster.members[member].clients());
            async move {
                let answer = tokio::time::timeout(PATIENCE, call.send(&member)).await;
                answer
                    .unwrap_or_else(|_| Answer { text: format!("nothing within {PATIENCE:?}"), revision: 0 })
            }
        };
        let (ours, etcds) = tokio::join!(send(ours), send(etcd));
        let what = format!("{call:?} at member {member}");
        let a = answers::normalised(&ours.text, &self.names[0]);
        let b = answers::normalised(&etcds.text, &self.names[1]);
        if a != b {
            return Err(self.differ(&what, &a, &b));
        }
        self.remember(format!("{what} -> {b}"));
        self.known.revision = self.known.revision.max(etcds.revision);
        if let Call::Txn(txn) = &call
            && generate::deletes_openly(txn)
        {
            self.never_compacted_at.insert(etcds.revision);
        }
        Ok(etcds)
    }

    /// A linearizable read: afterwards the member knows of everything before.
    async fn settle(&mut self, member: usize) -> anyhow::Result<()> {
        let request = pb::RangeRequest { key: "none".into(), ..Default::default() };
        self.call(member, Call::Range(request)).await.map(|_| ())
    }
}

/// The same stream of watches on both.
struct WatchPair {
    streams: [Watches; 2],
    member: usize,
}

impl WatchPair {
    async fn open(sides: &Sides, member: usize) -> anyhow::Result<Self> {
        let [a, b] = &sides.clusters;
        let streams = [Watches::open(&a.members[member]).await?, Watches::open(&b.members[member]).await?];
        Ok(WatchPair { streams, member })
    }

    async fn create(&mut self, sides: &mut Sides, create: pb::WatchCreateRequest) -> anyhow::Result<i64> {
        let [a, b] = &mut self.streams;
        let (ours, etcds) = tokio::join!(a.create(create.clone()), b.create(create.clone()));
        let (ours, etcds) = (ours.context("ours")?, etcds.context("etcd")?);
        let a = answers::normalised(&format!("{ours:?}"), &sides.names[0]);
        let b = answers::normalised(&format!("{etcds:?}"), &sides.names[1]);
        let what = format!("{create:?} at member {}", self.member);
        if a != b {
            return Err(sides.differ(&what, &a, &b));
        }
        sides.remember(format!("{what} -> {b}"));
        Ok(etcds.watch_id)
    }

    fn live(&self) -> &[i64] {
        &self.streams[1].live
    }

    async fn cancel(&mut self, sides: &mut Sides, id: i64) -> anyhow::Result<()> {
        sides.remember(format!("cancel watcher {id}"));
        let [a, b] = &mut self.streams;
        let (ours, etcds) = tokio::join!(a.cancel(id), b.cancel(id));
        ours.context("ours")?;
        etcds.context("etcd")
    }

    async fn all_told(&mut self, revision: i64) -> anyhow::Result<()> {
        let [a, b] = &mut self.streams;
        let (ours, etcds) = tokio::join!(a.all_told(revision), b.all_told(revision));
        ours.context("ours")?;
        etcds.context("etcd")
    }

    async fn told_of(&mut self, id: i64, revision: i64) -> anyhow::Result<()> {
        let [a, b] = &mut self.streams;
        let (ours, etcds) = tokio::join!(a.told_of(id, revision), b.told_of(id, revision));
        ours.context("ours")?;
        etcds.context("etcd")
    }

    /// Compares what was told since the last time, and forgets it.
    fn compare(&mut self, sides: &Sides) -> anyhow::Result<()> {
        let [ours, etcds] = self.streams.each_mut().map(|stream| std::mem::take(&mut stream.told));
        let text = |told: &Vec<String>, side: usize| {
            told.iter()
                .map(|line| answers::normalised(line, &sides.names[side]))
                .collect::<Vec<_>>()
                .join("\n      ")
        };
        let ids: std::collections::BTreeSet<_> = ours.keys().chain(etcds.keys()).copied().collect();
        for id in ids {
            let (ours, etcds) =
                (ours.get(&id).cloned().unwrap_or_default(), etcds.get(&id).cloned().unwrap_or_default());
            let (ours, etcds) = (text(&ours, 0), text(&etcds, 1));
            if ours != etcds {
                return Err(sides.differ(&format!("watcher {id}"), &ours, &etcds));
            }
        }
        Ok(())
    }
}

/// Runs rounds for so long.
pub(crate) async fn run(clusters: [Cluster; 2], seed: u64, duration: Duration) -> anyhow::Result<()> {
    let names = [clusters[0].names(), clusters[1].names()];
    let known = Known { revision: 1, compacted: -1 };
    let mut sides =
        Sides { clusters, names, known, never_compacted_at: BTreeSet::new(), seed, recent: VecDeque::new() };
    let mut generator = Generator::new(StdRng::seed_from_u64(seed));
    let members = sides.clusters[1].members.len();
    let mut watches = WatchPair::open(&sides, members - 1).await?;
    let mut future = WatchPair::open(&sides, 0).await?;
    let mark = pb::WatchCreateRequest { key: FUTURE_MARK.into(), ..Default::default() };
    let mark = future.create(&mut sides, mark).await?;
    let deadline = Instant::now() + duration;
    let mut rounds = 0;
    while Instant::now() < deadline {
        rounds += 1;
        let result = round(&mut sides, &mut generator, &mut watches, &mut future, mark).await;
        result.with_context(|| format!("round {rounds}, KVORUM_SEED={seed}, {:?}", sides.known))?;
    }
    tracing::info!(rounds, revision = %sides.known.revision, seed, "rounds done");
    Ok(())
}

async fn round(
    sides: &mut Sides,
    generator: &mut Generator,
    watches: &mut WatchPair,
    future: &mut WatchPair,
    mark: i64,
) -> anyhow::Result<()> {
    change_watches(sides, generator, watches, future, mark).await?;
    for _ in 0..REQUESTS_PER_ROUND {
        let member = generator.rng.random_range(0..sides.clusters[1].members.len());
        let call = random_call(generator, sides.known);
        if is_local(&call) {
            sides.settle(member).await?;
        }
        if let Call::Alarms(_) = call {
            sides.settle(member).await?;
        }
        sides.call(member, call).await?;
    }
    sides.settle(watches.member).await?;
    watches.all_told(sides.known.revision).await?;
    watches.compare(sides)?;
    let put = pb::PutRequest { key: FUTURE_MARK.into(), value: "mark".into(), ..Default::default() };
    let revision = sides.call(0, Call::Put(put)).await?.revision;
    future.told_of(mark, revision).await?;
    future.compare(sides)?;
    if generator.chance(25) {
        compact(sides, generator).await?;
    }
    Ok(())
}

async fn change_watches(
    sides: &mut Sides,
    generator: &mut Generator,
    watches: &mut WatchPair,
    future: &mut WatchPair,
    mark: i64,
) -> anyhow::Result<()> {
    sides.settle(watches.member).await?;
    sides.settle(future.member).await?;
    for _ in 0..3 {
        if watches.live().len() < WATCHERS_MAX {
            let create = generator.watch(sides.known);
            watches.create(sides, create).await?;
        }
    }
    while watches.live().len() > WATCHERS_MAX / 2 {
        let at = generator.rng.random_range(0..watches.live().len());
        // Whatever it has still to be told is told first, so that both sides tell as much.
        watches.all_told(sides.known.revision).await?;
        if let Some(id) = watches.live().get(at).copied() {
            watches.cancel(sides, id).await?;
        }
    }
    let mut create = generator.watch(sides.known);
    create.start_revision = sides.known.revision + generator.rng.random_range(1..12);
    create.watch_id = 0;
    if create.range_end.as_ref() == b"\0" {
        // Up to the mark, which for nobody else may come late.
        create.range_end = FUTURE_MARK[..1].into();
    }
    future.create(sides, create).await?;
    if let Some(id) = future.live().iter().copied().find(|id| *id != mark)
        && future.live().len() > WATCHERS_MAX
    {
        future.cancel(sides, id).await?;
    }
    Ok(())
}

fn random_call(generator: &mut Generator, known: Known) -> Call {
    match generator.rng.random_range(0..100) {
        0..25 => Call::Range(generator.range(known)),
        25..29 => Call::RangeStream(stream_request(generator, known)),
        29..55 => Call::Put(generator.put()),
        55..65 => Call::Delete(generator.delete()),
        65..91 => Call::Txn(generator.txn(known, 2)),
        91..93 => Call::Txn(generator.long_txn()),
        93..95 => Call::Members(pb::MemberListRequest { linearizable: generator.chance(50) }),
        95..96 => {
            Call::Alarms(pb::AlarmRequest { alarm: generator.rng.random_range(0..3), ..Default::default() })
        }
        96..98 => Call::Put(pb::PutRequest {
            key: "large".into(),
            value: vec![b'x'; generator.rng.random_range(1_500_000..2_300_000)].into(),
            ..Default::default()
        }),
        _ => Call::HashKv(pb::HashKvRequest { revision: generator.revision(known).max(0) }),
    }
}

/// RangeStream sorts each chunk by itself when a target is given without an order: nobody wants that.
fn stream_request(generator: &mut Generator, known: Known) -> pb::RangeRequest {
    let mut request = generator.range(known);
    if request.sort_order == 0 {
        request.sort_target = 0;
    }
    request
}

/// Whether the member answers from what it knows, which may be behind.
fn is_local(call: &Call) -> bool {
    match call {
        Call::Range(request) | Call::RangeStream(request) => request.serializable,
        Call::Members(request) => !request.linearizable,
        Call::Txn(_) | Call::HashKv(_) | Call::Alarms(_) => true,
        Call::Put(_) | Call::Delete(_) | Call::Compact(_) => false,
    }
}

/// Compacts, with nothing under way that could notice when exactly.
async fn compact(sides: &mut Sides, generator: &mut Generator) -> anyhow::Result<()> {
    let mut revision = generator.revision(sides.known);
    while sides.never_compacted_at.contains(&revision) {
        revision -= 1;
    }
    let request = pb::CompactionRequest { revision, physical: generator.chance(50) };
    let member = generator.rng.random_range(0..sides.clusters[1].members.len());
    let answer = sides.call(member, Call::Compact(request)).await?;
    if answer.revision > 0 {
        sides.known.compacted = revision;
    }
    for member in 0..sides.clusters[1].members.len() {
        sides.settle(member).await?;
    }
    if sides.known.compacted > sides.known.revision {
        bail!("compacted at {} beyond revision {}", sides.known.compacted, sides.known.revision);
    }
    Ok(())
}
