//! Settings that go together, and those that do not, in etcd's words.

use super::*;

fn load(line: &str) -> Result<Config, NotStarted> {
    Config::load(line.split_whitespace().map(|word| word.replace("''", "")), std::iter::empty())
}

fn config(line: &str) -> Config {
    load(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn texts(urls: &[HostUrl]) -> Vec<&str> {
    urls.iter().map(HostUrl::as_str).collect()
}

#[test]
fn without_flags_everything_has_etcds_default() {
    let config = config("");
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(config.heartbeat, Duration::from_millis(100));
    assert_eq!(config.election, Duration::from_secs(1));
    assert_eq!(config.request_timeout(), Duration::from_secs(7));
    assert_eq!(config.quota_bytes(), Some(2 << 30));
    assert_eq!(config.snapshot_count, 10_000);
    assert_eq!(config.max_snapshots, Some(5));
    assert_eq!(config.max_concurrent_streams, u32::MAX);
    assert_eq!(config.auto_compaction, None);
    assert_eq!(texts(&config.listen.client), ["http://localhost:2379"]);
    assert!(
        matches!(&config.first_start.source, Source::Listed(text) if text == "default=http://localhost:2380")
    );
    let members = config.first_start.members().expect("a cluster of one");
    assert_eq!(members.len(), 1);
}

#[test]
fn the_lines_of_the_static_bootstrap() {
    let config = config(
        "-name infra0 -initial-advertise-peer-urls http://127.0.0.1:2380 -listen-peer-urls http://127.0.0.1:2380 \
         -listen-client-urls http://127.0.0.1:2379,http://127.0.0.1:4001 \
         -advertise-client-urls http://127.0.0.1:2379 -initial-cluster-token etcd-cluster-1 \
         -initial-cluster infra0=http://127.0.0.1:2380,infra1=http://127.0.0.2:2380,infra2=http://127.0.0.3:2380 \
         -initial-cluster-state new",
    );
    assert_eq!(config.first_start.state, ClusterState::New);
    assert_eq!(config.first_start.token, "etcd-cluster-1");
    let members = config.first_start.members().expect("three members");
    assert_eq!(members.len(), 3);
    assert_eq!(config.first_start.own_urls_differ(&members, ""), None);
    assert_eq!(texts(&config.listen.client), ["http://127.0.0.1:2379", "http://127.0.0.1:4001"]);
}

#[test]
fn settings_that_do_not_go_together() {
    for (line, text) in [
        ("--heartbeat-interval 0", "--heartbeat-interval must be >0 (set to 0ms)"),
        ("--election-timeout 0", "--election-timeout must be >0 (set to 0ms)"),
        (
            "--heartbeat-interval 300",
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
        ),
        (
            "--election-timeout 50001",
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (
            "--listen-client-urls http://127.0.0.1:2379",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--listen-client-urls http://example.com:2379 --advertise-client-urls http://a:1",
            "expected IP in URL for binding (http://example.com:2379)",
        ),
        (
            "--initial-advertise-peer-urls http://:1",
            r#"--initial-advertise-peer-urls "http://:1" must be "host:port" (unexpected empty host (http://:1))"#,
        ),
        ("--auto-compaction-mode foo", r#"unknown auto-compaction-mode "foo""#),
        (
            "--auto-compaction-retention foo",
            r#"error parsing CompactionRetention: time: invalid duration "foo""#,
        ),
        ("--compact-hash-check-time 0s", "--compact-hash-check-time must be >0 (set to 0s)"),
        (
            "--feature-gates LeaseCheckpointPersist=true",
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
        ),
        ("--logger x", r#"unknown logger option "x""#),
        ("--log-format x", "unknown log format: x, supported values json, console"),
        ("--log-level x", r#"unrecognized level: "x""#),
        ("--log-outputs default,stderr", r#"multi logoutput for "default" is not supported yet"#),
        ("--config-file /does/not/exist", "open /does/not/exist: No such file or directory (os error 2)"),
    ] {
        let error = load(line).expect_err(line);
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, text), "{line}");
    }
}

#[test]
fn what_would_need_tls_or_unix_sockets_is_refused() {
    for line in [
        "--listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379",
        "--listen-peer-urls https://127.0.0.1:2380",
        "--initial-advertise-peer-urls https://127.0.0.1:2380",
        "--advertise-client-urls https://127.0.0.1:2380",
        "--listen-metrics-urls https://127.0.0.1:2381",
        "--listen-client-urls unix://sock:1 --advertise-client-urls unix://sock:1",
    ] {
        let error = load(line).expect_err(line).to_string();
        assert!(error.contains(" is refused: "), "{line}: {error}");
    }
    let listed = config("--initial-cluster default=https://localhost:2380");
    let error = listed.first_start.members().expect_err("https among the members");
    assert!(error.contains(" is refused: "), "{error}");
}

#[test]
fn what_only_matters_at_the_first_start_is_checked_then() {
    let members = |line: &str| config(line).first_start.members().expect_err(line);
    assert_eq!(
        members("--name z --initial-cluster y=http://localhost:2380"),
        r#"couldn't find local name "z" in the initial cluster configuration"#
    );
    assert_eq!(
        members("--initial-cluster default=http://localhost:2380,b=http://localhost:2380"),
        "initial cluster b=http://localhost:2380,default=http://localhost:2380 has duplicate url"
    );
    assert_eq!(
        members("--initial-cluster foo"),
        "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "
    );
}

#[test]
fn the_own_urls_must_be_the_advertised_ones() {
    let differ = |line: &str| {
        let config = config(line);
        let members = config.first_start.members().expect("the members are right");
        config.first_start.own_urls_differ(&members, "they resolve to different addresses")
    };
    assert_eq!(
        differ("--initial-cluster default=http://127.0.0.9:2380").as_deref(),
        Some(
            "--initial-cluster has default=http://127.0.0.9:2380 but missing from \
             --initial-advertise-peer-urls=http://localhost:2380 (they resolve to different addresses)"
        )
    );
    assert_eq!(
        differ("--initial-cluster default=http://a:1 --initial-advertise-peer-urls http://a:1,http://b:1")
            .as_deref(),
        Some(
            "--initial-advertise-peer-urls has http://b:1 but missing from \
             --initial-cluster=default=http://a:1,default=http://b:1"
        )
    );
}

#[test]
fn a_name_alone_is_enough_for_a_cluster_of_one() {
    let config = config("--name abc");
    assert!(
        matches!(&config.first_start.source, Source::Listed(text) if text == "abc=http://localhost:2380")
    );
    assert_eq!(config.data_dir, PathBuf::from("abc.etcd"));
}

#[test]
fn compaction_by_hours_by_time_or_by_revisions() {
    for (line, expected) in [
        ("--auto-compaction-retention 2", Some(AutoCompaction::Periodic(Duration::from_secs(7200)))),
        ("--auto-compaction-retention 90s", Some(AutoCompaction::Periodic(Duration::from_secs(90)))),
        (
            "--auto-compaction-mode revision --auto-compaction-retention 500",
            Some(AutoCompaction::Revision(500)),
        ),
        ("--auto-compaction-mode revision --auto-compaction-retention 0", None),
        ("--auto-compaction-retention ''", None),
    ] {
        assert_eq!(config(line).auto_compaction, expected, "{line}");
    }
}

#[test]
fn help_version_and_mistakes_have_their_exit_codes() {
    let code = |line: &str| load(line).expect_err(line).exit_code();
    assert_eq!((code("--help"), code("--version"), code("--bogus"), code("stray")), (0, 0, 2, 1));
    let version = load("--version").expect_err("a version").to_string();
    let first = version.lines().next();
    assert_eq!(first, Some("etcd Version: 3.7.3"));
    assert!(load("--bogus").expect_err("a mistake").report().contains("etcd [flags]"));
}

#[test]
fn origins_and_hosts_are_free_unless_listed() {
    let config = config("--cors http://a:1,http://b:1 --host-whitelist localhost");
    assert_eq!(config.cors.map(|origins| origins.len()), Some(2));
    assert_eq!(config.host_whitelist, Some(vec!["localhost".to_owned()]));
    assert_eq!(load("").map(|config| (config.cors, config.host_whitelist)).ok(), Some((None, None)));
}

#[test]
fn there_is_one_way_to_a_cluster() {
    let refused = |line: &str| load(line).expect_err(line).to_string();
    let conflict = "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\", \
                    \"discovery-endpoints\" or \"discovery-srv\"";
    for line in [
        "--initial-cluster a=http://h:1 --discovery http://h/t",
        "--discovery http://h/t --discovery-srv example.com",
        "--discovery-srv example.com --discovery-token t --discovery-endpoints h:1",
    ] {
        assert_eq!(refused(line), conflict, "{line}");
    }
    for line in ["--discovery-token t", "--discovery-endpoints h:1"] {
        assert_eq!(refused(line), "both --discovery-token and --discovery-endpoints must be set", "{line}");
    }
    for (line, part) in [
        ("--discovery https://discovery.etcd.io/t", "TLS comes in a later release"),
        ("--discovery h:1", "http://HOST:PORT/PATH/TOKEN would be right"),
        ("--discovery-token t --discovery-endpoints a:1, ", "must not contain empty endpoints"),
        (
            "--discovery-token t --discovery-endpoints a:1 --discovery-dial-timeout 0s",
            "--discovery-dial-timeout",
        ),
        ("--kvorum-discovery-timeout 0s", "--kvorum-discovery-timeout must be above 0"),
        ("--kvorum-name-servers ns.example.com", "IP or IP:PORT would be right"),
    ] {
        let line = line.replace(", ", ",");
        assert!(refused(&line).contains(part), "{line}: {}", refused(&line));
    }
}

#[test]
fn every_way_to_a_cluster_is_read() {
    let source = |line: &str| config(line).first_start.source;
    match source("--discovery http://h:8087/t --discovery-proxy proxy:3128") {
        Source::DiscoveryV2 { url, proxy } => {
            assert_eq!(url.as_str(), "http://h:8087/t");
            assert_eq!(proxy.expect("it was given").as_str(), "http://proxy:3128");
        }
        other => panic!("{other:?}"),
    }
    match source("--discovery-token t --discovery-endpoints a:1,b:2") {
        Source::DiscoveryV3(service) => {
            assert_eq!(
                (service.token.as_str(), service.endpoints),
                ("t", vec!["a:1".to_owned(), "b:2".to_owned()])
            );
            assert_eq!(service.timeouts, Timeouts::default());
        }
        other => panic!("{other:?}"),
    }
    match source("--discovery-srv example.com. --discovery-srv-name prod --kvorum-discovery-srv-size 3") {
        Source::Srv(srv) => {
            assert_eq!(
                (srv.domain.as_str(), srv.suffix.as_str(), srv.size),
                ("example.com", "prod", Some(3))
            );
        }
        other => panic!("{other:?}"),
    }
    let servers = config("--kvorum-name-servers 10.0.0.2,10.0.0.3:5353").name_servers;
    assert_eq!(servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2:53", "10.0.0.3:5353"]);
}
