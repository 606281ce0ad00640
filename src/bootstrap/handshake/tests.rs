//! The handshake as stories: members on a table, who speak to each other when the story says so.

use super::super::identity::{Plan, Planned};
use super::super::initial_cluster::InitialCluster;
use super::*;

/// A member with its disk. None: an empty disk on which the program does not run.
struct Table {
    plan: Plan,
    disks: Vec<Option<Document>>,
    up: Vec<bool>,
    nonces: u64,
}

impl Table {
    /// `size` members, all with empty disks, all stopped.
    fn of(size: usize) -> Table {
        let text: Vec<String> = (0..size).map(|n| format!("infra{n}=http://10.0.0.{n}:2380")).collect();
        let cluster = InitialCluster::parse(&text.join(",")).expect("the cluster's text is right");
        let plan = Plan::new(&cluster, "token");
        Table { plan, disks: vec![None; size], up: vec![false; size], nonces: 0 }
    }

    fn id(&self, member: usize) -> MemberId {
        self.plan.members[member].id
    }

    /// Starts the program: on an empty disk it begins to found.
    fn start(&mut self, member: usize) {
        self.up[member] = true;
        if self.disks[member].is_none() {
            self.nonces += 1;
            let id = self.id(member);
            let name = format!("infra{member}");
            self.disks[member] = Some(Document::founding(self.plan.clone(), id, name, Nonce(self.nonces)));
        }
    }

    fn stop(&mut self, member: usize) {
        self.up[member] = false;
    }

    fn wipe(&mut self, member: usize) {
        self.stop(member);
        self.disks[member] = None;
    }

    fn formed(&self, member: usize) -> Option<&[Member]> {
        match &self.disks[member].as_ref()?.stage {
            Stage::Member { founders } => founders.as_deref(),
            _ => None,
        }
    }

    /// One asks another; both note what they must.
    fn hello(&mut self, from: usize, to: usize) -> Heard {
        if !self.up[to] {
            return Heard::Silence("connection refused".to_owned());
        }
        let hello = self.greeting(from, to);
        let mine = self.disks[from].clone().expect("who asks runs");
        let answer = self.deliver(&hello, to);
        if let Some(learnt) = learn(&mine, self.id(to), &answer) {
            self.disks[from] = Some(learnt);
        }
        Heard::Said(answer)
    }

    fn greeting(&self, from: usize, to: usize) -> Hello {
        let mine = self.disks[from].clone().expect("who asks runs");
        let planned = &self.plan.members[from];
        Hello {
            cluster: mine.cluster,
            from: mine.me,
            nonce: mine.nonce,
            name: mine.name.clone(),
            peer_urls: planned.peer_urls.iter().map(ToString::to_string).collect(),
            to: self.id(to),
            purpose: Purpose::Found,
        }
    }

    fn deliver(&mut self, hello: &Hello, to: usize) -> Answer {
        let theirs = self.disks[to].clone().expect("who is up has a document");
        let live = self.formed(to).map(<[Member]>::to_vec);
        let (answer, noted) = answer(&theirs, live.as_deref(), hello);
        if let Some(noted) = noted {
            self.disks[to] = Some(noted);
        }
        answer
    }

    /// A member asks everybody and draws its conclusion; forming is written down.
    fn round(&mut self, member: usize) -> Verdict {
        let others: Vec<usize> = (0..self.disks.len()).filter(|other| *other != member).collect();
        let heard = others.iter().map(|other| (self.id(*other), self.hello(member, *other))).collect();
        self.conclude(member, &heard)
    }

    fn conclude(&mut self, member: usize, heard: &BTreeMap<MemberId, Heard>) -> Verdict {
        let mine = self.disks[member].clone().expect("who concludes runs");
        let verdict = judge(&mine, &self.plan, heard);
        if let Verdict::Form(formation) | Verdict::Follow(formation) = &verdict {
            self.disks[member] = Some(mine.formed(formation));
        }
        verdict
    }

    /// Everybody who is up greets everybody else.
    fn meet(&mut self) {
        for from in (0..self.disks.len()).filter(|member| self.up[*member]).collect::<Vec<_>>() {
            for to in (0..self.disks.len()).filter(|to| *to != from).collect::<Vec<_>>() {
                self.hello(from, to);
            }
        }
    }

    fn form_all(size: usize) -> Table {
        let mut table = Table::of(size);
        (0..size).for_each(|member| table.start(member));
        table.meet();
        for member in 0..size {
            assert!(matches!(table.round(member), Verdict::Form(_) | Verdict::Follow(_)), "member {member}");
        }
        table
    }
}

fn reasons(verdict: &Verdict) -> Vec<&str> {
    match verdict {
        Verdict::Wait(missing) | Verdict::StayOut(missing) => {
            missing.iter().map(|missing| missing.because.as_str()).collect()
        }
        Verdict::Form(_) | Verdict::Follow(_) | Verdict::Join { .. } => Vec::new(),
    }
}

#[test]
fn one_member_forms_at_once() {
    Table::form_all(1);
}

#[test]
fn all_members_form_with_the_same_list() {
    for size in [2, 3, 5] {
        let table = Table::form_all(size);
        let first = table.formed(0).expect("it has formed");
        assert_eq!(first.len(), size);
        assert!(first.iter().all(Member::has_started), "founders have names from the beginning");
        for member in 1..size {
            assert_eq!(table.formed(member), Some(first));
        }
    }
}

#[test]
fn nobody_forms_before_everybody_has_met() {
    let mut table = Table::of(3);
    table.start(0);
    table.start(1);
    for _ in 0..3 {
        for member in [0, 1] {
            let verdict = table.round(member);
            assert_eq!(reasons(&verdict), ["no answer: connection refused"]);
            assert!(matches!(verdict, Verdict::Wait(_)));
        }
    }
    table.start(2);
    let verdict = table.round(0);
    assert_eq!(reasons(&verdict), ["it has not met infra2 yet", "it has not met infra1 yet"]);
    table.meet();
    assert!(matches!(table.round(0), Verdict::Form(_)));
}

#[test]
fn a_member_that_restarts_before_the_formation_goes_on() {
    let mut table = Table::of(3);
    table.start(0);
    table.start(1);
    table.round(0);
    table.stop(1);
    table.start(1);
    table.start(2);
    table.meet();
    for member in 0..3 {
        assert!(matches!(table.round(member), Verdict::Form(_) | Verdict::Follow(_)));
    }
}

#[test]
fn the_two_wiped_members_of_three_found_nothing_and_say_why() {
    let mut table = Table::form_all(3);
    (0..3).for_each(|member| table.stop(member));
    let data = table.disks[2].clone();
    table.wipe(0);
    table.wipe(1);
    table.start(0);
    table.start(1);
    for _ in 0..3 {
        for member in [0, 1] {
            let verdict = table.round(member);
            assert!(matches!(verdict, Verdict::Wait(_)), "{verdict:?}");
            assert_eq!(reasons(&verdict), ["no answer: connection refused"]);
        }
    }
    table.start(2);
    for member in [0, 1] {
        let verdict = table.round(member);
        assert!(matches!(verdict, Verdict::StayOut(_)), "{verdict:?}");
        assert!(reasons(&verdict)[0].contains("this disk was lost or wiped"), "{verdict:?}");
    }
    assert_eq!(table.disks[2], data, "nothing is overwritten");
}

#[test]
fn one_wiped_member_of_three_stays_out() {
    let mut table = Table::form_all(3);
    table.wipe(1);
    table.start(1);
    assert!(matches!(table.round(1), Verdict::StayOut(_)));
}

#[test]
fn whoever_is_late_forms_by_the_word_of_one_that_has_formed() {
    let mut table = Table::of(3);
    (0..3).for_each(|member| table.start(member));
    table.meet();
    assert!(matches!(table.round(0), Verdict::Form(_)));
    table.stop(2);
    assert!(matches!(table.round(1), Verdict::Follow(_)), "0 has noted it, so it need not wait for 2");
    table.start(2);
    assert!(matches!(table.round(2), Verdict::Follow(_)));
    assert_eq!(table.formed(2), table.formed(0));
}

fn wiped(table: &mut Table, member: usize) {
    table.wipe(member);
    table.start(member);
}

#[test]
fn a_disk_wiped_before_the_formation_comes_back() {
    for all_had_met in [false, true] {
        let mut table = Table::of(3);
        table.start(0);
        table.start(1);
        if all_had_met {
            table.start(2);
        }
        table.meet();
        wiped(&mut table, 1);
        table.start(2);
        // Nobody forms with the old disk in mind.
        let verdict = table.round(0);
        assert!(reasons(&verdict).contains(&"it lost its disk since it was met"), "{verdict:?}");
        table.meet();
        for member in 0..3 {
            let verdict = table.round(member);
            assert!(table.formed(member).is_some(), "{all_had_met} {member}: {verdict:?}");
        }
        assert_eq!(disks_met(&table, 0), disks_met(&table, 1));
    }
}

#[test]
fn a_disk_that_formed_alone_and_died_comes_back_while_all_others_are_unformed() {
    let mut table = Table::of(3);
    (0..3).for_each(|member| table.start(member));
    table.meet();
    assert!(matches!(table.round(0), Verdict::Form(_)));
    wiped(&mut table, 0);
    table.meet();
    (0..3).for_each(|member| drop(table.round(member)));
    (0..3).for_each(|member| assert!(table.formed(member).is_some()));
}

#[test]
fn a_new_disk_stays_out_when_one_that_was_away_has_formed() {
    let mut table = Table::of(3);
    (0..3).for_each(|member| table.start(member));
    table.meet();
    assert!(matches!(table.round(2), Verdict::Form(_)));
    table.stop(2);
    wiped(&mut table, 0);
    // 1 has not formed and takes the new disk; without the third nothing comes of it.
    let verdict = table.round(0);
    assert_eq!(reasons(&verdict), ["no answer: connection refused"]);
    table.start(2);
    assert!(matches!(table.round(1), Verdict::Follow(_)));
    // 1 follows the third, its notes as well.
    assert_eq!(disks_met(&table, 1), disks_met(&table, 2));
    let verdict = table.round(0);
    assert!(matches!(verdict, Verdict::StayOut(_)), "{verdict:?}");
    assert_eq!(reasons(&verdict).len(), 2, "both say so: {verdict:?}");
}

#[test]
fn a_majority_of_new_disks_after_all_had_met_founds_nothing() {
    let mut table = Table::of(3);
    (0..3).for_each(|member| table.start(member));
    table.meet();
    wiped(&mut table, 0);
    wiped(&mut table, 1);
    table.meet();
    for member in 0..3 {
        table.round(member);
        assert!(table.formed(member).is_none(), "{member}");
    }
    let verdict = table.round(1);
    assert!(matches!(verdict, Verdict::StayOut(_)), "{verdict:?}");
    assert!(reasons(&verdict)[0].contains("may have been formed and lost"), "{verdict:?}");
}

#[test]
fn a_late_word_of_a_disk_that_is_gone_is_not_taken() {
    let mut table = Table::of(2);
    table.start(0);
    table.start(1);
    let late = table.greeting(1, 0);
    table.hello(1, 0);
    wiped(&mut table, 1);
    table.hello(1, 0);
    let mine = table.disks[0].clone().expect("it runs");
    assert_eq!(answer(&mine, None, &late), (Answer::SeenBefore { formed: false }, None));
}

#[test]
fn another_plan_or_another_member_is_said_and_waited_for() {
    let mut table = Table::of(2);
    table.start(0);
    let other =
        InitialCluster::parse("infra0=http://10.0.0.0:2380,infra1=http://10.0.0.1:2380").expect("right");
    let other = Plan::new(&other, "another token");
    let id = other.members[1].id;
    table.disks[1] = Some(Document::founding(other, id, "infra1".to_owned(), Nonce(9)));
    table.up[1] = true;
    let verdict = table.round(0);
    assert!(matches!(verdict, Verdict::Wait(_)));
    assert!(reasons(&verdict)[0].starts_with("it founds another cluster, with token \"another token\""));

    let mut table = Table::of(3);
    (0..3).for_each(|member| table.start(member));
    // Both URLs lead to the same member.
    table.disks[2] = table.disks[1].clone();
    let verdict = table.round(0);
    assert!(reasons(&verdict)[0].contains("answers at its URL"), "{verdict:?}");
}

#[test]
fn a_stranger_is_told_which_cluster_is_there() {
    let mut table = Table::form_all(2);
    let stranger =
        InitialCluster::parse("infra0=http://10.0.0.0:2380,infra1=http://10.9.9.9:2380").expect("right");
    let stranger = Plan::new(&stranger, "token");
    let me =
        stranger.members.iter().find(|member| member.peer_urls[0].host() == "10.9.9.9").expect("listed").id;
    let cluster = table.disks[0].as_ref().expect("formed").cluster;
    table.disks[1] = Some(Document::founding(stranger.clone(), me, "infra1".to_owned(), Nonce(7)));
    let hello = Hello {
        cluster: stranger.cluster(),
        from: me,
        nonce: Nonce(7),
        name: "infra1".to_owned(),
        peer_urls: vec!["http://10.9.9.9:2380".to_owned()],
        to: table.id(0),
        purpose: Purpose::Found,
    };
    let formed = table.disks[0].clone().expect("formed");
    let live = table.formed(0).expect("formed").to_vec();
    assert_eq!(answer(&formed, Some(&live), &hello), (Answer::NotListed { cluster }, None));
}

#[test]
fn a_member_added_by_hand_is_invited_although_it_came_with_new() {
    let mut table = Table::form_all(3);
    table.wipe(1);
    table.start(1);
    let mut live = table.formed(0).expect("formed").to_vec();
    let (old, added) = (table.id(1), MemberId(0xadd));
    let urls = live.iter().find(|member| member.id == old).expect("listed").peer_urls.clone();
    live.retain(|member| member.id != old);
    live.push(Member { id: added, peer_urls: urls.clone(), ..Member::default() });
    let mine = table.disks[1].clone().expect("it runs");
    let hello = Hello {
        cluster: mine.cluster,
        from: mine.me,
        nonce: mine.nonce,
        name: mine.name.clone(),
        peer_urls: urls,
        to: table.id(0),
        purpose: Purpose::Found,
    };
    let formed = table.disks[0].clone().expect("formed");
    let (answer, _) = answer(&formed, Some(&live), &hello);
    let cluster = formed.cluster;
    assert_eq!(answer, Answer::Invited { cluster, member: added });
    let heard = BTreeMap::from([(table.id(0), Heard::Said(answer))]);
    assert_eq!(judge(&mine, &table.plan, &heard), Verdict::Join { cluster, me: added });
}

/// A running cluster of `size` voters and one member that was added and has never started.
fn with_added(size: usize) -> (Table, Vec<Member>, MemberId) {
    let table = Table::form_all(size);
    let mut live = table.formed(0).expect("formed").to_vec();
    let added = Member {
        id: MemberId(0xadd),
        peer_urls: vec!["http://10.0.9.9:2380".to_owned()],
        is_learner: true,
        ..Member::default()
    };
    live.push(added.clone());
    (table, live, added.id)
}

fn join_round(
    table: &mut Table,
    live: &[Member],
    mine: &Document,
    reachable: &[usize],
) -> BTreeMap<MemberId, Heard> {
    let mut heard = BTreeMap::new();
    for member in 0..table.disks.len() {
        let to = table.id(member);
        if !reachable.contains(&member) {
            heard.insert(to, Heard::Silence("connection refused".to_owned()));
            continue;
        }
        let hello = Hello {
            cluster: mine.cluster,
            from: mine.me,
            nonce: mine.nonce,
            name: mine.name.clone(),
            peer_urls: Vec::new(),
            to,
            purpose: Purpose::Join,
        };
        let theirs = table.disks[member].clone().expect("formed");
        let (answer, noted) = answer(&theirs, Some(live), &hello);
        if noted.is_some() {
            table.disks[member] = noted;
        }
        heard.insert(to, Heard::Said(answer));
    }
    heard
}

#[test]
fn an_added_member_starts_when_a_majority_has_noted_its_disk() {
    let (mut table, live, me) = with_added(3);
    let cluster = table.disks[0].as_ref().expect("formed").cluster;
    let mine = Document::joining(cluster, me, "new".to_owned(), Nonce(77));
    let heard = join_round(&mut table, &live, &mine, &[0]);
    assert!(matches!(judge_joining(&mine, &live, &heard), Verdict::Wait(_)));
    let heard = join_round(&mut table, &live, &mine, &[0, 2]);
    assert_eq!(judge_joining(&mine, &live, &heard), Verdict::Join { cluster, me });
    // It restarts with its disk before it was settled: the same answers.
    let heard = join_round(&mut table, &live, &mine, &[0, 1]);
    assert_eq!(judge_joining(&mine, &live, &heard), Verdict::Join { cluster, me });
}

#[test]
fn an_added_member_that_is_wiped_before_it_published_its_name_stays_out() {
    let (mut table, live, me) = with_added(3);
    let cluster = table.disks[0].as_ref().expect("formed").cluster;
    let first = Document::joining(cluster, me, "new".to_owned(), Nonce(77));
    join_round(&mut table, &live, &first, &[0, 1]);
    let wiped = Document { nonce: Nonce(78), ..first };
    let heard = join_round(&mut table, &live, &wiped, &[1, 2]);
    assert!(matches!(judge_joining(&wiped, &live, &heard), Verdict::StayOut(_)));
}

#[test]
fn a_started_member_or_one_that_is_not_listed_does_not_join() {
    let (mut table, mut live, me) = with_added(1);
    let cluster = table.disks[0].as_ref().expect("formed").cluster;
    let mine = Document::joining(cluster, me, "new".to_owned(), Nonce(77));
    live[1].name = "new".to_owned();
    let heard = join_round(&mut table, &live, &mine, &[0]);
    assert!(matches!(judge_joining(&mine, &live, &heard), Verdict::StayOut(_)));
    live.pop();
    let heard = join_round(&mut table, &live, &mine, &[0]);
    let verdict = judge_joining(&mine, &live, &heard);
    assert!(reasons(&verdict)[0].contains("does not list this member"), "{verdict:?}");
}

/// Random orders of starts, stops, wipes, single greetings and greetings that come late.
///
/// Whoever has formed holds the same notes of all disks. And where a majority of the members had formed, so that
/// writes may have been taken, no other cluster is formed while one of its disks is left, formed or not.
#[test]
fn no_order_of_events_founds_a_second_cluster() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let (mut formations, mut after_a_wipe) = (0, 0);
    for seed in 0..6000_u64 {
        let mut random = StdRng::seed_from_u64(seed);
        let size = random.random_range(2..=4);
        let mut table = Table::of(size);
        let mut rounds = Rounds::of(size);
        let mut history = History::default();
        for _ in 0..150 {
            let member = random.random_range(0..size);
            match random.random_range(0..24) {
                0 => {
                    table.wipe(member);
                    rounds.end(member);
                }
                1 => {
                    table.stop(member);
                    rounds.end(member);
                }
                2..6 => table.start(member),
                6..18 if table.up[member] && table.formed(member).is_none() => {
                    let to = (member + random.random_range(1..size)) % size;
                    rounds.late.push((table.greeting(member, to), to));
                    let said = table.hello(member, to);
                    let id = table.id(to);
                    rounds.heard[member].insert(id, said);
                }
                18 if !rounds.late.is_empty() => {
                    let (hello, to) = rounds.late[random.random_range(0..rounds.late.len())].clone();
                    if table.up[to] {
                        table.deliver(&hello, to);
                    }
                }
                19.. if table.up[member] && table.formed(member).is_none() => {
                    let said = rounds.heard[member].clone();
                    table.conclude(member, &said);
                }
                _ => {}
            }
            rounds.void_where_notes_changed(&table);
            history.check(&table, seed);
        }
        formations += history.formations.len();
        after_a_wipe += usize::from(history.formations.len() > 1);
    }
    // The test must not pass because nothing happens in it.
    assert!(formations > 1000 && after_a_wipe > 10, "{formations} formations, {after_a_wipe} after wipes");
}

/// What each member has heard in its present round.
struct Rounds {
    heard: Vec<BTreeMap<MemberId, Heard>>,
    notes: Vec<Option<Document>>,
    late: Vec<(Hello, usize)>,
}

impl Rounds {
    fn of(size: usize) -> Rounds {
        Rounds { heard: vec![BTreeMap::new(); size], notes: vec![None; size], late: Vec::new() }
    }

    fn end(&mut self, member: usize) {
        self.heard[member].clear();
    }

    fn void_where_notes_changed(&mut self, table: &Table) {
        for (member, disk) in table.disks.iter().enumerate() {
            if self.notes[member] != *disk {
                self.notes[member].clone_from(disk);
                self.end(member);
            }
        }
    }
}

/// Every formation there ever was: its disks, and which of them have formed by it.
#[derive(Default)]
struct History {
    formations: Vec<(Vec<u64>, std::collections::BTreeSet<usize>)>,
}

impl History {
    fn check(&mut self, table: &Table, seed: u64) {
        let size = table.disks.len();
        let nonce = |member: usize| table.disks[member].as_ref().map(|disk| disk.nonce.0);
        for member in (0..size).filter(|member| table.formed(*member).is_some()) {
            let disks = disks_met(table, member);
            assert_eq!(
                Some(disks[member]),
                nonce(member),
                "seed {seed}: {member} is not of its own formation"
            );
            for (other, by) in self.formations.iter().filter(|(other, _)| *other != disks) {
                let is_left = |at: &usize| Some(other[*at]) == nonce(*at);
                let formed_is_left = by.iter().any(is_left);
                assert!(
                    !formed_is_left,
                    "seed {seed}: {member} formed beside a member that had formed before"
                );
                let had_quorum = by.len() > size / 2;
                let any_is_left = (0..size).any(|at| is_left(&at));
                assert!(
                    !(had_quorum && any_is_left),
                    "seed {seed}: {member} formed beside a disk of a cluster"
                );
            }
            match self.formations.iter_mut().find(|(other, _)| *other == disks) {
                Some((_, by)) => drop(by.insert(member)),
                None => self.formations.push((disks, [member].into())),
            }
        }
    }
}

fn disks_met(table: &Table, member: usize) -> Vec<u64> {
    let mine = table.disks[member].as_ref().expect("it has formed");
    let nonce = |planned: &Planned| mine.seen(planned.id).map_or(mine.nonce.0, |seen| seen.nonce.0);
    table.plan.members.iter().map(nonce).collect()
}
