//! What a run found, as text and as JSON.

use std::fmt::Write;
use std::time::Duration;

use super::cpu::Used;
use super::load::{Figures, Load, Operation};

/// The figures of one run.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub work: String,
    pub requests: usize,
    pub errors: usize,
    pub first_error: Option<String>,
    pub seconds: f64,
    pub per_second: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub slowest_ms: f64,
    /// CPU of all servers together for one request, in microseconds.
    pub server_cpu_us: Option<f64>,
    pub client_cpu_us: f64,
}

impl Report {
    pub(super) fn new(load: &Load, figures: Figures, used: Used) -> Report {
        let Figures { elapsed, latencies, errors, first_error } = figures;
        let requests = latencies.len();
        let at = |part: f64| {
            let rank = (part * requests as f64).ceil() as usize;
            latencies.get(rank.max(1) - 1).map_or(0.0, |micros| f64::from(*micros) / 1e3)
        };
        let sum: u64 = latencies.iter().map(|micros| u64::from(*micros)).sum();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / requests.max(1) as f64;
        Report {
            work: describe(load),
            requests,
            errors,
            first_error,
            seconds: elapsed.as_secs_f64(),
            per_second: requests as f64 / elapsed.as_secs_f64(),
            mean_ms: sum as f64 / 1e3 / requests.max(1) as f64,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            slowest_ms: at(1.0),
            server_cpu_us: used.servers.map(each),
            client_cpu_us: each(used.own),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}", self.work);
        let _ = writeln!(out, "requests          {} in {:.2} s", self.requests, self.seconds);
        if let Some(error) = &self.first_error {
            let _ = writeln!(out, "errors            {} (first: {error})", self.errors);
        }
        let _ = writeln!(out, "requests/s        {:.0}", self.per_second);
        let _ = writeln!(out, "mean              {:.3} ms", self.mean_ms);
        let _ = writeln!(out, "p50               {:.3} ms", self.p50_ms);
        let _ = writeln!(out, "p99               {:.3} ms", self.p99_ms);
        let _ = writeln!(out, "p99.9             {:.3} ms", self.p999_ms);
        let _ = writeln!(out, "slowest           {:.3} ms", self.slowest_ms);
        let _ = match self.server_cpu_us {
            Some(micros) => {
                writeln!(out, "server CPU        {micros:.1} us per request, all servers together")
            }
            None => writeln!(
                out,
                "server CPU        unknown: no server's process was found; --server-pids names them"
            ),
        };
        let _ = writeln!(out, "client CPU        {:.1} us per request", self.client_cpu_us);
        out
    }

    pub(super) fn json(&self) -> String {
        let value = serde_json::json!({
            "work": self.work,
            "requests": self.requests,
            "errors": self.errors,
            "firstError": self.first_error,
            "seconds": self.seconds,
            "requestsPerSecond": self.per_second,
            "meanMilliseconds": self.mean_ms,
            "p50Milliseconds": self.p50_ms,
            "p99Milliseconds": self.p99_ms,
            "p999Milliseconds": self.p999_ms,
            "slowestMilliseconds": self.slowest_ms,
            "serverCpuMicrosecondsPerRequest": self.server_cpu_us,
            "clientCpuMicrosecondsPerRequest": self.client_cpu_us,
        });
        format!("{value}\n")
    }
}

fn describe(load: &Load) -> String {
    let what = match &load.operation {
        Operation::Put { key_size, value_size, key_space, .. } => {
            format!("put, keys of {key_size} B out of {key_space}, values of {value_size} B")
        }
        Operation::Range { serializable, range_end, .. } => format!(
            "{} {}",
            if *serializable { "serializable" } else { "linearizable" },
            if range_end.is_empty() { "get" } else { "range" }
        ),
    };
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{what}, {} on {}", plural(load.clients, "client"), plural(load.connections, "connection"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_exact() {
        let load = Load {
            operation: Operation::Put { key_size: 8, value_size: 8, key_space: 1, sequential: false },
            connections: 1,
            clients: 2,
            total: Some(1000),
            at_most: None,
            per_second: 0,
        };
        let figures = Figures {
            elapsed: Duration::from_secs(2),
            latencies: (1..=1000).map(|millis| millis * 1000).collect(),
            errors: 0,
            first_error: None,
        };
        let used = Used { servers: Some(Duration::from_millis(100)), own: Duration::from_millis(20) };
        let report = Report::new(&load, figures, used);
        assert_eq!(
            (report.p50_ms, report.p99_ms, report.p999_ms, report.slowest_ms),
            (500.0, 990.0, 999.0, 1000.0)
        );
        assert_eq!(
            (report.per_second, report.server_cpu_us, report.client_cpu_us),
            (500.0, Some(100.0), 20.0)
        );
        assert_eq!(report.work, "put, keys of 8 B out of 1, values of 8 B, 2 clients on 1 connection");
    }
}
