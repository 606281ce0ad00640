//! `--discovery-srv`: the endpoints stand in `_etcd-client-ssl._tcp.DOMAIN` and `_etcd-client._tcp.DOMAIN`.

use std::net::{IpAddr, SocketAddr};

use crate::client::Names;
use crate::ctl::fail::{Exit, Failure};
use crate::ctl::{Session, say};

/// The endpoints that SRV records name; none when no domain was given, or nothing usable stands there.
pub(in crate::ctl) async fn endpoints(session: &Session) -> Result<Vec<String>, Failure> {
    let domain = session.given("discovery-srv");
    if domain.is_empty() {
        return Ok(Vec::new());
    }
    let names = names(session.given("name-servers"))?;
    let suffix = match session.given("discovery-srv-name") {
        "" => String::new(),
        name => format!("-{name}"),
    };
    let mut endpoints = Vec::new();
    let mut problems = Vec::new();
    for (scheme, service) in [("https", "etcd-client-ssl"), ("http", "etcd-client")] {
        let service = format!("_{service}{suffix}._tcp.{domain}");
        match names.targets(&service).await {
            Ok(targets) if targets.is_empty() => problems.push(format!("lookup {service}: no such host")),
            // etcdctl, too, leaves the dot at the end of a name that is whole.
            Ok(targets) => endpoints
                .extend(targets.iter().map(|target| format!("{scheme}://{}.:{}", target.host, target.port))),
            Err(error) => problems.push(format!("lookup {service}: {error}")),
        }
    }
    if endpoints.is_empty() {
        let text = format!("dns lookup errors: {}", problems.join(" and "));
        return Err(Failure::new(Exit::Failed, text));
    }
    let takes_plain_text = session.flags.bool("insecure-discovery");
    endpoints.retain(|endpoint| {
        let is_ignored = endpoint.starts_with("http://") && !takes_plain_text;
        if is_ignored {
            say(&format!("ignoring discovered insecure endpoint {endpoint:?}\n"));
        }
        !is_ignored
    });
    Ok(endpoints)
}

/// Reads `--name-servers`.
pub(in crate::ctl) fn names(text: &str) -> Result<Names, Failure> {
    let parse = |text: &str| {
        let server = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
        server.map_err(|_| Failure::bad_args(format!("--name-servers={text}: IP or IP:PORT would be right")))
    };
    let servers: Result<Vec<SocketAddr>, Failure> =
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(parse).collect();
    Ok(Names::asking(servers?))
}
