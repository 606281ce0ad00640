//! Whole clusters in one process: real TCP on loopback, real files, a Raft thread per member.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

mod fault;

use super::*;
use crate::apply::{Applier, Command, State};
use crate::membership::{Change, Member, Refusal};
use crate::mvcc::{KeyRange, PutOp, RangeOp};
use crate::storage::Checkpoints;
use crate::storage::fs::{Disk, Fs};
use crate::storage::wal::{self, Wal};
use crate::types::{ClusterId, LeaseId, LogIndex, MemberId, Revision, Term};

/// Far above what anything here takes, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(60);
const TIMING: Timing = Timing { heartbeat: Duration::from_millis(50), election: Duration::from_millis(500) };
/// With which no election by time happens within [`PATIENCE`].
const SLOW: Timing = Timing { heartbeat: Duration::from_millis(50), election: Duration::from_secs(50) };

/// One member: its disk and address stay while it stops and starts.
struct TestMember {
    id: MemberId,
    disk: TempDir,
    port: u16,
    listener: Arc<TcpListener>,
    isolated: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<std::net::TcpStream>>>,
    running: Option<Running>,
}

struct Running {
    handle: Handle,
    state: State,
    accepting: JoinHandle<()>,
}

struct TestCluster {
    members: HashMap<u64, TestMember>,
    snapshot_count: u64,
    timing: Timing,
}

impl TestMember {
    async fn new(id: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        Self {
            id: MemberId(id),
            disk: tempfile::tempdir().unwrap(),
            port: listener.local_addr().unwrap().port(),
            listener: Arc::new(listener),
            isolated: Arc::default(),
            accepted: Arc::default(),
            running: None,
        }
    }

    fn as_member(&self, is_learner: bool) -> Member {
        let peer_urls = vec![format!("http://m{}.test:{}", self.id.0, self.port)];
        Member { id: self.id, name: String::new(), peer_urls, client_urls: vec![], is_learner }
    }

    fn start(&mut self, snapshot_count: u64, timing: Timing) {
        self.start_on(Arc::new(Disk::default()), snapshot_count, timing);
    }

    fn start_on(&mut self, fs: Arc<dyn Fs>, snapshot_count: u64, timing: Timing) {
        let options = wal::Options { segment_bytes: 1 << 20, ..wal::Options::default() };
        let (wal, recovered) = Wal::open_on(fs, &self.disk.path().join("wal"), options).unwrap();
        let checkpoints = Checkpoints::open(&self.disk.path().join("snap"), 2).unwrap();
        let applier = Applier::new();
        let state = applier.state();
        let isolated = Arc::clone(&self.isolated);
        let handle = super::start(Start {
            me: self.id,
            cluster: ClusterId(7),
            wal,
            recovered,
            checkpoints,
            applier,
            timing,
            snapshot_count,
            catchup_entries: 5,
            pre_vote: true,
            max_request_bytes: 1 << 20,
            on_applied: Box::new(|_, _| {}),
            names: Names::by(move |_| {
                let answer = if isolated.load(Ordering::SeqCst) {
                    Err(io::ErrorKind::NotFound.into())
                } else {
                    Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)])
                };
                async move { answer }
            }),
        })
        .unwrap();
        let accepting = tokio::spawn(accept(
            Arc::clone(&self.listener),
            handle.clone(),
            Arc::clone(&self.isolated),
            Arc::clone(&self.accepted),
        ));
        self.running = Some(Running { handle, state, accepting });
    }

    /// As kill -9 would: nothing is handed over, connections end.
    async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.accepting.abort();
        running.handle.shared.stop.cancel();
        running.handle.shared.stopped.cancelled().await;
        self.cut();
    }

    fn cut(&self) {
        for stream in self.accepted.lock().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

async fn accept(
    listener: Arc<TcpListener>,
    handle: Handle,
    isolated: Arc<AtomicBool>,
    accepted: Arc<Mutex<Vec<std::net::TcpStream>>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if isolated.load(Ordering::SeqCst) {
            continue;
        }
        let stream = stream.into_std().unwrap();
        accepted.lock().push(stream.try_clone().unwrap());
        handle.serve_peer(tokio::net::TcpStream::from_std(stream).unwrap()).await.unwrap();
    }
}

impl TestCluster {
    async fn found(ids: impl IntoIterator<Item = u64>) -> Self {
        Self::found_with(ids, 10_000, TIMING).await
    }

    async fn found_with(ids: impl IntoIterator<Item = u64>, snapshot_count: u64, timing: Timing) -> Self {
        let mut cluster = Self { members: HashMap::new(), snapshot_count, timing };
        for id in ids {
            cluster.members.insert(id, TestMember::new(id).await);
        }
        let list: Vec<_> = cluster.members.values().map(|member| member.as_member(false)).collect();
        for member in cluster.members.values_mut() {
            member.start(snapshot_count, timing);
        }
        for member in cluster.members.values() {
            member.running.as_ref().unwrap().handle.found(list.clone()).await.unwrap();
        }
        cluster
    }

    fn handle(&self, id: u64) -> &Handle {
        &self.members[&id].running.as_ref().unwrap().handle
    }

    fn state(&self, id: u64) -> &State {
        &self.members[&id].running.as_ref().unwrap().state
    }

    fn start(&mut self, id: u64) {
        let (snapshot_count, timing) = (self.snapshot_count, self.timing);
        self.members.get_mut(&id).unwrap().start(snapshot_count, timing);
    }

    async fn crash(&mut self, id: u64) {
        self.members.get_mut(&id).unwrap().crash().await;
    }

    /// A started, empty member that belongs to nothing yet.
    async fn newcomer(&mut self, id: u64, is_learner: bool) -> Member {
        let mut member = TestMember::new(id).await;
        member.start(self.snapshot_count, self.timing);
        let as_member = member.as_member(is_learner);
        self.members.insert(id, member);
        as_member
    }

    fn running(&self) -> Vec<u64> {
        let running = self.members.iter().filter(|(_, member)| member.running.is_some());
        running.map(|(id, _)| *id).collect()
    }

    /// The leader, once every one of `ids` names the same.
    async fn leader_of(&self, ids: &[u64]) -> u64 {
        loop {
            let first = self.wait(ids[0], |status| status.leader.is_some()).await;
            let mut agreed = true;
            for id in ids {
                let status =
                    self.wait(*id, |status| status.leader.is_some() && status.term >= first.term).await;
                agreed &= (status.leader, status.term) == (first.leader, first.term);
            }
            if agreed && ids.contains(&first.leader.unwrap().0) {
                return first.leader.unwrap().0;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn leader(&self) -> u64 {
        self.leader_of(&self.running()).await
    }

    async fn wait(&self, id: u64, until: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.handle(id).subscribe();
        let waited = timeout(PATIENCE, status.wait_for(until)).await;
        *waited.unwrap_or_else(|_| panic!("member {id} stays at {:?}", self.handle(id).status())).unwrap()
    }

    /// Until the links to all others are up.
    async fn linked(&self, id: u64) {
        let others = self.members.len() - 1;
        let links = async {
            let is_up = |peer: &PeerState| peer.active_since.is_some();
            while self.handle(id).peers().iter().filter(|peer| is_up(peer)).count() < others {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, links).await.expect("the links come up");
    }

    async fn wait_applied(&self, id: u64, index: LogIndex) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        self.handle(id).shared.applied.wait(index.0, deadline).await.unwrap();
    }

    async fn put(&self, at: u64, key: &str) -> Result<Proposed, Error> {
        timeout(PATIENCE, self.handle(at).propose(put(key))).await.unwrap()
    }

    fn version(&self, at: u64, key: &str) -> i64 {
        let answer = self.state(at).store().range(&range(key)).unwrap();
        answer.kvs.first().map_or(0, |kv| kv.version)
    }

    async fn change(&self, at: u64, change: Change) -> Result<Vec<Member>, Error> {
        self.change_on(at, change, condition()).await
    }

    async fn change_on(&self, at: u64, change: Change, on: Condition) -> Result<Vec<Member>, Error> {
        timeout(PATIENCE, self.handle(at).change(change, on)).await.unwrap()
    }

    /// Promotes as soon as the learner is in step.
    async fn promote(&self, at: u64, id: u64) -> Vec<Member> {
        loop {
            match self.change(at, Change::Promote(MemberId(id))).await {
                Ok(members) => return members,
                Err(Error::Refused(Refusal::LearnerNotReady)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn removed(&self, id: u64) {
        timeout(PATIENCE, self.handle(id).removed()).await.unwrap();
    }

    fn isolate(&self, id: u64) {
        self.members[&id].isolated.store(true, Ordering::SeqCst);
        // Whoever else is cut off dials again at once.
        self.members.values().for_each(TestMember::cut);
    }

    fn reunite(&self, id: u64) {
        self.members[&id].isolated.store(false, Ordering::SeqCst);
    }
}

fn condition() -> Condition {
    Condition { expected: None, strict: false, max_learners: 1 }
}

fn put(key: &str) -> Command {
    Command::Put(PutOp {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::from_static(b"value"),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn range(key: &str) -> RangeOp {
    RangeOp {
        range: KeyRange::One(Bytes::copy_from_slice(key.as_bytes())),
        limit: 0,
        revision: Revision(0),
        sort: None,
        keys_only: false,
        count_only: false,
        min_mod_revision: Revision(0),
        max_mod_revision: Revision(0),
        min_create_revision: Revision(0),
        max_create_revision: Revision(0),
        serializable: true,
    }
}

#[tokio::test]
async fn one_member_leads_at_once_and_knows_everything_after_a_crash() {
    let mut cluster = TestCluster::found([1]).await;
    assert_eq!(cluster.leader().await, 1);
    let first = cluster.put(1, "a").await.unwrap();
    for _ in 0..100 {
        cluster.put(1, "b").await.unwrap();
    }
    cluster.crash(1).await;
    cluster.start(1);
    // Before any election: what was committed is there.
    assert_eq!(cluster.version(1, "a"), 1);
    cluster.leader().await;
    timeout(PATIENCE, cluster.handle(1).read_index()).await.unwrap().unwrap();
    assert_eq!(cluster.version(1, "b"), 100);
    let next = cluster.put(1, "a").await.unwrap();
    assert!(next.index > first.index && next.term > first.term, "{next:?}");
    assert_eq!(cluster.version(1, "a"), 2);
}

#[tokio::test]
async fn the_first_election_is_for_the_second_term_and_each_later_one_for_the_next() {
    let mut alone = TestCluster::found([1]).await;
    alone.leader().await;
    assert_eq!(alone.handle(1).status().term, Term(2), "the founding entry lies at term 1");
    alone.crash(1).await;
    alone.start(1);
    alone.leader().await;
    assert_eq!(alone.handle(1).status().term, Term(3));
    let newcomer = alone.newcomer(2, true).await;
    assert_eq!(alone.handle(2).status().term, Term(0), "it has not heard of the cluster");
    alone.change(1, Change::Add(newcomer)).await.unwrap();
    alone.wait(2, |status| status.term == Term(3) && status.leader == Some(MemberId(1))).await;

    let three = TestCluster::found_with([1, 2, 3], 10_000, SLOW).await;
    assert_eq!(three.leader().await, 1, "nobody else campaigns within the patience");
    assert_eq!(three.put(3, "key").await.unwrap().term, Term(2));
}

#[tokio::test]
async fn every_applied_entry_counts_whatever_it_carries() {
    let mut cluster = TestCluster::found([1, 2, 3]).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        for id in cluster.running() {
            // Answered by the first entry of the leader's term, which is blank.
            timeout(PATIENCE, cluster.handle(id).read_index()).await.unwrap().unwrap();
            let status = cluster.handle(id).status();
            assert_eq!(cluster.state(id).applied(), (status.applied, status.term));
            assert!(status.committed >= status.applied, "{status:?}");
            let raft = cluster.handle(id).shared.raft().unwrap();
            let followed = async {
                let mut metrics = raft.metrics();
                while types::client_index(metrics.borrow_watched().last_applied) < status.applied.0 {
                    WatchReceiver::changed(&mut metrics).await.unwrap();
                }
                types::client_index(metrics.borrow_watched().last_applied)
            };
            assert_eq!(timeout(PATIENCE, followed).await.unwrap(), cluster.handle(id).status().applied.0);
        }
        if cluster.running().len() == 3 {
            cluster.crash(leader).await;
        }
    }
}

#[tokio::test]
async fn every_member_takes_proposals_and_answers_after_it_applied_them() {
    let cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    for id in [1, 2, 3] {
        cluster.put(id, "key").await.unwrap();
        assert!(cluster.version(id, "key") >= 1, "the answer means that a read here sees it");
    }
    for id in [1, 2, 3] {
        timeout(PATIENCE, cluster.handle(id).read_index()).await.unwrap().unwrap();
        assert_eq!(cluster.version(id, "key"), 3);
        let status = cluster.handle(id).status();
        assert_eq!((status.me, status.leader), (MemberId(id), Some(MemberId(leader))));
        assert!(status.applied >= LogIndex(5), "membership, blank and three writes: {status:?}");
        cluster.linked(id).await;
    }
    let too_large = Command::Put(PutOp { value: vec![0; 2 << 20].into(), ..put_op("large") });
    assert_eq!(cluster.handle(leader).propose(too_large).await, Err(Error::TooLarge));
}

fn put_op(key: &str) -> PutOp {
    match put(key) {
        Command::Put(op) => op,
        _ => unreachable!("a put is a put"),
    }
}

#[tokio::test]
async fn a_crashed_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = TestCluster::found([1, 2, 3]).await;
    let old = cluster.leader().await;
    cluster.put(old, "before").await.unwrap();
    cluster.crash(old).await;
    let new = cluster.leader().await;
    assert_ne!(old, new);
    let written = cluster.put(new, "after").await.unwrap();
    cluster.start(old);
    cluster.wait_applied(old, written.index).await;
    assert_eq!((cluster.version(old, "before"), cluster.version(old, "after")), (1, 1));
    cluster.wait(old, |status| status.leader == Some(MemberId(new)) && status.role == Role::Follower).await;
}

#[tokio::test]
async fn a_learner_is_added_promoted_and_removed() {
    let mut cluster = TestCluster::found([1]).await;
    cluster.leader().await;
    cluster.put(1, "key").await.unwrap();
    let learner = cluster.newcomer(2, true).await;
    let members = cluster.change(1, Change::Add(learner.clone())).await.unwrap();
    assert_eq!(members.iter().filter(|member| member.is_learner).count(), 1);
    let again = cluster.change(1, Change::Add(learner)).await;
    assert_eq!(again, Err(Error::Refused(Refusal::IdExists)));
    cluster.wait(2, |status| status.role == Role::Learner && status.leader == Some(MemberId(1))).await;
    let members = cluster.promote(1, 2).await;
    assert!(members.iter().all(|member| !member.is_learner), "{members:?}");
    cluster.wait(2, |status| status.role == Role::Follower).await;
    // Asked at the one that goes; decided by the leader.
    cluster.change(2, Change::Remove(MemberId(2))).await.unwrap();
    cluster.removed(2).await;
    cluster.put(1, "alone").await.unwrap();
}

#[tokio::test]
async fn the_leader_itself_can_be_removed_down_to_one_member() {
    let cluster = TestCluster::found([1, 2, 3]).await;
    let first = cluster.leader().await;
    let members = cluster.change(first, Change::Remove(MemberId(first))).await.unwrap();
    assert_eq!(members.len(), 2);
    cluster.removed(first).await;
    let two: Vec<u64> = members.iter().map(|member| member.id.0).collect();
    let second = cluster.leader_of(&two).await;
    cluster.change(second, Change::Remove(MemberId(second))).await.unwrap();
    cluster.removed(second).await;
    let last = two.into_iter().find(|id| *id != second).unwrap();
    assert_eq!(cluster.leader_of(&[last]).await, last);
    cluster.put(last, "alone").await.unwrap();
    let none_left = cluster.change(last, Change::Remove(MemberId(last))).await;
    assert!(matches!(none_left, Err(Error::Refused(_))), "{none_left:?}");
}

#[tokio::test]
async fn a_change_decided_on_an_old_membership_is_refused() {
    let mut cluster = TestCluster::found([1]).await;
    cluster.leader().await;
    let seen = cluster.wait(1, |status| status.membership_index.0 > 0).await.membership_index.0;
    let (first, second) = (cluster.newcomer(2, true).await, cluster.newcomer(3, true).await);
    let on = Condition { expected: Some(seen), max_learners: 2, ..condition() };
    cluster.change_on(1, Change::Add(first), on).await.unwrap();
    let refused = cluster.change_on(1, Change::Add(second), on).await;
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::Moved { seen: at, now })) if at == seen && now > seen),
        "{refused:?}"
    );
}

#[tokio::test]
async fn strict_rules_count_members_that_never_started_as_missing() {
    let mut cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let fourth = cluster.newcomer(4, false).await;
    let strict = Condition { strict: true, ..condition() };
    // Nobody published a name yet.
    let refused = cluster.change_on(leader, Change::Add(fourth), strict).await;
    assert_eq!(refused, Err(Error::Refused(Refusal::NotEnoughStarted)));
}

#[tokio::test]
async fn leadership_moves_to_a_voter_when_the_leader_is_asked() {
    let cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let other = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    assert_eq!(cluster.handle(other).move_leader(MemberId(other)).await, Err(Error::NotLeader));
    assert_eq!(cluster.handle(leader).move_leader(MemberId(99)).await, Err(Error::BadTransferee));
    cluster.handle(leader).move_leader(MemberId(other)).await.unwrap();
    assert_eq!(cluster.leader().await, other);
    cluster.put(leader, "still").await.unwrap();
}

#[tokio::test]
async fn a_leader_that_stops_hands_over_first() {
    let mut cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let term = cluster.handle(leader).status().term;
    let running = cluster.members.get_mut(&leader).unwrap().running.take().unwrap();
    running.handle.shutdown(PATIENCE).await;
    running.accepting.abort();
    assert_eq!(running.handle.propose(put("late")).await, Err(Error::Stopped));
    assert_eq!(running.handle.read_index().await, Err(Error::Stopped));
    let new = cluster.leader().await;
    assert_eq!(cluster.handle(new).status().term, Term(term.0 + 1));
}

#[tokio::test]
async fn a_newcomer_gets_the_checkpoint_when_the_log_does_not_reach_back() {
    let mut cluster = TestCluster::found_with([1], 20, TIMING).await;
    cluster.leader().await;
    for n in 0..200 {
        cluster.put(1, &format!("key-{n}")).await.unwrap();
    }
    let purged = |status: &Status| status.applied.0 > 200;
    cluster.wait(1, purged).await;
    while cluster.handle(1).shared.raft().unwrap().metrics().borrow_watched().purged.is_none() {
        cluster.put(1, "more").await.unwrap();
    }
    let learner = cluster.newcomer(2, true).await;
    cluster.change(1, Change::Add(learner)).await.unwrap();
    let last = cluster.put(1, "last").await.unwrap();
    cluster.wait_applied(2, last.index).await;
    for key in ["key-0", "key-199", "last"] {
        assert_eq!(cluster.version(2, key), 1, "{key}");
    }
    assert_eq!(cluster.state(2).members().to_vec(), cluster.state(1).members().to_vec());
    // What it received is durable, and goes on from there.
    cluster.crash(2).await;
    cluster.start(2);
    assert_eq!(cluster.version(2, "key-0"), 1);
    let next = cluster.put(1, "next").await.unwrap();
    cluster.wait_applied(2, next.index).await;
    assert_eq!(cluster.version(2, "next"), 1);
}

#[tokio::test]
async fn no_proposal_is_applied_twice_while_leaders_come_and_go() {
    let mut cluster = TestCluster::found([1, 2, 3]).await;
    let (mut acknowledged, mut doubtful) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let leader = cluster.leader().await;
        let mut writers = Vec::new();
        for id in [1, 2, 3] {
            for n in 0..50 {
                let (key, handle) = (format!("{round}-{id}-{n}"), cluster.handle(id).clone());
                writers.push((id, tokio::spawn(async move { (handle.propose(put(&key)).await, key) })));
            }
        }
        // Every proposal is on its way by now, and few are done.
        tokio::task::yield_now().await;
        cluster.crash(leader).await;
        for (id, writer) in writers {
            let (answer, key) = timeout(PATIENCE, writer).await.unwrap().unwrap();
            match answer {
                Ok(_) => acknowledged.push(key),
                Err(Error::Stopped) if id == leader => doubtful.push(key),
                Err(other) => panic!("{key} of a member that lives was not written: {other}"),
            }
        }
        cluster.start(leader);
    }
    let reader = cluster.leader().await;
    timeout(PATIENCE, cluster.handle(reader).read_index()).await.unwrap().unwrap();
    for key in &acknowledged {
        assert_eq!(cluster.version(reader, key), 1, "{key} was acknowledged");
    }
    for key in &doubtful {
        assert!(cluster.version(reader, key) <= 1, "{key} was applied twice");
    }
}

#[tokio::test]
async fn a_member_that_was_cut_off_disturbs_nobody_when_it_returns() {
    let cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let term = cluster.handle(leader).status().term;
    let lonely = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.isolate(lonely);
    // It campaigns in vain: by now it has given its leader up.
    cluster.wait(lonely, |status| status.leader.is_none()).await;
    assert_eq!(cluster.handle(lonely).status().term, term, "a pre-vote raises no term");
    cluster.put(leader, "meanwhile").await.unwrap();
    cluster.reunite(lonely);
    cluster.wait(lonely, |status| status.leader == Some(MemberId(leader))).await;
    let written = cluster.put(lonely, "reunited").await.unwrap();
    assert_eq!(written.term, term, "the same leader all along");
}

#[tokio::test]
async fn a_dead_leader_is_replaced_at_once_and_writes_go_on() {
    let mut cluster = TestCluster::found_with([1, 2, 3], 10_000, SLOW).await;
    let old = cluster.leader().await;
    for other in cluster.running() {
        cluster.linked(other).await;
        // By the time it has its answer it watches its link to the leader.
        cluster.put(other, "before").await.unwrap();
    }
    cluster.crash(old).await;
    let follower = cluster.running()[0];
    cluster.put(follower, "key").await.unwrap();
    let new = cluster.leader().await;
    assert_ne!(new, old);
}

#[tokio::test]
async fn one_broken_link_deposes_nobody() {
    let cluster = TestCluster::found([1, 2, 3]).await;
    let leader = cluster.leader().await;
    let term = cluster.handle(leader).status().term;
    let lonely = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.linked(lonely).await;
    let lost = failover::Leadership { leader: MemberId(leader), term: term.0 };
    let asked = failover::for_peer(&cluster.handle(lonely).shared, lost).await;
    assert!(matches!(asked, transport::Reply::Lost { yes: false, .. }), "{asked:?}");
    let itself = failover::for_peer(&cluster.handle(leader).shared, lost).await;
    assert!(
        matches!(itself, transport::Reply::Lost { yes: false, .. }),
        "the leader knows better: {itself:?}"
    );
    assert!(!failover::is_lost(&cluster.handle(lonely).shared));
}

#[tokio::test]
async fn a_leader_without_a_quorum_says_so_and_reads_time_out() {
    let mut cluster = TestCluster::found([1, 2]).await;
    let leader = cluster.leader().await;
    cluster.crash(3 - leader).await;
    cluster.wait(leader, |status| status.leader.is_none()).await;
    let read = timeout(PATIENCE, cluster.handle(leader).read_index()).await.unwrap();
    assert_eq!(read, Err(Error::Timeout));
}
