//! Names to addresses, anew at every dial: the addresses of Pods change while their names stay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use tokio::sync::OnceCell;
use url::Url;

type Resolve = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// How names of members become addresses. IP literals never get here.
#[derive(Clone)]
pub struct Names(Arc<Resolve>);

impl Names {
    /// What the system's configuration says, without a cache.
    pub fn system() -> Self {
        let resolver: Arc<OnceCell<TokioResolver>> = Arc::default();
        Self::by(move |name| {
            let resolver = Arc::clone(&resolver);
            async move {
                let resolver = resolver.get_or_try_init(|| async { system_resolver() }).await?;
                let found = resolver.lookup_ip(name).await.map_err(io::Error::other)?;
                Ok(found.iter().collect())
            }
        })
    }

    /// Any other way, such as a table.
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

fn system_resolver() -> io::Result<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    builder.options_mut().cache_size = 0;
    builder.build().map_err(io::Error::other)
}
