//! DNS SRV: the members stand in `_etcd-server._tcp.DOMAIN` and `_etcd-server-ssl._tcp.DOMAIN`.
//!
//! look up (targets, and which of them is this member) -> [`judge`] (pure) -> the members, or what is waited for.
//! Records do not say how many members there are, and a partial answer would make another plan: so a size
//! can be given, and nothing comes of targets that did not stand the same in two look-ups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Error;
use super::first_start::FirstStart;
use super::found::Waits;
use super::initial_cluster::InitialCluster;
use super::report::ServerState;
use super::roll::Roll;
use super::shared::Shared;
use crate::flags::{HostUrl, Scheme, TLS_LATER};

/// Between two look-ups.
const PAUSE: Duration = Duration::from_secs(1);

/// `--discovery-srv` and its companions.
#[derive(Clone, Debug)]
pub struct SrvSource {
    pub domain: String,
    /// Ending of the service's name; empty: none.
    pub suffix: String,
    /// How many targets there must be; None: as many as two look-ups list.
    pub size: Option<usize>,
}

/// One look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// What the records point at, under the scheme of their service.
    targets: BTreeSet<HostUrl>,
    /// Those of them that are this member.
    own: BTreeSet<HostUrl>,
}

/// What a look-up means.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    Complete(InitialCluster),
    /// May change yet.
    Wait(String),
    /// Wrong whatever comes.
    Wrong(String),
}

/// Looks until the records are complete, at most as long as the flags allow.
pub(super) async fn look_up(
    shared: &Arc<Shared>,
    first: &FirstStart,
    source: &SrvSource,
) -> Result<Roll, Error> {
    let since = Instant::now();
    let mut waits = Waits::new("discovery waits for SRV records");
    let mut before = None;
    loop {
        let look = match ask(shared, first, source).await {
            Ok(seen) => {
                let look = judge(first, source, before.as_ref(), &seen);
                before = Some(seen);
                look
            }
            Err(unanswered) => Look::Wait(unanswered),
        };
        let why = match look {
            Look::Complete(cluster) => {
                tracing::info!(discovery_srv = source.domain, cluster = %cluster, "got bootstrap from DNS");
                return Ok(Roll { name: first.name.clone(), cluster, token: first.token.clone() });
            }
            Look::Wrong(why) => return Err(Error::Refused(why)),
            Look::Wait(why) => why,
        };
        if since.elapsed() + PAUSE > first.patience {
            return Err(Error::Refused(format!(
                "{why}, and that did not change within {:?}",
                first.patience
            )));
        }
        waits.tell(shared, ServerState::Starting, &why, Vec::new());
        sleep(PAUSE).await;
    }
}

async fn ask(shared: &Shared, first: &FirstStart, source: &SrvSource) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for (scheme, service) in source.services() {
        let found = shared.http.names().targets(&service).await;
        let found =
            found.map_err(|error| format!("error querying DNS SRV records for {service}: {error}"))?;
        for target in found {
            let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host };
            let url = HostUrl::parse(&format!("{}://{host}:{}", scheme.as_str(), target.port))
                .map_err(|problem| format!("SRV record of {service}: {problem}"))?;
            if is_own(shared, first, &url).await {
                seen.own.insert(url.clone());
            }
            seen.targets.insert(url);
        }
    }
    Ok(seen)
}

/// By the same text, else by the same address: addresses of Pods change, and names may lag.
async fn is_own(shared: &Shared, first: &FirstStart, url: &HostUrl) -> bool {
    let same_port = || first.advertise_peer.iter().filter(|own| own.port() == url.port());
    if same_port().any(|own| own.host().eq_ignore_ascii_case(url.host())) {
        return true;
    }
    let Ok(addresses) = shared.http.addresses(url).await else { return false };
    for own in same_port() {
        if shared.http.addresses(own).await.is_ok_and(|own| own.iter().any(|ip| addresses.contains(ip))) {
            return true;
        }
    }
    false
}

impl SrvSource {
    fn services(&self) -> [(Scheme, String); 2] {
        let suffix = if self.suffix.is_empty() { String::new() } else { format!("-{}", self.suffix) };
        [(Scheme::Https, "etcd-server-ssl"), (Scheme::Http, "etcd-server")]
            .map(|(scheme, service)| (scheme, format!("_{service}{suffix}._tcp.{}", self.domain)))
    }
}

fn judge(first: &FirstStart, source: &SrvSource, before: Option<&Seen>, seen: &Seen) -> Look {
    let own_scheme = first.advertise_peer.first().map_or(Scheme::Http, HostUrl::scheme);
    // A place that stands under both services is one member, reached as this one is.
    let has_own_scheme = |url: &HostUrl| {
        seen.targets.iter().any(|other| other.scheme() == own_scheme && other.authority() == url.authority())
    };
    let targets: Vec<&HostUrl> =
        seen.targets.iter().filter(|url| url.scheme() == own_scheme || !has_own_scheme(url)).collect();
    let own: Vec<&&HostUrl> = targets.iter().filter(|url| seen.own.contains(**url)).collect();
    let domain = &source.domain;
    match own.as_slice() {
        [own] if own.scheme() != own_scheme => {
            let advertised = first.advertise_peer.iter().map(HostUrl::as_str).collect::<Vec<_>>().join(",");
            let service = if own.scheme() == Scheme::Https { "etcd-server-ssl" } else { "etcd-server" };
            return Look::Wrong(format!(
                "bootstrap at {own} from DNS for {service} has scheme mismatch with expected peer {advertised}"
            ));
        }
        [one, another, ..] => {
            return Look::Wrong(format!(
                "SRV targets {one} and {another} of {domain} are both this member; one would be right"
            ));
        }
        _ => {}
    }
    if let Some(url) = targets.iter().find(|url| url.scheme() != Scheme::Http) {
        return Look::Wrong(format!("SRV target {url} of {domain} is refused: {TLS_LATER}"));
    }
    let listed = targets.iter().map(|url| url.authority()).collect::<Vec<_>>().join(",");
    let wanted = source.size.unwrap_or(targets.len().max(1));
    if targets.len() != wanted {
        return Look::Wait(format!(
            "SRV records of {domain} list {} members ({listed}), {wanted} would be right",
            targets.len()
        ));
    }
    let [own] = own.as_slice() else {
        let name = &first.name;
        return Look::Wait(format!(
            "cannot find local etcd member {name:?} in SRV records of {domain} ({listed})"
        ));
    };
    if before != Some(seen) {
        return Look::Wait(format!("SRV records of {domain} are looked up once more ({listed})"));
    }
    let name = |url: &HostUrl| match url == **own {
        true => first.name.clone(),
        // The record does not say it. A founder's name is what it tells by itself.
        false => url.authority().to_owned(),
    };
    let cluster = InitialCluster::from_members(targets.iter().map(|url| (name(url), vec![(*url).clone()])));
    match cluster.len() == targets.len() {
        true => Look::Complete(cluster),
        false => Look::Wrong(format!("--name={} is the place of another member of {domain}", first.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::first_start::{ClusterState, Source};
    use super::*;

    fn source(size: Option<usize>) -> SrvSource {
        SrvSource { domain: "example.com".to_owned(), suffix: String::new(), size }
    }

    fn first() -> FirstStart {
        FirstStart {
            name: "a".to_owned(),
            state: ClusterState::New,
            token: "t".to_owned(),
            source: Source::Srv(source(None)),
            advertise_peer: vec![HostUrl::parse("http://a.example.com:2380").expect("a URL")],
            patience: PAUSE,
            await_grant: false,
        }
    }

    fn seen(targets: &[&str], own: &[&str]) -> Seen {
        let urls = |texts: &[&str]| texts.iter().map(|text| HostUrl::parse(text).expect("a URL")).collect();
        Seen { targets: urls(targets), own: urls(own) }
    }

    const THREE: [&str; 3] =
        ["http://a.example.com:2380", "http://b.example.com:2380", "http://c.example.com:2380"];

    fn waits(size: Option<usize>, before: Option<&Seen>, now: &Seen, part: &str) {
        match judge(&first(), &source(size), before, now) {
            Look::Wait(why) => assert!(why.contains(part), "{why}"),
            look => panic!("{part}: {look:?}"),
        }
    }

    fn is_wrong(now: &Seen, part: &str) {
        match judge(&first(), &source(Some(3)), Some(now), now) {
            Look::Wrong(why) => assert!(why.contains(part), "{why}"),
            look => panic!("{part}: {look:?}"),
        }
    }

    #[test]
    fn so_many_targets_seen_twice_are_the_members() {
        let now = seen(&THREE, &THREE[..1]);
        for size in [Some(3), None] {
            waits(size, None, &now, "once more");
            let look = judge(&first(), &source(size), Some(&now), &now);
            let Look::Complete(cluster) = look else { panic!("{look:?}") };
            assert_eq!(cluster.urls_of("a").map(|urls| urls[0].as_str()), Some(THREE[0]));
            assert_eq!(cluster.len(), 3);
        }
        waits(Some(3), Some(&seen(&THREE[..2], &THREE[..1])), &now, "once more");
    }

    #[test]
    fn partial_and_foreign_records_are_waited_out() {
        let two = seen(&THREE[..2], &THREE[..1]);
        waits(Some(3), Some(&two), &two, "list 2 members (a.example.com:2380,b.example.com:2380), 3 would");
        let four = seen(&[THREE[0], THREE[1], THREE[2], "http://old.example.com:2380"], &THREE[..1]);
        waits(Some(3), Some(&four), &four, "list 4 members");
        let none = seen(&[], &[]);
        waits(None, Some(&none), &none, "list 0 members (), 1 would");
        let others = seen(&THREE, &[]);
        waits(Some(3), Some(&others), &others, r#"cannot find local etcd member "a" in SRV records"#);
    }

    #[test]
    fn a_wrong_scheme_is_told() {
        let tls = "https://a.example.com:2380";
        is_wrong(
            &seen(&[tls, THREE[1], THREE[2]], &[tls]),
            "has scheme mismatch with expected peer http://a.",
        );
        is_wrong(
            &seen(&[THREE[0], "https://b.example.com:2380", THREE[2]], &THREE[..1]),
            "TLS comes in a later",
        );
        is_wrong(&seen(&THREE, &THREE[..2]), "are both this member");
        // Under both services a place is one member.
        let both = seen(&[THREE[0], THREE[1], THREE[2], tls], &[THREE[0], tls]);
        assert!(matches!(judge(&first(), &source(Some(3)), Some(&both), &both), Look::Complete(_)));
    }

    #[test]
    fn services_have_etcds_names() {
        let named = SrvSource { suffix: "prod".to_owned(), ..source(None) };
        let names = named.services().map(|(_, service)| service);
        assert_eq!(names, ["_etcd-server-ssl-prod._tcp.example.com", "_etcd-server-prod._tcp.example.com"]);
        assert_eq!(source(None).services()[1].1, "_etcd-server._tcp.example.com");
    }
}
