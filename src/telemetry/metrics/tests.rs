use super::*;

fn rendered(metrics: &Metrics) -> Vec<String> {
    metrics.render().lines().map(str::to_owned).collect()
}

#[test]
fn families_have_etcds_names_types_and_buckets() {
    let metrics = Metrics::new(false);
    let lines = rendered(&metrics);
    for expected in [
        "# TYPE etcd_server_has_leader gauge",
        "# TYPE etcd_server_proposals_committed_total gauge",
        "# TYPE etcd_server_health_success counter",
        "# TYPE etcd_server_leader_changes_seen_total counter",
        "# TYPE etcd_disk_wal_fsync_duration_seconds histogram",
        "# TYPE etcd_mvcc_db_total_size_in_use_in_bytes gauge",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 0",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"} 0",
        "etcd_server_version{server_version=\"3.7.3\"} 1",
        "kvorum_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is missing");
    }
}

#[test]
fn the_process_and_its_files_are_counted() {
    let text = Metrics::new(false).render();
    for name in
        ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "os_fd_limit"]
    {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let value: f64 = line.split(' ').nth(1).and_then(|value| value.parse().ok()).unwrap_or(-1.0);
        assert!(value >= 0.0, "{name}: {line}");
    }
}

#[test]
fn a_call_is_counted_by_method_and_code() {
    let metrics = Metrics::new(true);
    let put = metrics.rpc(RpcKind::Unary, "etcdserverpb.KV", "Put");
    put.started.inc();
    put.handled(14, Duration::from_millis(3));
    let lines = rendered(&metrics);
    for expected in [
        r#"grpc_server_started_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
        r#"grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
        r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 0"#,
        r#"grpc_server_handling_seconds_count{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is missing");
    }
}

#[test]
fn handling_times_are_extensive_metrics() {
    let metrics = Metrics::new(false);
    metrics.rpc(RpcKind::Unary, "etcdserverpb.KV", "Put").handled(0, Duration::ZERO);
    assert!(!metrics.render().contains("grpc_server_handling_seconds"));
}

#[test]
fn who_and_what_the_server_is_has_one_value_at_a_time() {
    let metrics = Metrics::new(false);
    metrics.identify(MemberId(0x8e9e05c52164694d));
    metrics.set_cluster_version("3.7.0");
    metrics.set_state("Starting");
    metrics.set_state("Voter");
    let text = metrics.render();
    assert!(text.contains(r#"etcd_server_id{server_id="8e9e05c52164694d"} 1"#));
    assert!(text.contains(r#"etcd_cluster_version{cluster_version="3.7"} 1"#));
    assert!(text.contains(r#"kvorum_server_state{state="Voter"} 1"#));
    assert!(!text.contains("Starting"));
}
