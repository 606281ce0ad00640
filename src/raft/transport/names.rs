//! Names to addresses, anew at every dial: the addresses of Pods change while their names stay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use url::Url;

type Resolve = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// How names of members become addresses. IP literals never get here.
#[derive(Clone)]
pub struct Names(Arc<Resolve>);

impl Names {
    /// By asking name servers, or by a table.
    pub fn by<F>(resolve: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name| Box::pin(resolve(name))))
    }

    /// The addresses of a peer URL (`http://host:port`), in the order to try them.
    pub(super) async fn addresses(&self, url: &str, within: Duration) -> io::Result<Vec<SocketAddr>> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let parsed = Url::parse(url).map_err(|error| invalid(format!("peer URL {url:?}: {error}")))?;
        let port =
            parsed.port_or_known_default().ok_or_else(|| invalid(format!("peer URL {url:?} has no port")))?;
        let ips = match parsed.host() {
            Some(url::Host::Ipv4(ip)) => vec![ip.into()],
            Some(url::Host::Ipv6(ip)) => vec![ip.into()],
            Some(url::Host::Domain(name)) => {
                tokio::time::timeout(within, (self.0)(name.to_owned())).await??
            }
            None => return Err(invalid(format!("peer URL {url:?} has no host"))),
        };
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }
}
