//! The scenes of the story, in their order. Each ends with a cluster that is Ready.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::bench::{Bench, SYSTEM};
use crate::witness::Witness;
use crate::writers::Writers;

/// In the order in which they play.
pub(crate) const ALL: &[(&str, Scene)] = &[
    ("put-get", put_get),
    ("steady", steady),
    ("scale-out", scale_out),
    ("scale-in", scale_in),
    ("roll", roll),
    ("delete-pod", delete_pod),
    ("drain", drain),
    ("operator-killed", operator_killed),
    ("wrong-specs", wrong_specs),
    ("delete-and-return", delete_and_return),
    ("delete-for-good", delete_for_good),
];

pub(crate) type Scene = fn(&Stage) -> Result<()>;

/// One step: a member added and in step, or removed, or restarted.
const STEP: Duration = Duration::from_secs(60);

/// The cluster under test, its clients and its witness.
pub(crate) struct Stage {
    bench: &'static Bench,
    document: String,
    name: String,
    witness: Witness,
    writers: Writers,
}

impl Stage {
    /// Forms the cluster of the sample, then lets clients write to it.
    pub(crate) async fn set(bench: &'static Bench, client: kube::Client) -> Result<Stage> {
        let document = std::fs::read_to_string(bench.path("manifests/samples/three-members.yaml"))?;
        let parsed: Value = serde_yaml::from_str(&document)?;
        let name = parsed["metadata"]["name"].as_str().context("the sample has no name")?.to_owned();
        bench.say("--- form");
        let witness = Witness::start(client, &name);
        bench.apply(&document)?;
        wait_ready(bench, &name, 3, STEP * 2)?;
        let writers = Writers::start(bench, &endpoint(bench, &name)?);
        witness.serving(true);
        Ok(Stage { bench, document, name, witness, writers })
    }

    /// Plays a scene, then asks the clients and the witness.
    pub(crate) async fn play(&self, scene: Scene) -> Result<()> {
        tokio::task::block_in_place(|| scene(self))?;
        self.check().await
    }

    async fn check(&self) -> Result<()> {
        self.bench.say(self.witness.check()?);
        let cluster = self.bench.get(&["kvorumclusters"])?;
        if cluster["items"].as_array().is_some_and(|items| !items.is_empty()) {
            self.bench.say(self.writers.check().await?);
        }
        Ok(())
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.writers.stop().await;
        self.bench.say("the story is told");
        Ok(())
    }

    fn cluster(&self) -> Result<Value> {
        self.bench.get(&["kvorumcluster", &self.name])
    }

    fn wait_ready(&self, members: usize) -> Result<()> {
        wait_ready(self.bench, &self.name, members, STEP * 3)
    }

    fn scale(&self, replicas: usize) -> Result<()> {
        let wanted = format!("--replicas={replicas}");
        self.bench.kubectl(&["scale", "kvorumcluster", &self.name, &wanted])?;
        Ok(())
    }

    fn patch(&self, spec: &str) -> Result<()> {
        self.bench.kubectl(&["patch", "kvorumcluster", &self.name, "--type", "merge", "--patch", spec])?;
        Ok(())
    }

    /// The objects of one kind that belong to the cluster, by name.
    fn objects(&self, kind: &str) -> Result<BTreeMap<String, Value>> {
        let label = format!("kvorum.dev/cluster={}", self.name);
        let list = self.bench.get(&[kind, "--selector", &label])?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        Ok(items.into_iter().map(|item| (text(&item["metadata"]["name"]), item)).collect())
    }

    fn leader(&self) -> Result<String> {
        let leader = text(&self.cluster()?["status"]["leader"]);
        ensure!(!leader.is_empty(), "the status names no leader");
        Ok(leader)
    }
}

fn wait_ready(bench: &Bench, name: &str, members: usize, within: Duration) -> Result<()> {
    bench.wait(&format!("{members} members are ready"), within, || {
        let cluster = bench.get(&["kvorumcluster", name])?;
        let status = &cluster["status"];
        let ready = condition(&cluster, "Ready");
        let current = status["observedGeneration"] == cluster["metadata"]["generation"];
        let all = status["readyMembers"] == format!("{members}/{members}");
        if !(current && all && ready["status"] == "True") {
            bail!("ready members {}, {}", status["readyMembers"], status["operation"]);
        }
        Ok(true)
    })
}

/// The address of the client Service.
fn endpoint(bench: &Bench, name: &str) -> Result<String> {
    let service = bench.get(&["service", &format!("{name}-client")])?;
    let address = service["spec"]["clusterIP"].as_str().context("the client Service has no address")?;
    Ok(format!("http://{address}:2379"))
}

fn condition(cluster: &Value, kind: &str) -> Value {
    let conditions = cluster["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|held| held["type"] == kind).cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn put_get(stage: &Stage) -> Result<()> {
    let endpoint = endpoint(stage.bench, &stage.name)?;
    let ctl = |arguments: &[&str]| {
        stage.bench.run(stage.bench.tool("etcdctl").args(["--endpoints", &endpoint]).args(arguments))
    };
    ctl(&["put", "greeting", "hello"])?;
    let answer = ctl(&["get", "greeting", "--print-value-only"])?;
    ensure!(answer.trim() == "hello", "get after put answers {answer:?}");
    // The same from inside a member's image, by the member's own name.
    let pod = stage.leader()?;
    let own = format!("http://{pod}.{}-members.{}.svc:2379", stage.name, crate::bench::NAMESPACE);
    let inside = stage.bench.kubectl(&[
        "exec",
        &pod,
        "--",
        "etcdctl",
        "--endpoints",
        &own,
        "get",
        "greeting",
        "--print-value-only",
    ])?;
    ensure!(inside.trim() == "hello", "get from inside a Pod answers {inside:?}");
    Ok(())
}

/// Under load of clients, a cluster with nothing to do makes no object change.
fn steady(stage: &Stage) -> Result<()> {
    let versions = || -> Result<Vec<String>> {
        let mut all = vec![text(&stage.cluster()?["metadata"]["resourceVersion"])];
        for kind in ["pods", "persistentvolumeclaims", "services", "poddisruptionbudgets", "events"] {
            let list = stage.bench.get(&[kind])?;
            let items = list["items"].as_array().cloned().unwrap_or_default();
            all.extend(items.iter().map(|item| {
                format!("{kind} {} {}", item["metadata"]["name"], item["metadata"]["resourceVersion"])
            }));
        }
        Ok(all)
    };
    std::thread::sleep(Duration::from_secs(3));
    let before = versions()?;
    std::thread::sleep(Duration::from_secs(20));
    let after = versions()?;
    let moved: Vec<_> = after.iter().filter(|now| !before.contains(now)).collect();
    ensure!(moved.is_empty(), "written although nothing was to do: {moved:?}");
    stage.bench.say("20 s without a write");
    Ok(())
}

fn scale_out(stage: &Stage) -> Result<()> {
    stage.scale(5)?;
    stage.wait_ready(5)
}

fn scale_in(stage: &Stage) -> Result<()> {
    stage.scale(3)?;
    stage.wait_ready(3)?;
    stage.bench.wait("the Pods of the others are gone", STEP, || Ok(stage.objects("pods")?.len() == 3))
}

/// A new election timeout reaches every member, the leader last.
fn roll(stage: &Stage) -> Result<()> {
    let before = stage.objects("pods")?;
    let leader = stage.leader()?;
    stage.patch(r#"{"spec": {"timing": {"electionTimeoutMs": 1500}}}"#)?;
    stage.wait_ready(3)?;
    let after = stage.objects("pods")?;
    for (name, pod) in &after {
        let old = before.get(name).with_context(|| format!("Pod {name} was not there before"))?;
        ensure!(old["metadata"]["uid"] != pod["metadata"]["uid"], "Pod {name} was not made anew");
        let arguments = pod["spec"]["containers"][0].to_string();
        ensure!(
            arguments.contains("--election-timeout=1500"),
            "Pod {name} runs without the new timeout: {arguments}"
        );
    }
    let youngest =
        after.values().map(|pod| text(&pod["metadata"]["creationTimestamp"])).max().unwrap_or_default();
    let of_leader = text(&after[&leader]["metadata"]["creationTimestamp"]);
    ensure!(
        of_leader == youngest,
        "the leader {leader} was restarted at {of_leader}, not last, at {youngest}"
    );
    Ok(())
}

/// A deleted Pod comes back as the same member on the same disk.
fn delete_pod(stage: &Stage) -> Result<()> {
    let leader = stage.leader()?;
    let pods = stage.objects("pods")?;
    let (name, old) = pods.iter().find(|(name, _)| **name != leader).context("no follower")?;
    let member = |cluster: Value| {
        let members = cluster["status"]["members"].as_array().cloned().unwrap_or_default();
        members.into_iter().find(|member| member["name"] == **name).unwrap_or_default()
    };
    let id = member(stage.cluster()?)["id"].clone();
    stage.bench.kubectl(&["delete", "pod", name])?;
    stage.bench.wait(&format!("Pod {name} is back"), STEP, || {
        let pods = stage.objects("pods")?;
        Ok(pods.get(name).is_some_and(|now| now["metadata"]["uid"] != old["metadata"]["uid"]))
    })?;
    stage.wait_ready(3)?;
    ensure!(member(stage.cluster()?)["id"] == id, "member {name} came back as another member");
    Ok(())
}

/// The member of a drained node waits for its disk; the others serve.
fn drain(stage: &Stage) -> Result<()> {
    for node in ["node-1", "node-2", "node-3"] {
        let here: Vec<_> =
            stage.objects("pods")?.into_iter().filter(|(_, pod)| pod["spec"]["nodeName"] == node).collect();
        let drained = stage.bench.kubectl(&[
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout",
            "45s",
        ]);
        match here.len() {
            0 | 1 => drop(drained?),
            many => ensure!(drained.is_err(), "node {node} gave up {many} of three voters at once"),
        }
        stage.bench.say(format!("{node} is drained, it had {} members", here.len()));
        if let [(name, _)] = &here[..] {
            stage.bench.wait(&format!("{name} waits for {node}"), STEP, || {
                let pods = stage.objects("pods")?;
                Ok(pods.get(name).is_some_and(|pod| pod["status"]["phase"] == "Pending"))
            })?;
        }
        std::thread::sleep(Duration::from_secs(3));
        stage.bench.kubectl(&["uncordon", node])?;
        stage.wait_ready(3)?;
    }
    Ok(())
}

/// The operator dies in the middle of a scale-out; the next one goes on from what it finds.
fn operator_killed(stage: &Stage) -> Result<()> {
    let known = stage.objects("pods")?;
    stage.scale(5)?;
    stage.bench.wait("a fourth member was begun", STEP, || Ok(stage.objects("pods")?.len() > known.len()))?;
    let operators = ["--namespace", SYSTEM, "--selector", "app.kubernetes.io/name=kvorum-operator"];
    let mut kill = vec!["delete", "pods", "--force", "--grace-period=0"];
    kill.extend(operators);
    stage.bench.kubectl(&kill)?;
    stage.bench.say("the operator is killed");
    stage.wait_ready(5)?;
    scale_in(stage)
}

/// What a user may get wrong, and the words that the API server must answer with.
fn wrong_specs(stage: &Stage) -> Result<()> {
    let before = stage.objects("pods")?;
    let cases = [
        ("replicas: 0", vec!["replicas", "greater than or equal to 1"]),
        (
            "timing: {heartbeatIntervalMs: 100, electionTimeoutMs: 499}",
            vec!["electionTimeoutMs is 499", "500 or more"],
        ),
        ("timing: {electionTimeoutMs: 60000}", vec!["electionTimeoutMs", "50000"]),
        ("replicaz: 3", vec!["unknown field", "replicaz"]),
        ("storage: {className: other}", vec!["className is other", "cannot change after creation"]),
        ("storage: {size: 1Mi}", vec!["1Mi", "cannot shrink"]),
    ];
    for (spec, words) in cases {
        let document = format!(
            "apiVersion: kvorum.dev/v1alpha1\nkind: KvorumCluster\nmetadata: {{name: {}}}\nspec: {{{spec}}}\n",
            stage.name
        );
        let refusal = stage.bench.refusal(&document)?;
        for word in words {
            ensure!(refusal.contains(word), "the refusal of {spec:?} does not say {word:?}: {refusal}");
        }
    }
    stage.wait_ready(3)?;
    let after = stage.objects("pods")?;
    for (name, pod) in before {
        let now = after.get(&name).with_context(|| format!("a refused spec removed Pod {name}"))?;
        ensure!(now["metadata"]["uid"] == pod["metadata"]["uid"], "a refused spec touched Pod {name}");
    }
    Ok(())
}

/// Deleted with its disks retained and created again: the same cluster with the same data.
fn delete_and_return(stage: &Stage) -> Result<()> {
    let id = stage.cluster()?["status"]["clusterId"].clone();
    let claims = stage.objects("persistentvolumeclaims")?;
    delete(stage)?;
    let kept = stage.objects("persistentvolumeclaims")?;
    ensure!(kept.keys().eq(claims.keys()), "of the claims {:?} are left {:?}", claims.keys(), kept.keys());
    stage.bench.apply(&stage.document)?;
    stage.wait_ready(3)?;
    ensure!(stage.cluster()?["status"]["clusterId"] == id, "another cluster came back");
    stage.witness.serving(true);
    stage.writers.resume(&endpoint(stage.bench, &stage.name)?);
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

/// With retention Delete the disks go with the cluster.
fn delete_for_good(stage: &Stage) -> Result<()> {
    stage.patch(r#"{"spec": {"storage": {"retention": {"onDelete": "Delete"}}}}"#)?;
    stage.wait_ready(3)?;
    let members = stage.objects("pods")?;
    delete(stage)?;
    // Disks that were retained at a scale-in are no longer the cluster's.
    stage.bench.wait("the members' claims are gone", STEP, || {
        let claims = stage.objects("persistentvolumeclaims")?;
        Ok(!members.keys().any(|member| claims.contains_key(member)))
    })
}

fn delete(stage: &Stage) -> Result<()> {
    stage.writers.rest();
    stage.witness.serving(false);
    stage.bench.kubectl(&["delete", "kvorumcluster", &stage.name, "--timeout", "60s"])?;
    stage.bench.wait("the Pods are gone", STEP, || Ok(stage.objects("pods")?.is_empty()))
}
