//! Steps of a story, telling it with either tool, and comparing what was heard.

use std::time::Duration;

use kvorum::proto::etcdserverpb as pb;
use prost::Message;
use prost::encoding::decode_varint;

use super::server::{Asked, Place};
use super::tool::{Run, Tool};
use crate::common::bench::{Bench, Turn, story};
use crate::common::tools::{self, Server};

/// A story runs a tool some hundred times at each of six clusters.
const LIMIT: Duration = Duration::from_secs(900);

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

    fn adds_a_member(&self) -> bool {
        self.args.len() > 1 && self.args[0] == "member" && self.args[1] == "add"
    }

    pub(super) fn shown(&self) -> String {
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
///
/// What etcdctl says of etcd is the yardstick for ours at etcd, and for both at our servers; what the older
/// etcdctl says of our servers is held against what it says of etcd.
pub(super) fn tell(size: usize, steps: &[Step]) {
    story(Turn::Shared, LIMIT, async |bench| {
        let (etcd, kvorum) = (tools::etcd(), tools::server());
        let (etcdctl, older, ours) = (Tool::etcdctl(), Tool::etcdctl_3_5(), Tool::ours(bench.folder()));
        let mut telling = Telling { bench, place: Place::new(size), steps, differences: Vec::new() };
        let yardstick = telling.by(&etcdctl, Some(&ours), &etcd).await;
        let second = telling.by(&ours, Some(&etcdctl), &etcd).await;
        telling.hold("each by itself, of etcd", &yardstick, &second);
        let of_ours = telling.by(&etcdctl, Some(&ours), &kvorum).await;
        telling.hold("etcdctl of etcd and of ours", &yardstick, &of_ours);
        let own = telling.by(&ours, None, &kvorum).await;
        telling.hold("etcdctl of etcd, kvorumctl of ours", &yardstick, &own);
        let yardstick = telling.by(&older, None, &etcd).await;
        let of_ours = telling.by(&older, None, &kvorum).await;
        telling.hold("etcdctl 3.5 of etcd and of ours", &yardstick, &of_ours);
        finish(&telling.differences);
    });
}

/// Tells a story that needs no server.
pub(super) fn tell_alone(steps: &[Step]) {
    story(Turn::Shared, LIMIT, async |bench| {
        let (etcdctl, ours) = (Tool::etcdctl(), Tool::ours(bench.folder()));
        let mut differences = Vec::new();
        for step in steps {
            let (want, got) = (heard(&etcdctl, step, None).await, heard(&ours, step, None).await);
            compare("without a server", step, &want, &got, &mut differences);
        }
        finish(&differences);
    });
}

/// One story, told again and again at the same place.
struct Telling<'a> {
    bench: &'a Bench,
    place: Place,
    steps: &'a [Step],
    differences: Vec<String>,
}

impl Telling<'_> {
    /// What `teller` hears at members of `server`; lines that only read are told by `other`, too.
    async fn by(&mut self, teller: &Tool, other: Option<&Tool>, server: &Server) -> Vec<Run> {
        let mut cluster = self.place.begin(self.bench, server).await;
        let endpoints = cluster.endpoints().join(",");
        let founders = cluster.member_ids().await;
        let mut added = 0;
        let mut runs = Vec::new();
        for step in self.steps {
            let step = step.filled(&names(&mut cluster, &founders, added).await);
            let run = match other.filter(|_| step.only_reads) {
                Some(other) => {
                    beside_each_other(teller, other, &step, &endpoints, &mut self.differences).await
                }
                None => heard(teller, &step, Some(&endpoints)).await,
            };
            if step.adds_a_member() && run.code != Some(1) {
                // The last voter costs the quorum, and even then the member itself still answers this.
                let list = cluster.member_ids().await;
                added = list.into_iter().find(|id| !founders.contains(id)).unwrap_or(added);
            }
            if step.moves_leader {
                let leads = format!("{:x}", cluster.leader_first().await[0].0);
                assert_eq!(*step.args[1], *leads, "{}: {}", teller.name, shown(&run));
            }
            runs.push(masked_member(run, &step, added));
        }
        runs
    }

    fn hold(&mut self, how: &str, wanted: &[Run], got: &[Run]) {
        for ((step, want), got) in self.steps.iter().zip(wanted).zip(got) {
            if !step.alone && !step.moves_leader {
                compare(how, step, want, got, &mut self.differences);
            }
        }
    }
}

/// What the first says, compared with what the second says of a server that does not change meanwhile: its
/// files settle in the background.
async fn beside_each_other(
    first: &Tool,
    second: &Tool,
    step: &Step,
    endpoints: &str,
    differences: &mut Vec<String>,
) -> Run {
    for _ in 0..100 {
        let before = heard(first, step, Some(endpoints)).await;
        let said = heard(second, step, Some(endpoints)).await;
        if before != said && heard(first, step, Some(endpoints)).await != before {
            continue;
        }
        let (want, got) = if first.name == "etcdctl" { (&before, &said) } else { (&said, &before) };
        compare("etcdctl and kvorumctl beside each other", step, want, got, differences);
        return before;
    }
    panic!("{}: the server never comes to rest", step.shown());
}

async fn names(cluster: &mut Asked, founders: &[u64], added: u64) -> Vec<(&'static str, String)> {
    let mut names = vec![
        ("{first}", format!("{:x}", founders[0])),
        ("{new}", format!("{added:x}")),
        ("{peer-url}", cluster.first_peer_url().to_owned()),
        ("{first-endpoint}", cluster.endpoints().swap_remove(0)),
    ];
    if founders.len() > 1 {
        let (id, endpoint) = cluster.leader_first().await.swap_remove(1);
        names.extend([("{a-follower}", format!("{id:x}")), ("{a-follower-endpoint}", endpoint)]);
    }
    names
}

async fn heard(tool: &Tool, step: &Step, endpoints: Option<&str>) -> Run {
    let run = tool.run(step, endpoints).await;
    let out = masked_times(&masked_term(run.out, step), step);
    Run { out, err: masked_err(&run.err), code: run.code }
}

/// The term counts elections, which each cluster holds as often as it happens to need them.
fn masked_term(out: Vec<u8>, step: &Step) -> Vec<u8> {
    if step.args.iter().any(|arg| arg == "protobuf") {
        return without_term(&out);
    }
    let labels: [&[u8]; 2] = [b"\"raft_term\":", b"\"RaftTerm\" : "];
    labels.into_iter().fold(out, |out, label| without_number(&out, label))
}

/// Every number that stands right behind `label` is left out; keys and values need not be text.
fn without_number(mut out: &[u8], label: &[u8]) -> Vec<u8> {
    let mut masked = Vec::new();
    while let Some(at) = out.windows(label.len()).position(|window| window == label) {
        let (before, behind) = out.split_at(at + label.len());
        masked.extend_from_slice(before);
        out = &behind[behind.iter().take_while(|byte| byte.is_ascii_digit()).count()..];
    }
    masked.extend_from_slice(out);
    masked
}

/// An answer's first field is its header. What follows the answers (a watch's command writes, too) stays.
fn without_term(out: &[u8]) -> Vec<u8> {
    let (mut masked, mut rest) = (Vec::new(), out);
    while let Some(behind) = behind_field(rest) {
        let field = &rest[..rest.len() - behind.len()];
        match pb::RangeResponse::decode(field) {
            Ok(pb::RangeResponse { header: Some(mut header), .. }) => {
                header.raft_term = 0;
                let answer = pb::RangeResponse { header: Some(header), ..Default::default() };
                masked.extend_from_slice(&answer.encode_to_vec());
            }
            _ => masked.extend_from_slice(field),
        }
        rest = behind;
    }
    masked.extend_from_slice(rest);
    masked
}

/// What lies behind the first field of a message; `None` where no whole field begins.
fn behind_field(mut bytes: &[u8]) -> Option<&[u8]> {
    let key = decode_varint(&mut bytes).ok()?;
    let taken = match key & 7 {
        0 => {
            decode_varint(&mut bytes).ok()?;
            0
        }
        1 => 8,
        2 => usize::try_from(decode_varint(&mut bytes).ok()?).ok()?,
        5 => 4,
        _ => return None,
    };
    bytes.get(taken..)
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
            // How etcdctl 3.5 draws a table.
            if line.starts_with("+-") {
                return line.replace('-', "");
            }
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
            "{how}: {}\n  the first:  {}\n  the second: {}",
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
