//! The parser and the table as stories; texts and exit codes are what etcd 3.7.3 answers.

use std::collections::BTreeSet;

use super::*;

/// The flags that etcd 3.7 registers, but for those that it only ignores.
const ETCD_3_7: &str = "
    advertise-client-urls auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention
    auto-tls backend-batch-interval backend-batch-limit backend-bbolt-freelist-type bcrypt-cost
    bootstrap-defrag-threshold-megabytes cert-file cipher-suites client-cert-allowed-hostname
    client-cert-auth client-cert-file client-crl-file client-key-file compact-hash-check-time
    compaction-batch-limit compaction-sleep-interval config-file corrupt-check-time cors data-dir
    discovery-cacert discovery-cert discovery-dial-timeout discovery-endpoints discovery-fallback
    discovery-insecure-skip-tls-verify discovery-insecure-transport discovery-keepalive-time
    discovery-keepalive-timeout discovery-key discovery-password discovery-request-timeout discovery-srv
    discovery-srv-name discovery-token discovery-user distributed-tracing-address
    distributed-tracing-instance-id distributed-tracing-sampling-rate distributed-tracing-service-name
    downgrade-check-time election-timeout enable-distributed-tracing enable-grpc-gateway
    enable-log-rotation enable-pprof feature-gates force-new-cluster grpc-keepalive-interval
    grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval host-whitelist
    initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token
    initial-election-tick-advance key-file listen-client-http-urls listen-client-urls
    listen-metrics-urls listen-peer-urls log-format log-level log-outputs log-rotation-config-json
    logger max-concurrent-streams max-learners max-request-bytes max-snapshots max-txn-ops max-wals
    memory-mlock metrics name peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname
    peer-cert-file peer-client-cert-auth peer-client-cert-file peer-client-key-file peer-crl-file
    peer-key-file peer-skip-client-san-verification peer-trusted-ca-file pre-vote quota-backend-bytes
    raft-read-timeout raft-write-timeout self-signed-cert-validity snapshot-catchup-entries
    snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check tls-max-version
    tls-min-version trusted-ca-file unsafe-no-fsync v2-deprecation version wal-dir
    warning-apply-duration warning-unary-request-duration watch-progress-notify-interval
";

/// What 3.6 and 3.5 register beyond that.
const ONLY_3_6_AND_3_5: &str = "
    discovery discovery-proxy experimental-bootstrap-defrag-threshold-megabytes
    experimental-compact-hash-check-enabled experimental-compact-hash-check-time
    experimental-compaction-batch-limit experimental-compaction-sleep-interval
    experimental-corrupt-check-time experimental-distributed-tracing-address
    experimental-distributed-tracing-instance-id experimental-distributed-tracing-sampling-rate
    experimental-distributed-tracing-service-name experimental-downgrade-check-time
    experimental-enable-distributed-tracing experimental-enable-lease-checkpoint
    experimental-enable-lease-checkpoint-persist experimental-initial-corrupt-check
    experimental-memory-mlock experimental-peer-skip-client-san-verification
    experimental-snapshot-catchup-entries experimental-stop-grpc-service-on-defrag
    experimental-txn-mode-write-with-shared-buffer experimental-warning-apply-duration
    experimental-watch-progress-notify-interval
";
const ONLY_3_6: &str = "
    experimental-warning-unary-request-duration
";
const ONLY_3_5: &str = "
    enable-v2 experimental-enable-v2v3 proxy proxy-dial-timeout proxy-failure-wait proxy-read-timeout
    proxy-refresh-interval proxy-write-timeout
";

fn read_line(line: &str, environment: &[(&str, &str)]) -> Result<Asked, Error> {
    let argv = line.split_whitespace().map(|word| word.replace("''", ""));
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    read(argv, environment)
}

fn settings(line: &str, environment: &[(&str, &str)]) -> Settings {
    match read_line(line, environment) {
        Ok(Asked::Start(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn problem(line: &str, environment: &[(&str, &str)]) -> Error {
    read_line(line, environment).expect_err(line)
}

#[test]
fn the_table_holds_every_flag_of_every_release() {
    let in_table = |releases: &[Releases]| -> BTreeSet<&str> {
        all().filter(|flag| releases.contains(&flag.releases)).map(|flag| flag.name).collect()
    };
    let listed = |names: &'static str| -> BTreeSet<&str> { names.split_whitespace().collect() };
    assert_eq!(in_table(&[Releases::All, Releases::Since36]), listed(ETCD_3_7));
    assert_eq!(in_table(&[Releases::Until36]), listed(ONLY_3_6_AND_3_5));
    assert_eq!(in_table(&[Releases::Only36]), listed(ONLY_3_6));
    assert_eq!(in_table(&[Releases::Only35]), listed(ONLY_3_5));
    assert_eq!(in_table(&[Releases::Former]).len(), 15);
}

#[test]
fn the_table_is_sound() {
    let names: Vec<&str> = all().map(|flag| flag.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name stands twice");
    for flag in all() {
        assert!(flag.help.ends_with('.') && !flag.help.contains('\n'), "--{}: {}", flag.name, flag.help);
        match flag.effect {
            Effect::SameAs(target) => {
                let target = find(target).expect("the flag it stands for");
                assert_eq!(flag.kind, target.kind, "--{}", flag.name);
            }
            Effect::Gate(gate) => {
                assert!(GATES.iter().any(|known| known.name == gate), "--{}", flag.name);
            }
            Effect::Effective | Effect::Accepted(_) | Effect::Refused(_) | Effect::Ignored => {
                flag.kind.parse(flag.default).unwrap_or_else(|problem| panic!("--{}: {problem}", flag.name));
            }
        }
    }
}

#[test]
fn one_dash_or_two_with_equals_or_without() {
    for line in [
        "-name infra0 -heartbeat-interval 50",
        "--name infra0 --heartbeat-interval 50",
        "-name=infra0 -heartbeat-interval=50",
        "--name=infra0 --heartbeat-interval=0x32",
        "--name=first --name=infra0 --heartbeat-interval 5_0",
    ] {
        let settings = settings(line, &[]);
        assert_eq!(settings.text("name"), "infra0", "{line}");
        assert_eq!(settings.uint("heartbeat-interval"), 50, "{line}");
    }
}

#[test]
fn switches_take_a_value_only_after_equals() {
    assert!(settings("--pre-vote", &[]).bool("pre-vote"));
    assert!(!settings("--pre-vote=F", &[]).bool("pre-vote"));
    assert_eq!(problem("--pre-vote false", &[]), Error::Invalid(r#""false" is not a valid flag"#.to_owned()));
}

#[test]
fn what_is_not_understood_is_said_in_gos_words() {
    for (line, text) in [
        ("--bogus", "flag provided but not defined: -bogus"),
        ("--heartbeat-interval=x", r#"invalid value "x" for flag -heartbeat-interval: parse error"#),
        ("--pre-vote=maybe", r#"invalid boolean value "maybe" for -pre-vote: parse error"#),
        ("--election-timeout", "flag needs an argument: -election-timeout"),
        (
            "--max-concurrent-streams x",
            r#"invalid value "x" for flag -max-concurrent-streams: strconv.ParseUint: parsing "x": invalid syntax"#,
        ),
        (
            "--listen-peer-urls localhost:1",
            "invalid value \"localhost:1\" for flag -listen-peer-urls: \
             URL scheme must be http, https, unix, or unixs: localhost:1",
        ),
        (
            "--listen-peer-urls 127.0.0.1:1",
            "invalid value \"127.0.0.1:1\" for flag -listen-peer-urls: \
             parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
        ),
        (
            "--listen-peer-urls http://a:b",
            "invalid value \"http://a:b\" for flag -listen-peer-urls: parse \"http://a:b\": invalid port \":b\" after host",
        ),
        (
            "--listen-peer-urls http://a",
            "invalid value \"http://a\" for flag -listen-peer-urls: \
             URL address does not have the form \"host:port\": http://a",
        ),
        (
            "--v2-deprecation not-yet",
            r#"invalid value "not-yet" for flag -v2-deprecation: invalid value "not-yet""#,
        ),
        (
            "--feature-gates X=true",
            r#"invalid value "X=true" for flag -feature-gates: unrecognized feature gate: X"#,
        ),
        (
            "--feature-gates LeaseCheckpoint",
            r#"invalid value "LeaseCheckpoint" for flag -feature-gates: missing bool value for LeaseCheckpoint"#,
        ),
        (
            "--feature-gates LeaseCheckpoint=x",
            "invalid value \"LeaseCheckpoint=x\" for flag -feature-gates: \
             invalid value of LeaseCheckpoint=x, err: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "--initial-cluster-state foo",
            r#"invalid value "foo" for flag -initial-cluster-state: invalid value"#,
        ),
        ("--=x", "bad flag syntax: --=x"),
        ("---name", "bad flag syntax: ---name"),
        (
            "--grpc-keepalive-interval 5",
            r#"invalid value "5" for flag -grpc-keepalive-interval: parse error"#,
        ),
        (
            "--heartbeat-interval 99999999999999999999999",
            r#"invalid value "99999999999999999999999" for flag -heartbeat-interval: value out of range"#,
        ),
        (
            "--cors foo",
            "invalid value \"foo\" for flag -cors: URL scheme must be http, https, unix, or unixs: foo",
        ),
    ] {
        assert_eq!(problem(line, &[]), Error::Usage(text.to_owned()), "{line}");
    }
}

#[test]
fn words_that_are_no_flags_are_refused() {
    for (line, word) in [("foo", "foo"), ("--name a foo --bogus", "foo"), ("-- foo", "foo"), ("- x", "-")] {
        assert_eq!(problem(line, &[]), Error::Invalid(format!("{word:?} is not a valid flag")), "{line}");
    }
    assert!(matches!(read_line("--", &[]), Ok(Asked::Start(_))));
}

#[test]
fn help_and_version_come_before_everything_but_mistakes() {
    for line in ["--help", "-h", "--name a -help"] {
        assert!(matches!(read_line(line, &[("ETCD_NAME", "b")]), Ok(Asked::Help)), "{line}");
    }
    assert!(matches!(read_line("--version --discovery=x", &[]), Ok(Asked::Version)));
    assert!(matches!(read_line("--version=false", &[]), Ok(Asked::Start(_))));
    assert!(matches!(read_line("--bogus --help", &[]), Err(Error::Usage(_))));
}

#[test]
fn variables_set_what_no_flag_sets() {
    let environment = [("ETCD_HEARTBEAT_INTERVAL", "20"), ("ETCD_NAME", ""), ("ETCD_SNAPSHOT_COUNT", "7")];
    let settings = settings("--election-timeout 200", &environment);
    assert_eq!(settings.uint("heartbeat-interval"), 20);
    assert_eq!(settings.uint("snapshot-count"), 7);
    assert_eq!(settings.text("name"), "default", "an empty variable counts as unset");
    let used = Note::VariableUsed { variable: "ETCD_SNAPSHOT_COUNT".to_owned(), value: "7".to_owned() };
    assert!(settings.notes().contains(&used));
}

#[test]
fn a_variable_beside_its_flag_is_fatal_even_when_empty() {
    let error = problem("--name a", &[("ETCD_NAME", "")]);
    assert_eq!(error, Error::Shadowed { variable: "ETCD_NAME".to_owned() });
    assert!(error.to_string().starts_with("conflicting environment variable is shadowed"));
}

#[test]
fn bad_and_unknown_variables() {
    let bad = problem("--name a", &[("ETCD_HEARTBEAT_INTERVAL", "x")]);
    assert_eq!(
        bad,
        Error::Invalid(r#"invalid value "x" for ETCD_HEARTBEAT_INTERVAL: parse error"#.to_owned())
    );
    let environment =
        [("ETCD_FOO", "1"), ("FOO", "1"), ("ETCD_VERSION", "9"), ("ETCD_UNSUPPORTED_ARCH", "arm")];
    let notes = settings("", &environment).notes().to_vec();
    let special = Note::VariableSpecial { variable: "ETCD_VERSION".to_owned(), value: "9".to_owned() };
    let unknown = Note::VariableUnknown { variable: "ETCD_FOO=1".to_owned() };
    assert_eq!(notes, [special, unknown]);
}

#[test]
fn our_own_flags_have_variables_of_their_own() {
    assert!(settings("", &[("KVORUM_HOLD_WHEN_REMOVED", "true")]).bool("kvorum-hold-when-removed"));
}

#[test]
fn secrets_are_not_shown() {
    let text = problem("--discovery-password hunter2", &[]).to_string();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn what_is_not_served_is_refused_unless_it_asks_for_nothing() {
    for line in [
        "--cert-file a",
        "--client-cert-auth",
        "--peer-auto-tls=true",
        "--peer-cert-allowed-cn x",
        "--cipher-suites TLS_AES_128_GCM_SHA256",
        "--tls-min-version TLS1.3",
        "--auth-token jwt,sign-method=RS256",
        "--experimental-peer-skip-client-san-verification",
        "--discovery-cert a",
        "--discovery-insecure-transport=false",
        "--discovery-fallback proxy",
        "--force-new-cluster",
        "--proxy on",
        "--enable-v2",
    ] {
        let error = problem(line, &[]);
        assert!(error.to_string().contains("is refused: "), "{line}: {error}");
        assert!(matches!(error, Error::Invalid(_)), "{line}");
    }
    for line in [
        "--cert-file '' --client-cert-auth=false --tls-min-version TLS1.2 --auth-token simple",
        "--discovery http://h/1 --discovery-srv example.com --discovery-token t --discovery-fallback exit --force-new-cluster=false --proxy off --enable-v2=false",
    ] {
        assert_eq!(settings(line, &[]).notes(), [], "{line}");
    }
}

#[test]
fn what_has_no_effect_is_said_once_and_only_when_it_was_asked_for() {
    let notes = settings("--max-wals 9 --enable-pprof=false --feature-gates CompactHashCheck=true", &[]);
    let said: Vec<&str> = notes
        .notes()
        .iter()
        .map(|note| match note {
            Note::WithoutEffect { flag, .. } => flag.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["feature-gates=CompactHashCheck", "max-wals"]);
}

#[test]
fn older_spellings_stand_for_the_newer() {
    let settings = settings(
        "--experimental-watch-progress-notify-interval 5s --experimental-initial-corrupt-check --snapshot=3 -v",
        &[],
    );
    assert_eq!(settings.duration("watch-progress-notify-interval").to_string(), "5s");
    assert_eq!(settings.gates().get("InitialCorruptCheck"), Some(&true));
    let ignored: Vec<&Note> =
        settings.notes().iter().filter(|note| matches!(note, Note::Ignored { .. })).collect();
    assert_eq!(ignored.len(), 2);
}

#[test]
fn an_older_spelling_beside_the_newer_is_refused() {
    let error =
        problem("--experimental-warning-unary-request-duration 1s --warning-unary-request-duration 1s", &[]);
    let text = "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags \
                are set. Use only --warning-unary-request-duration";
    assert_eq!(error, Error::Invalid(text.to_owned()));
    let error =
        problem("--experimental-compact-hash-check-enabled=false --feature-gates CompactHashCheck=true", &[]);
    let text = "cannot specify both flags: --experimental-compact-hash-check-enabled=false and \
                --feature-gates=CompactHashCheck=true at the same time, please just use \
                --feature-gates=CompactHashCheck=true";
    assert_eq!(error, Error::Invalid(text.to_owned()));
}

#[test]
fn a_file_takes_the_place_of_everything() {
    let asked = |line: &str, environment: &[(&str, &str)]| match read_line(line, environment) {
        Ok(Asked::StartFromFile(path)) => path,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(asked("--config-file a.yaml --discovery=x --name b", &[("ETCD_NAME", "c")]), "a.yaml");
    assert_eq!(asked("--name b", &[("ETCD_CONFIG_FILE", "b.yaml")]), "b.yaml");
}

#[test]
fn a_file_as_k3s_writes_it() {
    let settings = from_file(
        "name: infra0
listen-client-urls: http://127.0.0.1:2379,http://10.0.0.1:2379
listen-metrics-urls: http://127.0.0.1:2381
heartbeat-interval: 500
election-timeout: 5000
snapshot-count: 10000
watch-progress-notify-interval: 5000000000
log-outputs: [stderr]
pre-vote: yes
client-transport-security:
  cert-file: ''
  client-cert-auth: false
socket-options: {reuse-port: true}
feature-gates: InitialCorruptCheck=true
initial-cluster: infra0=http://10.0.0.1:2380
",
    )
    .expect("the file is right");
    assert_eq!(settings.uint("heartbeat-interval"), 500);
    assert_eq!(settings.duration("watch-progress-notify-interval").to_string(), "5s");
    assert_eq!(settings.urls("listen-client-urls").len(), 2);
    assert!(settings.bool("socket-reuse-port"));
    assert!(settings.from_file());
}

#[test]
fn wrong_files() {
    for (text, problem) in [
        ("heartbeat-interval: abc", "configuration file: heartbeat-interval: a whole number is needed"),
        (
            "watch-progress-notify-interval: 10m",
            "configuration file: watch-progress-notify-interval: \
             a whole number of nanoseconds is needed (600000000000 for 10m)",
        ),
        (
            "listen-client-urls: ftp://x",
            "unexpected error setting up listen-client-urls: \
             URL scheme must be http, https, unix, or unixs: ftp://x",
        ),
        ("client-transport-security: true", "invalid client-transport-security: a map is needed"),
        ("- name", "configuration file: a map of flag names to values is needed"),
    ] {
        assert_eq!(from_file(text).expect_err(text), Error::Invalid(problem.to_owned()));
    }
    for text in [
        "client-transport-security: {cert-file: a}",
        "peer-transport-security: {allowed-cn: [a]}",
        "peer-transport-security: {some-new-check: true}",
        "discovery-config: {client: {endpoints: [a], secure: {cacert: b}}, token: b}",
        "force-new-cluster: true",
    ] {
        let error = from_file(text).expect_err(text).to_string();
        assert!(error.contains("is refused: "), "{text}: {error}");
    }
    let notes = from_file("nmae: a").expect("unknown keys are passed over").notes().to_vec();
    assert_eq!(notes, [Note::KeyUnknown { key: "nmae".to_owned() }]);
}

#[test]
fn durations_are_gos() {
    for (text, nanos, shown) in [
        ("1h30m", 5_400_000_000_000, "1h30m0s"),
        ("250ms", 250_000_000, "250ms"),
        ("1.5s", 1_500_000_000, "1.5s"),
        ("-2m", -120_000_000_000, "-2m0s"),
        ("0", 0, "0s"),
        ("10µs", 10_000, "10µs"),
        ("1ns", 1, "1ns"),
    ] {
        let duration = GoDuration::parse(text).expect(text);
        assert_eq!((duration.nanos, duration.to_string().as_str()), (nanos, shown), "{text}");
    }
    for text in ["", "5", "s", ".s", "1x", "1s ", "1..2s", "9999999999999999999h"] {
        assert_eq!(GoDuration::parse(text), None, "{text}");
    }
}

#[test]
fn urls_are_kept_as_they_were_written() {
    for (text, host, port) in [
        ("http://10.0.0.1:2380", "10.0.0.1", 2380),
        ("HTTP://Host.Example:80", "Host.Example", 80),
        ("http://[::1]:2380", "::1", 2380),
    ] {
        let url = HostUrl::parse(text).expect(text);
        assert_eq!((url.host(), url.port()), (host, port));
        assert_eq!(
            url.as_str().split_once("://").map(|parts| parts.1),
            text.split_once("://").map(|parts| parts.1)
        );
    }
    for text in ["http://::1:2380", "http://[::1]", "http://a:99999", "http://a:1/", "http://a:1?x", ""] {
        assert!(HostUrl::parse(text).is_err(), "{text}");
    }
    let listed = HostUrl::parse_list("http://b:1, http://a:1,http://b:1").expect("a list");
    assert_eq!(listed.iter().map(HostUrl::as_str).collect::<Vec<_>>(), ["http://a:1", "http://b:1"]);
}

#[test]
fn help_and_documentation_name_every_flag() {
    let (help, markdown) = (help(), markdown());
    for flag in all() {
        assert!(markdown.contains(&format!("`--{}`", flag.name)), "--{}", flag.name);
        assert!(help.contains(&format!("--{}", flag.name)), "--{}", flag.name);
    }
}
