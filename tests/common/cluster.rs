//! Several members of one cluster.

use std::time::Duration;

use kvorum::client::Client;
use kvorum::types::{MemberId, Revision};

use super::address::Address;
use super::bench::{Bench, Ground};
use super::member::{Member, PATIENCE, TIMEOUTS};
use super::tools::{Server, server};
use super::wait::until;

/// What all members of a cluster have in common.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The program that they run; the server under test unless said otherwise.
    pub(crate) server: Server,
    pub(crate) members: usize,
    pub(crate) heartbeat: Duration,
    pub(crate) election: Duration,
    pub(crate) flags: Vec<String>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            server: server(),
            members: 3,
            heartbeat: Duration::from_millis(100),
            election: Duration::from_millis(1000),
            flags: Vec::new(),
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) plan: Plan,
    ground: Ground,
    addresses: Vec<Address>,
}

/// Who leads, in which term, as the members agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// Position in [`Cluster::members`].
    pub(crate) leader: usize,
    pub(crate) id: MemberId,
    pub(crate) term: u64,
}

impl Cluster {
    /// Members that lie ready, founded together when they are started.
    pub(crate) fn prepare(bench: &Bench, plan: Plan) -> Cluster {
        let addresses: Vec<Address> = (0..plan.members).map(|_| Address::claim()).collect();
        Cluster::prepare_at(bench, plan, &addresses)
    }

    /// The same at these addresses: identities follow from them.
    pub(crate) fn prepare_at(bench: &Bench, plan: Plan, addresses: &[Address]) -> Cluster {
        let initial: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(at, address)| format!("m{at}={}", address.peer_url()))
            .collect();
        let mut cluster =
            Cluster { members: Vec::new(), plan, ground: bench.ground(), addresses: Vec::new() };
        for address in addresses {
            let flags = vec![
                format!("--initial-cluster={}", initial.join(",")),
                "--initial-cluster-state=new".to_owned(),
                "--initial-cluster-token=stories".to_owned(),
            ];
            cluster.place(address.clone(), flags);
        }
        cluster
    }

    /// A cluster that serves, all its members in step.
    pub(crate) async fn form(bench: &Bench, plan: Plan) -> Cluster {
        let mut cluster = Cluster::prepare(bench, plan);
        cluster.start().await;
        cluster
    }

    fn place(&mut self, address: Address, flags: Vec<String>) {
        let name = format!("m{}", self.members.len());
        let mut all = Member::place(&name, &address);
        all.push(format!("--heartbeat-interval={}", self.plan.heartbeat.as_millis()));
        all.push(format!("--election-timeout={}", self.plan.election.as_millis()));
        all.extend(self.plan.flags.iter().cloned());
        all.extend(flags);
        self.members.push(Member::new(&self.ground, &self.plan.server, &name, &address, all));
        self.addresses.push(address);
    }

    /// One more member, not started and not yet added, with the flags of one that joins `existing` members.
    pub(crate) fn place_joining(&mut self) -> &mut Member {
        let address = Address::claim();
        let mut initial: Vec<String> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url)).collect();
        initial.push(format!("m{}={}", self.members.len(), address.peer_url()));
        let flags = vec![
            format!("--initial-cluster={}", initial.join(",")),
            "--initial-cluster-state=existing".to_owned(),
        ];
        self.place(address, flags);
        self.members.last_mut().expect("it was just placed")
    }

    /// Starts those that do not run; all serve when this returns.
    pub(crate) async fn start(&mut self) {
        for member in &mut self.members {
            if !member.is_running() {
                member.start();
            }
        }
        for member in &mut self.members {
            member.ready().await;
        }
    }

    /// A client of all members.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.members.iter().map(|member| &member.client_url), TIMEOUTS)
            .expect("members' URLs are endpoints")
    }

    /// Who leads, once all running members agree.
    pub(crate) async fn leadership(&mut self) -> Leadership {
        until("the members to agree on a leader", PATIENCE, async || {
            let mut seen = Vec::new();
            let mut leader = None;
            for (at, member) in self.members.iter_mut().enumerate() {
                if !member.is_running() {
                    continue;
                }
                let status = member.status().await.map_err(|error| format!("{}: {error}", member.name))?;
                let own = status.header.map(|header| header.member_id);
                if own == Some(status.leader) {
                    leader = Some(at);
                }
                seen.push((status.leader, status.raft_term));
            }
            match (leader, seen.first()) {
                (Some(leader), Some(&(id, term))) if id != 0 && seen.iter().all(|one| *one == (id, term)) => {
                    Ok(Leadership { leader, id: MemberId(id), term })
                }
                _ => Err(format!("(leader, term): {seen:?}")),
            }
        })
        .await
    }

    /// The next member that says of itself that it leads in a later term than `before`. Asks the running
    /// members but `before.leader` all the time.
    pub(crate) async fn next_leader(&mut self, before: Leadership, within: Duration) -> Leadership {
        until("another leader", within, async || {
            let mut seen = Vec::new();
            for (at, member) in self.members.iter_mut().enumerate() {
                if at == before.leader || !member.is_running() {
                    continue;
                }
                let Ok(status) = member.status().await else { continue };
                let own = status.header.map(|header| header.member_id).unwrap_or_default();
                if status.leader == own && status.raft_term > before.term {
                    return Ok(Leadership { leader: at, id: MemberId(own), term: status.raft_term });
                }
                seen.push((status.leader, status.raft_term));
            }
            Err(format!("(leader, term): {seen:?}"))
        })
        .await
    }

    /// All running members hold the same keys at the same revision.
    pub(crate) async fn assert_equal_stores(&mut self) {
        let revision = self.client().hash_kv(Revision(0)).await.expect("a member answers").hash_revision;
        let mut seen = Vec::new();
        for member in &mut self.members {
            if !member.is_running() {
                continue;
            }
            let hash =
                until(&format!("{} to reach revision {revision}", member.name), PATIENCE, async || {
                    member.client().hash_kv(Revision(revision)).await.map_err(|error| error.to_string())
                })
                .await;
            seen.push((member.name.clone(), hash.hash, hash.compact_revision));
        }
        let first = &seen[0];
        let equal = seen.iter().all(|one| (one.1, one.2) == (first.1, first.2));
        assert!(equal, "stores differ at revision {revision}: {seen:?}");
    }
}
