//! A document becomes a running cluster and is followed as it is edited: the operator's local
//! platform with real servers, clients writing and reading all the while.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kvorum::api::{ConditionStatus, ConditionType, KvorumClusterStatus, MemberRole};
use kvorum::client::{Client, Consistency, Timeouts};
use kvorum::operator::{Addressing, MemberName};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::common::bench::{Bench, Turn, our_story};
use crate::common::load::Load;
use crate::common::process::{Launch, Process, read_log};
use crate::common::wait::{holds, until};

/// For any one change; on a loaded machine the servers' own waits (five seconds of connection
/// before a member may be added) make up most of it.
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// A cluster on this machine, run from a document by the operator.
struct Local {
    launch: Launch,
    operator: Option<Process>,
    document: PathBuf,
    folder: PathBuf,
}

impl Local {
    fn new(bench: &Bench) -> Local {
        let (document, folder) = (bench.folder().join("db.yaml"), bench.folder().join("db"));
        let argument = |path: &Path| path.display().to_string();
        let launch = Launch {
            program: env!("CARGO_BIN_EXE_kvorum-operator").into(),
            arguments: vec![
                "local".to_owned(),
                "--file".to_owned(),
                argument(&document),
                "--dir".to_owned(),
                argument(&folder),
                "--server-binary".to_owned(),
                argument(&bench.server.path),
            ],
            environment: Vec::new(),
            folder: bench.folder().to_owned(),
            log: bench.log_file("operator"),
        };
        Local { launch, operator: None, document, folder }
    }

    fn start(&mut self) {
        self.operator = Some(Process::start(&self.launch));
    }

    fn write(&self, spec: &str) {
        self.write_document("{name: db}", spec);
    }

    /// The document asks for that member to be moved.
    fn write_asking(&self, spec: &str, member: &str) {
        self.write_document(&format!("{{name: db, annotations: {{kvorum.dev/replace: {member}}}}}"), spec);
    }

    fn write_document(&self, metadata: &str, spec: &str) {
        let text = format!(
            "apiVersion: kvorum.dev/v1alpha1\nkind: KvorumCluster\nmetadata: {metadata}\nspec: {spec}\n"
        );
        fs::write(&self.document, text).expect("the document is written");
    }

    /// Waits until these are the voters and all is well.
    async fn voters_become(&self, expected: &[&str]) {
        until(&format!("{expected:?} to be the voters"), SETTLES_WITHIN, async || {
            let status = self.status()?;
            holds(is_ready(&status) && voters(&status) == expected, (&status.members, &status.operation))
        })
        .await;
    }

    /// Edits the document and waits until the cluster is as it says.
    async fn settle(&self, spec: &str, voters: usize) -> KvorumClusterStatus {
        let before = self.status().map(|status| status.observed_generation).unwrap_or_default();
        self.write(spec);
        until(&format!("{spec} to be followed"), SETTLES_WITHIN, async || {
            let status = self.status()?;
            let followed = status.observed_generation > before;
            let ready = status.ready_members.as_deref() == Some(&format!("{voters}/{voters}"));
            holds(followed && ready && is_ready(&status), &status.operation).map(|()| status)
        })
        .await
    }

    async fn ready(&self) -> KvorumClusterStatus {
        until("Ready", SETTLES_WITHIN, async || {
            let status = self.status()?;
            holds(is_ready(&status), &status.operation).map(|()| status)
        })
        .await
    }

    fn status(&self) -> Result<KvorumClusterStatus, String> {
        let text = fs::read_to_string(self.folder.join("status.json")).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn json(&self, path: &str) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.folder.join(path)).ok()?).ok()
    }

    fn addressing(&self) -> Addressing {
        let base = self.json("cluster.json").and_then(|cluster| cluster["basePort"].as_u64());
        Addressing::Loopback { base_port: base.and_then(|base| base.try_into().ok()).expect("a base port") }
    }

    fn client_url(&self, ordinal: u32) -> String {
        self.addressing().client_url(&MemberName::new("db", ordinal))
    }

    fn client(&self, ordinals: &[u32]) -> Client {
        let urls: Vec<_> = ordinals.iter().map(|ordinal| self.client_url(*ordinal)).collect();
        Client::connect(urls, Timeouts::default()).expect("members' URLs are endpoints")
    }

    /// The members' processes that live, by name.
    fn processes(&self) -> BTreeMap<String, i64> {
        let folders = fs::read_dir(self.folder.join("members")).into_iter().flatten().flatten();
        let names = folders.map(|folder| folder.file_name().to_string_lossy().into_owned());
        let notes = names.filter_map(|name| {
            let note = self.json(&format!("members/{name}/process.json"))?;
            Some((name, note["pid"].as_i64()?))
        });
        notes.filter(|(_, pid)| lives(*pid)).collect()
    }

    /// The steps that were told so far.
    fn told(&self) -> String {
        read_log(&self.launch.log)
    }

    async fn stop(&mut self) {
        let mut operator = self.operator.take().expect("it runs");
        operator.signal(Signal::TERM);
        let status = operator.end(SETTLES_WITHIN).await;
        assert!(status.success(), "{status}");
        // It ends after its members, so there is nothing to wait for.
        assert_eq!(self.processes(), BTreeMap::new(), "members are left behind");
    }

    fn kill_operator(&mut self) {
        self.operator.take().expect("it runs").signal(Signal::KILL);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.operator = None;
        for pid in self.processes().into_values() {
            kill(pid);
        }
    }
}

/// Whether a process is there and not over. One that is over stays in sight until somebody asks how
/// it ended, and for members of a killed operator that is nobody of ours.
fn lives(pid: i64) -> bool {
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the state may hold anything, also brackets.
    told.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| !"ZX".contains(state))
}

fn kill(pid: i64) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn is_ready(status: &KvorumClusterStatus) -> bool {
    let ready = status.conditions.iter().find(|held| held.kind == ConditionType::Ready);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}

/// Looks at the lists of all members all the time; what must never be in one is kept.
fn watch_lists(client: Client, stop: CancellationToken) -> JoinHandle<Result<u32, String>> {
    tokio::spawn(async move {
        let mut looks = 0;
        while !stop.is_cancelled() {
            for one in client.each() {
                let Ok(list) = one.members(Consistency::Serializable).await else { continue };
                let learners = list.members.iter().filter(|member| member.is_learner).count();
                let unstarted = list.members.iter().filter(|member| member.name.is_empty()).count();
                if learners > 1 || unstarted > 1 {
                    return Err(format!("{learners} learners and {unstarted} unstarted members: {list:?}"));
                }
                looks += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(looks)
    })
}

fn voters(status: &KvorumClusterStatus) -> Vec<&str> {
    let voters = status.members.iter().filter(|member| member.role == MemberRole::Voter);
    voters.map(|member| member.name.as_str()).collect()
}

#[test]
fn a_document_becomes_a_cluster_that_changes_one_member_at_a_time() {
    our_story(Turn::Shared, Duration::from_secs(300), async |bench| {
        let mut local = Local::new(bench);
        local.write("{replicas: 3}");
        local.start();
        let formed = local.ready().await;
        assert_eq!(voters(&formed), ["db-0", "db-1", "db-2"]);

        let endpoints: Vec<_> = (0..3).map(|ordinal| local.client_url(ordinal)).collect();
        let load = Load::over(&endpoints, 3);
        let stop = CancellationToken::new();
        let watcher = watch_lists(local.client(&[0, 1, 2]), stop.clone());

        let grown = local.settle("{replicas: 5}", 5).await;
        assert_eq!(voters(&grown), ["db-0", "db-1", "db-2", "db-3", "db-4"]);
        let shrunk = local.settle("{replicas: 3}", 3).await;
        assert_eq!(voters(&shrunk), ["db-0", "db-1", "db-2"]);
        load.progress(50, SETTLES_WITHIN).await;

        // New settings reach the members one by one, the leader last.
        let before = local.processes();
        let leader = local.status().expect("a status").leader.expect("a leader");
        local.settle("{replicas: 3, timing: {electionTimeoutMs: 1500}}", 3).await;
        assert!(
            before.iter().all(|(name, pid)| local.processes()[name] != *pid),
            "not everybody was restarted"
        );
        let told = local.told();
        let stops: Vec<_> =
            told.lines().filter_map(|line| line.split_once(" Stop ")).map(|(_, stop)| stop).collect();
        let last = stops.last().expect("members were stopped");
        assert!(last.trim_start().starts_with(&format!("stop {leader}:")), "{last}");

        // A name is not used again, and a dead member is started again on its disk.
        let again = local.settle("{replicas: 4, timing: {electionTimeoutMs: 1500}}", 4).await;
        assert_eq!(voters(&again), ["db-0", "db-1", "db-2", "db-5"]);
        let id = again.members[1].id.clone();
        kill(local.processes()["db-1"]);
        until("the death of db-1 to be seen", SETTLES_WITHIN, async || {
            holds(local.told().contains("start db-1: the process of db-1 is over"), local.told())
        })
        .await;
        assert_eq!(local.ready().await.members[1].id, id);

        // The operator dies in the middle of a change, and the next one goes on.
        local.write("{replicas: 5, timing: {electionTimeoutMs: 1500}}");
        until("db-6 to be added", SETTLES_WITHIN, async || {
            holds(local.told().contains("add db-6 as learner"), local.told())
        })
        .await;
        local.kill_operator();
        local.start();
        until("five members", SETTLES_WITHIN, async || {
            let status = local.status()?;
            holds(is_ready(&status) && status.replicas == 5, &status.operation)
        })
        .await;
        load.progress(50, SETTLES_WITHIN).await;
        stop.cancel();
        let looks =
            watcher.await.expect("the watcher does not panic").unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(looks > 100, "{looks} looks");
        let judged = load.judge_by(&local.client(&[0, 1, 2])).await;
        bench.note(&format!("{judged:?}"));

        // Everything is stopped, and comes back with its data. The status is still the one from before.
        local.stop().await;
        local.start();
        let client = local.client(&[0, 1, 2]);
        let kept = until("the data to be back", SETTLES_WITHIN, async || {
            client.range(&super::prefix_request("load/")).await.map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(kept.kvs.len(), 4);
        local.stop().await;
    });
}

/// A member loses all of its disk, another the data on it, a third is asked to move: each gives way to
/// a new one, and what is left of the old disks is left as it is.
#[test]
fn members_that_fail_are_replaced() {
    our_story(Turn::Shared, Duration::from_secs(300), async |bench| {
        const SPEC: &str = "{replicas: 3, storage: {retention: {onScaleIn: Delete}}}";
        let mut local = Local::new(bench);
        local.write(SPEC);
        local.start();
        local.ready().await;
        let endpoints: Vec<_> = (0..3).map(|ordinal| local.client_url(ordinal)).collect();
        let load = Load::over(&endpoints, 3);
        load.progress(20, SETTLES_WITHIN).await;
        let stop = CancellationToken::new();
        let watcher = watch_lists(local.client(&[0, 1, 2]), stop.clone());

        let member = |name: &str| local.folder.join("members").join(name);
        let away = |name: &str| bench.folder().join(name);
        fs::rename(member("db-1"), away("all of db-1")).expect("the disk is taken away");
        kill(pid_of(&away("all of db-1")));
        local.voters_become(&["db-0", "db-2", "db-3"]).await;

        fs::write(member("db-2").join("kept"), "by whom it may concern").expect("a file beside the data");
        fs::rename(member("db-2").join("data"), away("data of db-2")).expect("the data are taken away");
        kill(pid_of(&member("db-2")));
        local.voters_become(&["db-0", "db-3", "db-4"]).await;
        until("the disk of db-2 to be quarantined", SETTLES_WITHIN, async || {
            let mark = local.json("members/db-2/mark.json").unwrap_or_default();
            holds(mark["quarantined"] == true && mark["retired"] == true, &mark)
        })
        .await;
        assert!(member("db-2").join("kept").exists());
        let replaced = local.status().expect("a status").replaced;
        let replaced: Vec<_> = replaced.iter().map(|told| (&*told.member, &*told.because)).collect();
        assert_eq!(replaced[0], ("db-1", "db-1 has failed: its disk is not there"));
        assert_eq!(replaced[1].0, "db-2", "{replaced:?}");

        local.write_asking(SPEC, "db-0");
        local.voters_become(&["db-3", "db-4", "db-5"]).await;
        stop.cancel();
        let looks = watcher.await.expect("the watcher does not panic");
        assert!(looks.unwrap_or_else(|wrong| panic!("{wrong}")) > 0);
        let judged = load.judge_by(&local.client(&[3, 4, 5])).await;
        bench.note(&format!("{judged:?}"));
        local.stop().await;
    });
}

/// It is there for the platform, and the leader has no contact with it.
#[test]
fn a_member_that_hangs_is_replaced_after_a_while() {
    our_story(Turn::Shared, Duration::from_secs(300), async |bench| {
        let mut local = Local::new(bench);
        local.write("{replicas: 3}");
        local.start();
        local.ready().await;
        let hung = i32::try_from(local.processes()["db-1"]).ok().and_then(Pid::from_raw).expect("a process");
        local.write("{replicas: 3, replacement: {unhealthyAfterSeconds: 10}}");
        kill_process(hung, Signal::STOP).expect("it is stopped");
        until("db-1 to be replaced", 2 * SETTLES_WITHIN, async || {
            let status = local.status()?;
            let replaced = status.replaced.iter().any(|told| told.member == "db-1");
            let whole = is_ready(&status) && status.replicas == 3 && !voters(&status).contains(&"db-1");
            holds(replaced && whole, (&status.replaced, &status.operation))
        })
        .await;
        local.stop().await;
    });
}

/// The process whose note lies in that folder.
fn pid_of(folder: &Path) -> i64 {
    let note = fs::read(folder.join("process.json")).expect("there is a note");
    let note: Value = serde_json::from_slice(&note).expect("it is JSON");
    note["pid"].as_i64().expect("it names a process")
}

#[test]
fn wrong_documents_are_told_and_leave_the_cluster_alone() {
    our_story(Turn::Shared, Duration::from_secs(120), async |bench| {
        let mut local = Local::new(bench);
        local.write("{replicas: 0}");
        local.start();
        let mut refused = local.operator.take().expect("it was started");
        assert_eq!(refused.end(SETTLES_WITHIN).await.code(), Some(1));
        assert!(local.told().contains("spec.replicas is 0: must be 1 or more"), "{}", local.told());

        local.write("{replicas: 1, storage: {className: fast}}");
        local.start();
        let ready = local.ready().await;
        let processes = local.processes();
        let story = [
            ("{replica: 3}", "spec.replica is unknown: the fields there are"),
            ("{replicas: 0}", "spec.replicas is 0: must be 1 or more"),
            (
                "{replicas: 3, timing: {electionTimeoutMs: 400}, storage: {className: fast}}",
                "spec.timing.electionTimeoutMs is 400: must be at least five times",
            ),
            (
                "{replicas: 3, storage: {className: slow}}",
                "spec.storage.className is slow: it cannot change after creation; put back fast",
            ),
            ("[3", "the document is not YAML"),
        ];
        for (spec, said) in story {
            local.write(spec);
            until(said, SETTLES_WITHIN, async || holds(local.told().contains(said), local.told())).await;
        }
        assert_eq!(local.processes(), processes);
        assert_eq!(local.status().expect("a status"), ready);
        local.stop().await;
    });
}
