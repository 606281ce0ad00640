//! A model of everything around the planner: platform, disks, servers. Servers obey the rules of
//! strict reconfiguration; the model asserts, at every step, what must never happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::SignedDuration;

use crate::api::{KvorumClusterSpec, KvorumClusterStatus, RetentionPolicy};
use crate::operator::names::{Addressing, MemberName};
use crate::operator::observed::{
    Answer, Disk, DiskFault, DiskMark, DiskState, Identity, Listed, MemberList, Observed, Process,
    ProcessState, Told,
};
use crate::operator::plan::{plan, safety::quorum, surroundings};
use crate::operator::reason::WaitingOn;
use crate::operator::report::{Outcome, report};
use crate::operator::settings::Settings;
use crate::operator::step::{Birth, Launch, Plan, Step, Surroundings};
use crate::operator::validate::validate;
use crate::types::{ClusterId, LogIndex, MemberId};

pub(super) const CLUSTER: ClusterId = ClusterId(0xc1);

/// The last entry of the leader's log, for ever: load is not what is modelled.
const LAST: u64 = 50_000;

/// What of the model's world is kept from step to step.
#[derive(Clone)]
pub(super) struct World {
    pub(super) spec: KvorumClusterSpec,
    pub(super) uid: String,
    pub(super) status: KvorumClusterStatus,
    pub(super) disks: BTreeMap<MemberName, WorldDisk>,
    pub(super) processes: BTreeMap<MemberName, WorldProcess>,
    /// The members as committed; empty until the cluster is formed.
    pub(super) list: Vec<Listed>,
    pub(super) leader: Option<MemberId>,
    /// Learners that have caught up, and every voter.
    in_step: BTreeSet<MemberId>,
    next_id: u64,
    /// Ordinals whose disks have ever held data.
    used: BTreeSet<u32>,
    /// The ordinal of the member that a person asks to be moved.
    pub(super) asked_to_move: Option<u32>,
    /// Members that are cut off: they run, and nobody hears of them.
    pub(super) cut_off: BTreeSet<MemberName>,
    /// Members whose processes do not end, as on a dead node.
    pub(super) stuck: BTreeSet<MemberName>,
    /// Members whose disk is not to be trusted, as they say themselves.
    pub(super) unfit: BTreeSet<MemberName>,
    /// A process made with these settings never comes to run.
    pub(super) broken: Option<Settings>,
    /// Grows by a second with each pass.
    now: jiff::Timestamp,
    /// All that happened, in order.
    pub(super) history: Vec<String>,
}

#[derive(Clone)]
pub(super) struct WorldDisk {
    pub(super) mark: DiskMark,
    /// The identity that is on it.
    data: Option<MemberId>,
}

#[derive(Clone)]
pub(super) struct WorldProcess {
    pub(super) state: ProcessState,
    settings: Settings,
    birth: Birth,
    founders: usize,
    led_away_since: Option<jiff::Timestamp>,
}

impl World {
    pub(super) fn new(replicas: i32) -> Self {
        let spec = KvorumClusterSpec { replicas, ..KvorumClusterSpec::default() };
        Self {
            spec,
            uid: "uid-1".to_owned(),
            status: KvorumClusterStatus::default(),
            disks: BTreeMap::new(),
            processes: BTreeMap::new(),
            list: Vec::new(),
            leader: None,
            in_step: BTreeSet::new(),
            next_id: 1,
            used: BTreeSet::new(),
            asked_to_move: None,
            cut_off: BTreeSet::new(),
            stuck: BTreeSet::new(),
            unfit: BTreeSet::new(),
            broken: None,
            now: jiff::Timestamp::UNIX_EPOCH,
            history: Vec::new(),
        }
    }

    /// A cluster of that size at rest.
    pub(super) fn settled(replicas: i32) -> Self {
        let mut world = Self::new(replicas);
        world.settle();
        world
    }

    pub(super) fn name(&self, ordinal: u32) -> MemberName {
        MemberName::new("db", ordinal)
    }

    fn addressing() -> Addressing {
        Addressing::Service { service: "db-members".to_owned(), namespace: "prod".to_owned() }
    }

    // --- what the operator sees ---

    pub(super) fn observe(&self) -> Observed {
        let processes = self.processes.iter().map(|(name, process)| {
            let running = process.state == ProcessState::Running;
            let process = Process {
                state: process.state.clone(),
                settings: process.settings.clone(),
                ask_at: running.then(|| Self::addressing().client_url(name)),
                ready: running,
                led_away_since: process.led_away_since,
                node: None,
            };
            (name.clone(), process)
        });
        let disks = self.disks.iter().map(|(name, disk)| {
            (name.clone(), Disk { state: DiskState::Usable, mark: Some(disk.mark.clone()) })
        });
        let serving = self.processes.iter().filter(|(_, process)| process.state == ProcessState::Running);
        let answers = serving.map(|(name, _)| (name.clone(), self.answer(name)));
        Observed {
            cluster: Identity { name: "db".to_owned(), namespace: "prod".to_owned(), uid: self.uid.clone() },
            generation: 1,
            spec: self.spec.clone(),
            deleting: false,
            status: self.status.clone(),
            now: self.now,
            addressing: Self::addressing(),
            processes: processes.collect(),
            disks: disks.collect(),
            objects_age: Duration::ZERO,
            asked_to_move: self.asked_to_move.map(|ordinal| self.name(ordinal)),
            answers: answers.collect(),
            linked: self.leader.filter(|_| self.quorate()).map(|_| self.linked()),
        }
    }

    fn linked(&self) -> BTreeSet<MemberId> {
        self.list.iter().filter(|listed| self.serves(listed)).map(|listed| listed.id).collect()
    }

    fn answer(&self, name: &MemberName) -> Answer {
        if self.cut_off.contains(name) {
            return Answer::Silent { detail: "timed out".to_owned() };
        }
        if self.unfit.contains(name) {
            let detail = "a checksum of the log does not fit".to_owned();
            return Answer::Unfit { fault: DiskFault::Corrupt, detail };
        }
        let Some(listed) = self.listed(name).filter(|listed| self.data(name) == Some(listed.id)) else {
            return Answer::Silent { detail: "it waits for the others".to_owned() };
        };
        let quorate = self.quorate();
        let leader = self.leader.filter(|_| quorate);
        let lag = if self.in_step.contains(&listed.id) { 0 } else { LAST / 2 };
        Answer::Told(Told {
            age: Duration::ZERO,
            cluster: CLUSTER,
            member: listed.id,
            learner: listed.learner,
            leader,
            healthy: leader.is_some(),
            version: "3.7.3".to_owned(),
            last: LogIndex(LAST - lag),
            applied: LogIndex(LAST - lag),
            list: (leader.is_some() && !listed.learner)
                .then(|| MemberList { members: self.list.clone(), seen: None }),
        })
    }

    fn listed(&self, name: &MemberName) -> Option<&Listed> {
        let url = Self::addressing().peer_url(name);
        self.list.iter().find(|listed| listed.peer_urls.contains(&url))
    }

    fn data(&self, name: &MemberName) -> Option<MemberId> {
        self.disks.get(name)?.data
    }

    /// Its process runs on its data.
    pub(super) fn serves(&self, listed: &Listed) -> bool {
        let name = Self::addressing().member_at("db", &listed.peer_urls[0]);
        name.is_some_and(|name| {
            self.data(&name) == Some(listed.id)
                && !self.cut_off.contains(&name)
                && !self.unfit.contains(&name)
                && self.processes.get(&name).is_some_and(|process| process.state == ProcessState::Running)
        })
    }

    pub(super) fn voters(&self) -> usize {
        self.list.iter().filter(|listed| !listed.learner).count()
    }

    pub(super) fn serving_voters(&self) -> usize {
        self.list.iter().filter(|listed| !listed.learner && self.serves(listed)).count()
    }

    pub(super) fn quorate(&self) -> bool {
        !self.list.is_empty() && self.serving_voters() >= quorum(self.voters())
    }

    // --- a pass ---

    /// One pass of the operator. `part` below 1.0 stops it in the middle of performing, as a crash
    /// does; `published` tells whether it came to write its status.
    pub(super) fn pass(&mut self, part: f64, published: bool) -> Plan {
        let observed = self.observe();
        let validated = validate(&observed).expect("the spec is valid");
        let wanted = surroundings(&validated, &observed);
        let drifted = self.drifted(&wanted);
        self.now += SignedDuration::from_secs(1);
        let plan = plan(&validated, &observed, &drifted);
        if published {
            let outcome = Outcome::Planned { validated: &validated, plan: &plan, failed: None };
            self.status = report(&observed, outcome).status;
        }
        self.tell(format!("pass, {part:.1} of: {}: {}", plan.step, plan.reason));
        self.perform(&plan.step, part);
        self.check();
        plan
    }

    fn drifted(&self, wanted: &Surroundings) -> Vec<String> {
        let led = self.processes.iter().filter(|(name, process)| {
            let leaving = wanted.leaving.contains(name);
            let stays = self.listed(name).is_some() && !process.state.is_stopping();
            stays && leaving != process.led_away_since.is_some()
        });
        let led = led.map(|(name, process)| match process.led_away_since {
            Some(_) => format!("{name} as voter"),
            None => format!("{name} as leaving"),
        });
        let marks = wanted.marks.iter();
        let drifted =
            marks.filter(|(name, mark)| self.disks.get(name).is_some_and(|disk| disk.mark != **mark));
        led.chain(drifted.map(|(name, _)| format!("the mark of {name}"))).collect()
    }

    fn perform(&mut self, step: &Step, part: f64) {
        let some = |count: usize| ((count as f64) * part).round() as usize;
        match step {
            Step::Nothing | Step::Dismantle { .. } => {}
            Step::Apply { surroundings, .. } => {
                for (name, process) in &mut self.processes {
                    let leaving = surroundings.leaving.contains(name);
                    process.led_away_since = leaving.then(|| process.led_away_since.unwrap_or(self.now));
                }
                for (name, mark) in surroundings.marks.iter().take(some(surroundings.marks.len())) {
                    if let Some(disk) = self.disks.get_mut(name) {
                        disk.mark = mark.clone();
                    }
                }
            }
            Step::Form { launches, .. } => {
                for launch in launches.iter().take(some(launches.len())) {
                    self.start(launch);
                }
            }
            Step::Start(launch) if part < 0.5 => self.make_disk(launch),
            Step::Start(launch) => self.start(launch),
            _ if part < 0.5 => {}
            Step::Stop { member } => self.stop(member),
            Step::AddLearner { member, peer_url } => self.add_learner(member, peer_url),
            Step::Promote { id, .. } => self.promote(*id),
            Step::MoveLeader { to_id, .. } => self.leader = Some(*to_id),
            Step::Remove { id, .. } => self.remove(*id),
            Step::ReleaseDisk { member, policy } => self.release(member, *policy),
        }
        self.elect();
    }

    fn make_disk(&mut self, launch: &Launch) {
        let fresh = WorldDisk { mark: launch.mark.clone(), data: None };
        self.disks.entry(launch.member.clone()).or_insert(fresh);
    }

    fn start(&mut self, launch: &Launch) {
        self.make_disk(launch);
        let process = WorldProcess {
            state: ProcessState::Starting { detail: "it has no node yet".to_owned() },
            settings: launch.settings.clone(),
            birth: launch.birth,
            founders: launch.initial_cluster.len(),
            led_away_since: None,
        };
        let held = self.processes.get(&launch.member);
        if held.is_none_or(|held| matches!(held.state, ProcessState::Ended { .. })) {
            self.processes.insert(launch.member.clone(), process);
        }
    }

    fn stop(&mut self, member: &MemberName) {
        let voter = self.listed(member).is_some_and(|listed| !listed.learner && self.serves(listed));
        if voter && self.voters() > 2 && self.quorate() {
            let left = self.serving_voters() - 1;
            assert!(left >= quorum(self.voters()), "stopping {member} leaves {left} of {}", self.voters());
        }
        if let Some(process) = self.processes.get_mut(member) {
            process.state = ProcessState::Stopping;
        }
    }

    fn add_learner(&mut self, member: &MemberName, peer_url: &str) {
        assert!(self.quorate(), "the server has no quorum to add {member}");
        assert!(self.list.iter().all(|listed| !listed.learner), "a second learner: {member}");
        assert!(!self.used.contains(&member.ordinal()), "the name {member} is used again");
        let id = self.fresh_id();
        self.list.push(Listed {
            id,
            name: String::new(),
            peer_urls: vec![peer_url.to_owned()],
            learner: true,
        });
    }

    fn promote(&mut self, id: MemberId) {
        assert!(self.in_step.contains(&id), "the server refuses to promote {id}: it is not in step");
        let after = quorum(self.voters() + 1);
        let learner = self.list.iter().position(|listed| listed.id == id).expect("it is listed");
        let serving = self.serving_voters() + usize::from(self.serves(&self.list[learner]));
        assert!(serving >= after, "promoting {id} leaves {serving} serving, {after} are needed");
        self.list[learner].learner = false;
    }

    fn remove(&mut self, id: MemberId) {
        assert!(self.quorate(), "the server has no quorum to remove {id}");
        let gone = self.list.iter().position(|listed| listed.id == id).expect("it is listed");
        let gone = self.list.remove(gone);
        let name = Self::addressing().member_at("db", &gone.peer_urls[0]);
        let process = name.and_then(|name| self.processes.get(&name));
        let led = process.is_some_and(|process| process.led_away_since.is_none() && !gone.learner);
        assert!(!(led && self.serves(&gone)), "clients are led to {id} while it leaves");
        let (serving, voters) = (self.serving_voters(), self.voters());
        assert!(gone.learner || serving >= quorum(voters), "removing {id} leaves {serving} of {voters}");
        assert!(self.leader != Some(id), "the leader was removed without handing over");
        self.in_step.remove(&id);
    }

    fn release(&mut self, member: &MemberName, policy: RetentionPolicy) {
        assert!(self.listed(member).is_none(), "the disk of member {member} was released");
        match policy {
            RetentionPolicy::Delete => {
                let kept = self.disks.get(member).is_some_and(|disk| disk.mark.quarantined);
                assert!(!kept, "the disk of {member}, which had failed, is deleted");
                self.disks.remove(member);
            }
            RetentionPolicy::Retain => {
                if let Some(disk) = self.disks.get_mut(member) {
                    disk.mark.retired = true;
                }
            }
        }
    }

    // --- what happens by itself ---

    /// Whatever can go on with the member goes on by one move. `false` when there is nothing.
    pub(super) fn advance(&mut self, member: &MemberName) -> bool {
        let state = self.processes.get(member).map(|process| process.state.clone());
        self.tell(format!("{member} goes on from {state:?}"));
        let Some(process) = self.processes.get_mut(member) else { return false };
        match &process.state {
            ProcessState::Starting { .. } if self.broken.as_ref() == Some(&process.settings) => {
                process.state = ProcessState::Failing { detail: "ImagePullBackOff".to_owned() };
            }
            ProcessState::Starting { .. } => process.state = ProcessState::Running,
            ProcessState::Stopping if self.stuck.contains(member) => return false,
            ProcessState::Stopping => {
                self.processes.remove(member);
            }
            ProcessState::Running => return self.serve(member),
            ProcessState::Failing { .. } | ProcessState::Ended { .. } => return false,
        }
        self.elect();
        self.check();
        true
    }

    fn serve(&mut self, member: &MemberName) -> bool {
        if self.data(member).is_none() {
            return self.first_start(member);
        }
        let Some(listed) = self.listed(member) else { return false };
        let id = listed.id;
        self.data(member) == Some(id) && self.quorate() && self.in_step.insert(id)
    }

    /// An empty disk: joins where it is listed and never started, or forms when all are there.
    fn first_start(&mut self, member: &MemberName) -> bool {
        let birth = self.processes[member].birth;
        if let Some(at) =
            self.list.iter().position(|listed| Self::addressing().peer_url(member) == listed.peer_urls[0])
        {
            if self.list[at].started() || !self.quorate() {
                return false;
            }
            assert_eq!(birth, Birth::Join, "{member} joins with the flags of a founder");
            self.list[at].name = member.to_string();
            let id = self.list[at].id;
            self.give_data(member, id);
            return true;
        }
        birth == Birth::Found && self.form()
    }

    fn form(&mut self) -> bool {
        let founders = self
            .processes
            .iter()
            .filter(|(_, process)| process.birth == Birth::Found && process.state == ProcessState::Running);
        let founders: Vec<_> = founders.map(|(name, process)| (name.clone(), process.founders)).collect();
        let all = founders.iter().all(|(name, count)| *count == founders.len() && self.data(name).is_none());
        if !all {
            return false;
        }
        assert!(self.list.is_empty(), "a second cluster is formed");
        for (name, _) in &founders {
            let id = self.fresh_id();
            self.list.push(Listed {
                id,
                name: name.to_string(),
                peer_urls: vec![Self::addressing().peer_url(name)],
                learner: false,
            });
            self.in_step.insert(id);
            self.give_data(name, id);
        }
        self.elect();
        true
    }

    fn give_data(&mut self, member: &MemberName, id: MemberId) {
        assert!(self.used.insert(member.ordinal()), "the name {member} is used again");
        if let Some(disk) = self.disks.get_mut(member) {
            disk.data = Some(id);
        }
    }

    fn fresh_id(&mut self) -> MemberId {
        self.next_id += 1;
        MemberId(self.next_id)
    }

    /// A leader that is gone is followed by the first voter that serves.
    fn elect(&mut self) {
        let fit = |listed: &Listed| !listed.learner && self.serves(listed);
        let stays = self.list.iter().any(|listed| Some(listed.id) == self.leader && fit(listed));
        if !stays && self.quorate() {
            self.leader = self.list.iter().find(|listed| fit(listed)).map(|listed| listed.id);
        }
    }

    /// Its process is gone, its disk stays.
    pub(super) fn kill(&mut self, member: &MemberName) {
        self.tell(format!("{member} is killed"));
        if let Some(process) = self.processes.get_mut(member) {
            process.state = ProcessState::Ended { detail: "exit code 137".to_owned() };
        }
        self.elect();
    }

    /// Its process and its disk are gone.
    pub(super) fn lose_disk(&mut self, member: &MemberName) {
        self.disks.remove(member);
        self.kill(member);
    }

    /// So much time goes by.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Its process is gone, and nothing tells that it was ever there.
    pub(super) fn lose_process(&mut self, member: &MemberName) {
        self.tell(format!("the process of {member} vanishes"));
        self.processes.remove(member);
        self.elect();
    }

    // --- what must never be, and what must come to be ---

    fn tell(&mut self, line: String) {
        self.history.push(line);
    }

    fn check(&self) {
        let learners = self.list.iter().filter(|listed| listed.learner).count();
        assert!(learners <= 1, "{learners} learners");
        let unstarted = self.list.iter().filter(|listed| !listed.started()).count();
        assert!(unstarted <= 1, "{unstarted} members that never started");
    }

    /// Passes and moves, all that are possible, until the operator has nothing to do. Returns the
    /// story: each step and what was waited for, once.
    pub(super) fn settle(&mut self) -> Vec<String> {
        let mut story: Vec<String> = Vec::new();
        for _ in 0..MOVES_MAX {
            let plan = self.pass(1.0, true);
            let line = match (&plan.step, &plan.waiting_on) {
                (Step::Nothing, Some(waiting_on)) => format!("waits for {waiting_on}"),
                (Step::Nothing, None) => format!("rests: {}", plan.reason),
                (step, _) => format!("{step}: {}", plan.reason),
            };
            if story.last() != Some(&line) {
                story.push(line);
            }
            if plan.step != Step::Nothing {
                continue;
            }
            let names: Vec<_> = self.processes.keys().cloned().collect();
            let moved = names.iter().filter(|name| self.advance(name)).count();
            let time_passes = matches!(plan.waiting_on, Some(WaitingOn::LedAway { .. }));
            if moved == 0 && !time_passes {
                return story;
            }
        }
        panic!("never comes to rest:\n{}", story.join("\n"));
    }

    /// As the spec says, and quiet: another pass plans nothing and changes no status.
    pub(super) fn assert_at_rest(&mut self) {
        let status = self.status.clone();
        let plan = self.pass(1.0, true);
        assert_eq!(plan.step, Step::Nothing, "{}", plan.reason);
        assert_eq!(self.status, status, "a steady cluster writes its status");
        assert_eq!(self.voters(), usize::try_from(self.spec.replicas).unwrap_or_default(), "{}", plan.reason);
        assert_eq!(self.serving_voters(), self.voters(), "{}", plan.reason);
        let wanted = Settings::of(&self.spec);
        let settings: Vec<_> = self.processes.values().map(|process| process.settings.clone()).collect();
        assert!(settings.iter().all(|settings| *settings == wanted), "settings are not everywhere");
        assert!(self.status.pending_changes.is_empty());
    }
}

/// More moves than any story takes.
const MOVES_MAX: usize = 500;
