//! What the server shows of itself: log lines, metrics, health and version over HTTP.
//! All in etcd's shapes, so that parsers, dashboards and probes made for etcd work unchanged.

pub mod health;
pub mod http_guard;
pub mod logs;
pub mod metrics;
