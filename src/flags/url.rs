//! URLs of members as etcd takes them: a scheme, a host and a port, nothing else.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A `scheme://host:port` kept as it was written: member IDs are made of these very characters.
/// Ordered and compared by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostUrl {
    text: String,
    scheme: Scheme,
    /// Without the brackets of an IPv6 address; the path for unix sockets.
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Http,
    Https,
    Unix,
    Unixs,
}

impl HostUrl {
    /// Reads one URL; the error is etcd's text.
    pub fn parse(text: &str) -> Result<HostUrl, String> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
            return Err(match text.split('/').next() {
                Some(first) if first.contains(':') => {
                    format!("parse {text:?}: first path segment in URL cannot contain colon")
                }
                _ => format!("URL scheme must be http, https, unix, or unixs: {text}"),
            });
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let text_kept = format!("{}://{rest}", scheme.as_str());
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            return Ok(HostUrl { text: text_kept, scheme, host: rest.to_owned(), port: 0 });
        }
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_host_port(authority).map_err(|problem| match problem {
            BadAuthority::Shape => format!(r#"URL address does not have the form "host:port": {text}"#),
            BadAuthority::Port(port) => format!("parse {text:?}: invalid port \":{port}\" after host"),
        })?;
        if !path.is_empty() {
            return Err(format!("URL must not contain a path: {text}"));
        }
        Ok(HostUrl { text: text_kept, scheme, host, port })
    }

    /// Reads a comma-separated list; sorted by text, each URL once.
    pub fn parse_list(text: &str) -> Result<Vec<HostUrl>, String> {
        let mut urls = text.split(',').map(HostUrl::parse).collect::<Result<Vec<_>, _>>()?;
        urls.sort();
        urls.dedup();
        Ok(urls)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// A name or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as a URL writes it.
    pub fn authority(&self) -> &str {
        self.text.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host when it is an address; `localhost` is none.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The same URL on another host.
    pub fn with_host(&self, host: &str) -> HostUrl {
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        HostUrl {
            text: format!("{}://{bracketed}:{}", self.scheme.as_str(), self.port),
            scheme: self.scheme,
            host: host.to_owned(),
            port: self.port,
        }
    }
}

enum BadAuthority {
    Shape,
    Port(String),
}

/// Go's rule: a port must be there, though it may be empty; an IPv6 address stands in brackets.
fn split_host_port(authority: &str) -> Result<(String, u16), BadAuthority> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(BadAuthority::Shape)?;
            (host, after.strip_prefix(':').ok_or(BadAuthority::Shape)?)
        }
        None => authority.rsplit_once(':').ok_or(BadAuthority::Shape)?,
    };
    if !authority.starts_with('[') && host.contains(':') {
        return Err(BadAuthority::Shape);
    }
    let number = if port.is_empty() { Ok(0) } else { port.parse::<u16>() };
    let digits = port.chars().all(|c| c.is_ascii_digit());
    match number {
        Ok(number) if digits => Ok((host.to_owned(), number)),
        _ => Err(BadAuthority::Port(port.to_owned())),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Unix => "unix",
            Scheme::Unixs => "unixs",
        }
    }
}

impl fmt::Display for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for HostUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        HostUrl::parse(&text)
    }
}

impl From<HostUrl> for String {
    fn from(url: HostUrl) -> String {
        url.text
    }
}
