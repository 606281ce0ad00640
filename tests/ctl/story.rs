//! Steps of a story, telling it with either tool, and comparing what was heard.

use kvorum::proto::etcdserverpb as pb;
use prost::Message;

use super::server::{Cluster, Place};
use super::tool::{Run, Tool};

/// One command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) args: Vec<std::ffi::OsString>,
    pub(super) stdin: Vec<u8>,
    pub(super) stdin_stays_open: bool,
    pub(super) env: Vec<(String, String)>,
    /// Standard output is read up to the line that holds this, then the tool is ended.
    pub(super) until: Option<String>,
    only_reads: bool,
    /// Its answer tells of sizes or indexes that differ from one cluster to the next.
    alone: bool,
    moves_leader: bool,
}

impl Step {
    pub(super) fn line(line: &str) -> Step {
        Step {
            args: line.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect(),
            ..Step::default()
        }
    }

    /// One more argument, which may hold spaces or be empty. Behind `--` it goes before it.
    pub(super) fn arg(mut self, arg: &str) -> Step {
        self.args.push(arg.into());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Step {
        use std::os::unix::ffi::OsStringExt;
        // A program's arguments cannot hold zero bytes.
        let bytes = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        self.args.push(std::ffi::OsString::from_vec(bytes));
        self
    }

    pub(super) fn stdin(mut self, text: &str) -> Step {
        self.stdin = text.into();
        self
    }

    pub(super) fn keep_stdin_open(mut self) -> Step {
        self.stdin_stays_open = true;
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Step {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(super) fn until(mut self, needle: &str) -> Step {
        self.until = Some(needle.into());
        self.keep_stdin_open()
    }

    pub(super) fn only_reads(mut self) -> Step {
        self.only_reads = true;
        self
    }

    pub(super) fn alone(mut self) -> Step {
        self.alone = true;
        self
    }

    pub(super) fn moves_leader(mut self) -> Step {
        self.moves_leader = true;
        self
    }

    pub(super) fn names_endpoints(&self) -> bool {
        self.args.iter().any(|arg| arg.to_string_lossy().starts_with("--endpoints"))
            || self.env.iter().any(|(name, _)| name == "ETCDCTL_ENDPOINTS")
    }

    fn shown(&self) -> String {
        let words: Vec<_> =
            self.args.iter().map(|arg| arg.to_string_lossy().chars().take(60).collect::<String>()).collect();
        format!("{} < {:?}", words.join(" "), String::from_utf8_lossy(&self.stdin))
    }

    fn filled(&self, names: &[(&str, String)]) -> Step {
        let mut step = self.clone();
        for arg in &mut step.args {
            if let Some(text) = arg.to_str().filter(|text| text.contains('{')) {
                *arg = names
                    .iter()
                    .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
                    .into();
            }
        }
        step
    }
}

/// Tells a story to clusters of `size` members and panics with all differences.
pub(super) fn tell(size: usize, steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path().to_owned(), size);
    let (etcdctl, ours) = (Tool::etcdctl(), Tool::ours(folder.path()));
    let mut differences = Vec::new();
    let first = tell_by(&etcdctl, Some(&ours), &place.begin(), steps, &mut differences);
    let second = tell_by(&ours, Some(&etcdctl), &place.begin(), steps, &mut differences);
    for ((step, want), got) in steps.iter().zip(&first).zip(&second) {
        if !step.alone && !step.moves_leader {
            compare("each by itself", step, want, got, &mut differences);
        }
    }
    finish(&differences);
}

/// Tells a story that needs no server.
pub(super) fn tell_alone(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let (etcdctl, ours) = (Tool::etcdctl(), Tool::ours(folder.path()));
    let mut differences = Vec::new();
    for step in steps {
        let (want, got) = (heard(&etcdctl, step, None), heard(&ours, step, None));
        compare("without a server", step, &want, &got, &mut differences);
    }
    finish(&differences);
}

fn tell_by(
    teller: &Tool,
    other: Option<&Tool>,
    cluster: &Cluster,
    steps: &[Step],
    differences: &mut Vec<String>,
) -> Vec<Run> {
    let endpoints = cluster.endpoints.join(",");
    let founders = cluster.member_ids();
    let mut added = 0;
    let mut runs = Vec::new();
    for step in steps {
        let step = step.filled(&names(cluster, &founders, added));
        let run = match other.filter(|_| step.only_reads) {
            Some(other) => beside_each_other(teller, other, &step, &endpoints, differences),
            None => heard(teller, &step, Some(&endpoints)),
        };
        if step.args.first().is_some_and(|word| word == "member")
            && step.args[1] == "add"
            && run.code != Some(1)
        {
            // The last voter costs the quorum, and even then the member itself still answers this.
            added = cluster.member_ids().into_iter().find(|id| !founders.contains(id)).unwrap_or(added);
        }
        if step.moves_leader {
            let leads = format!("{:x}", cluster.leader_first()[0].0);
            assert_eq!(*step.args[1], *leads, "{}: {}", teller.name, shown(&run));
        }
        runs.push(masked_member(run, &step, added));
    }
    runs
}

/// What the first says, compared with what the second says of a server that does not change meanwhile: its
/// files settle in the background.
fn beside_each_other(
    first: &Tool,
    second: &Tool,
    step: &Step,
    endpoints: &str,
    differences: &mut Vec<String>,
) -> Run {
    for _ in 0..100 {
        let before = heard(first, step, Some(endpoints));
        let said = heard(second, step, Some(endpoints));
        if before != said && heard(first, step, Some(endpoints)) != before {
            continue;
        }
        let (want, got) = if first.name == "etcdctl" { (&before, &said) } else { (&said, &before) };
        compare("beside each other", step, want, got, differences);
        return before;
    }
    panic!("{}: the server never comes to rest", step.shown());
}

fn names(cluster: &Cluster, founders: &[u64], added: u64) -> Vec<(&'static str, String)> {
    let mut names = vec![
        ("{first}", format!("{:x}", founders[0])),
        ("{new}", format!("{added:x}")),
        ("{peer-url}", cluster.peer_urls[0].clone()),
        ("{first-endpoint}", cluster.endpoints[0].clone()),
    ];
    if founders.len() > 1 {
        let (id, endpoint) = cluster.leader_first().swap_remove(1);
        names.extend([("{a-follower}", format!("{id:x}")), ("{a-follower-endpoint}", endpoint)]);
    }
    names
}

fn heard(tool: &Tool, step: &Step, endpoints: Option<&str>) -> Run {
    let run = tool.run(step, endpoints);
    Run { out: masked_times(&run.out, step), err: masked_err(&run.err), code: run.code }
}

/// Log lines carry times and addresses of memory; usage texts are worded by each program for itself.
fn masked_err(err: &str) -> String {
    let lines = err.lines().filter(|line| !line.starts_with("{\"level\":"));
    let mut kept: Vec<_> = lines.take_while(|line| !line.starts_with("Usage:")).collect();
    // A transaction's bad request is told behind the usage text.
    kept.extend(
        err.lines().skip_while(|line| !line.starts_with("Usage:")).filter(|line| line.starts_with("Error:")),
    );
    kept.join("\n")
}

/// How long a probe took, and the width that it gives a table.
fn masked_times(out: &[u8], step: &Step) -> Vec<u8> {
    if !step.args.iter().any(|arg| arg == "health") {
        return out.to_owned();
    }
    let text = String::from_utf8(out.to_owned()).unwrap();
    let mut lines: Vec<_> = text
        .replace('─', "")
        .lines()
        .map(|line| {
            let words = line.split_inclusive([' ', '"', '}', ',']).filter(|word| !word.trim().is_empty());
            words
                .map(|word| if is_duration(word) { "TIME" } else { word })
                .collect::<String>()
                .replace(' ', "")
        })
        .collect();
    // JSON lists the endpoints in the order of their answers.
    if let [json] = lines.as_mut_slice()
        && json.starts_with("[{")
    {
        let mut items: Vec<_> =
            json[1..json.len() - 1].split("},").map(|item| item.trim_end_matches('}')).collect();
        items.sort_unstable();
        *json = items.join(";");
    } else {
        lines.sort_unstable();
    }
    lines.join("\n").into_bytes()
}

fn is_duration(word: &str) -> bool {
    let word = word.trim_end_matches([' ', '"', '}', ',']);
    word.ends_with('s') && word.starts_with(|char: char| char.is_ascii_digit()) && !word.contains(':')
}

/// The identity of a member that was added is made from the time.
fn masked_member(mut run: Run, step: &Step, added: u64) -> Run {
    if added == 0 || step.args.first().is_none_or(|word| word != "member") {
        return run;
    }
    run.out = match (step.args.last(), step.args.get(1)) {
        (Some(format), Some(verb)) if format == "protobuf" && run.code == Some(0) => {
            masked_protobuf(&verb.to_string_lossy(), &run.out, added)
        }
        _ => {
            let text = String::from_utf8(run.out).unwrap();
            let text = text.replace(&format!("{added:16x}"), "ADDED").replace(&format!("{added:x}"), "ADDED");
            // Lists are sorted by identity, so masking comes first.
            in_one_order(&text.replace(&added.to_string(), "ADDED")).into_bytes()
        }
    };
    run
}

/// Members are listed by identity, so one that was added stands before or behind the others by chance.
fn in_one_order(text: &str) -> String {
    let sorted = |text: &str, separator: &str| {
        let mut parts: Vec<_> = text.split(separator).collect();
        parts.sort_unstable();
        parts.join(separator)
    };
    let line = |line: &str| {
        if let Some(cluster) = line.strip_prefix("ETCD_INITIAL_CLUSTER=") {
            format!("ETCD_INITIAL_CLUSTER={}", sorted(cluster.trim_matches('"'), ","))
        } else if let Some((before, members)) = line.split_once("\"members\":[{") {
            format!("{before}\"members\":[{{{}", sorted(members.trim_end_matches("}]}"), "},{"))
        } else {
            line.to_owned()
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn masked_protobuf(verb: &str, out: &[u8], added: u64) -> Vec<u8> {
    let mask = |members: &mut Vec<pb::Member>| {
        members.iter_mut().filter(|member| member.id == added).for_each(|member| member.id = 1);
        members.sort_by_key(|member| member.id);
    };
    if verb == "add" {
        let mut answer = pb::MemberAddResponse::decode(out).unwrap();
        assert_eq!(answer.encode_to_vec(), out, "fields in another order");
        mask(&mut answer.members);
        answer.member.iter_mut().for_each(|member| member.id = 1);
        return format!("{answer:?}").into_bytes();
    }
    let mut answer = pb::MemberListResponse::decode(out).unwrap();
    assert_eq!(answer.encode_to_vec(), out, "fields in another order");
    mask(&mut answer.members);
    format!("{answer:?}").into_bytes()
}

fn compare(how: &str, step: &Step, want: &Run, got: &Run, differences: &mut Vec<String>) {
    if want != got {
        differences.push(format!(
            "{how}: {}\n  etcdctl: {}\n  ours:    {}",
            step.shown(),
            shown(want),
            shown(got)
        ));
    }
}

fn shown(run: &Run) -> String {
    format!("code {:?}, out {:?}, err {:?}", run.code, String::from_utf8_lossy(&run.out), run.err)
}

fn finish(differences: &[String]) {
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}
