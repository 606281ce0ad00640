//! What the server says to its caller: versions, refusals, exit codes. Real etcd says it first.

use std::time::Duration;

use crate::common::bench::{Bench, Turn, story};
use crate::common::member::PATIENCE;
use crate::common::process::{Launch, run};
use crate::common::tools::{self, Server};

async fn call(
    bench: &Bench,
    server: &Server,
    flags: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let own = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    // etcd leaves a data folder behind where it starts.
    let log = bench.log_file("call");
    let folder = log.with_extension("folder");
    std::fs::create_dir(&folder).expect("the folder is new");
    let launch = Launch {
        program: server.path.clone(),
        arguments: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        environment: environment.iter().map(own).collect(),
        folder,
        log,
    };
    run(&launch, PATIENCE).await
}

/// One wrong call: flags, variables, the exit code, and what must be said.
type Refusal = (&'static [&'static str], &'static [(&'static str, &'static str)], i32, &'static str);

const REFUSALS: &[Refusal] = &[
    (
        &["--heartbeat-interval=300", "--election-timeout=1000"],
        &[],
        1,
        "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
    ),
    (
        &["--election-timeout=50001"],
        &[],
        1,
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
    ),
    (&["-heartbeat-interval", "0"], &[], 1, "--heartbeat-interval must be >0 (set to 0ms)"),
    (&["-election-timeout=0"], &[], 1, "--election-timeout must be >0 (set to 0ms)"),
    (
        &[],
        &[("ETCD_HEARTBEAT_INTERVAL", "300")],
        1,
        "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
    ),
    (&[], &[("ETCD_ELECTION_TIMEOUT", "soon")], 1, r#"invalid value \"soon\" for ETCD_ELECTION_TIMEOUT"#),
    (&["--no-such-flag"], &[], 2, "no-such-flag"),
    (&["--heartbeat-interval=fast"], &[], 2, "invalid value \"fast\" for flag -heartbeat-interval"),
    (
        &["--election-timeout=1000"],
        &[("ETCD_ELECTION_TIMEOUT", "1000")],
        1,
        "conflicting environment variable is shadowed by corresponding command-line flag",
    ),
    (&["--listen-client-urls=http://127.0.0.1:1"], &[], 1, "--advertise-client-urls is required"),
    (&["--listen-peer-urls=http://example.com:2380"], &[], 1, "expected IP in URL for binding"),
    (
        // Not on the default ports, where somebody may listen: both look at the cluster after that.
        &[
            "--initial-cluster=other=http://localhost:2380",
            "--listen-peer-urls=http://127.0.0.1:0",
            "--listen-client-urls=http://127.0.0.1:0",
            "--advertise-client-urls=http://127.0.0.1:0",
        ],
        &[],
        1,
        "couldn't find local name",
    ),
    (&["--initial-cluster-state=old"], &[], 2, "initial-cluster-state"),
    (&["leftover"], &[], 1, r#"\"leftover\" is not a valid flag"#),
];

#[test]
fn wrong_calls_are_refused_with_the_words_and_exit_codes_of_etcd() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let mut wrong = Vec::new();
        for (flags, environment, code, words) in REFUSALS {
            for server in [&tools::etcd(), &bench.server] {
                let (ended, said) = call(bench, server, flags, environment).await;
                if ended != Some(*code) || !said.contains(words) {
                    let who = server.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    wrong.push(format!(
                        "{who} {flags:?} {environment:?}: wanted {code} and {words:?}, got {ended:?}:\n{said}"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    });
}

#[test]
fn version_is_told_in_the_four_lines_that_scripts_read() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        for flag in ["--version", "-version"] {
            let (code, theirs) = call(bench, &tools::etcd(), &[flag], &[]).await;
            assert_eq!(code, Some(0));
            let (code, ours) = call(bench, &bench.server, &[flag], &[]).await;
            assert_eq!(code, Some(0), "{ours}");
            assert_eq!(ours.lines().next(), Some("etcd Version: 3.7.3"));
            assert_eq!(ours.lines().next(), theirs.lines().next());
            let names = |text: &str| -> Vec<String> {
                text.lines()
                    .take(4)
                    .map(|line| line.split(':').next().unwrap_or_default().to_owned())
                    .collect()
            };
            assert_eq!(names(&ours), names(&theirs));
        }
    });
}

#[test]
fn help_is_no_failure() {
    story(Turn::Shared, Duration::from_secs(60), async |bench| {
        let (code, said) = call(bench, &bench.server, &["--help"], &[]).await;
        assert_eq!(code, Some(0), "{said}");
        for flag in ["--initial-cluster-state", "--heartbeat-interval", "--snapshot-count"] {
            assert!(said.contains(flag), "{flag} is not explained:\n{said}");
        }
    });
}
