//! Names to addresses, and services to the places of their SRV records. Asked anew each time: addresses of
//! Pods change while their names stay. Without the C library, which a static binary cannot rely on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::OnceCell;

/// Who is asked for names. Cheap to clone.
#[derive(Clone, Default)]
pub struct Names {
    /// Empty: whom the system's configuration names.
    servers: Arc<[SocketAddr]>,
    resolver: Arc<OnceCell<TokioResolver>>,
}

/// What an SRV record points at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SrvTarget {
    /// In lower case, without the dot at its end: every reader gets the same text.
    pub host: String,
    pub port: u16,
}

impl Names {
    /// Asks these name servers, none for the system's.
    pub fn asking(servers: impl IntoIterator<Item = SocketAddr>) -> Names {
        Names { servers: servers.into_iter().collect(), resolver: Arc::default() }
    }

    /// The addresses of a host now; an IP address stands for itself.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let found = self.resolver().await?.lookup_ip(host).await.map_err(io::Error::other)?;
        Ok(found.iter().collect())
    }

    /// The targets of a service such as `_etcd-server._tcp.example.com`, sorted; none when there are no records.
    pub async fn targets(&self, service: &str) -> io::Result<Vec<SrvTarget>> {
        let found = match self.resolver().await?.srv_lookup(service).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let target = |data: &RData| match data {
            RData::SRV(record) => {
                let host = record.target.to_ascii().trim_end_matches('.').to_lowercase();
                Some(SrvTarget { host, port: record.port })
            }
            _ => None,
        };
        let mut targets: Vec<SrvTarget> =
            found.answers().iter().filter_map(|record| target(&record.data)).collect();
        targets.sort();
        targets.dedup();
        Ok(targets)
    }

    async fn resolver(&self) -> io::Result<&TokioResolver> {
        self.resolver.get_or_try_init(|| async { build(&self.servers) }).await
    }
}

fn build(servers: &[SocketAddr]) -> io::Result<TokioResolver> {
    let mut builder = match servers {
        [] => Resolver::builder_tokio()
            .map_err(|error| io::Error::other(format!("resolver settings of this machine: {error}")))?,
        servers => {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    builder.options_mut().cache_size = 0;
    builder.build().map_err(io::Error::other)
}

fn name_server(at: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.into())
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("servers", &self.servers).finish()
    }
}
