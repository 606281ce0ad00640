//! The URL of a discovery service with the token in its path.

use std::fmt;

use crate::flags::{HostUrl, TLS_LATER};

/// `http://host[:port]/path/TOKEN`, kept as it was written: member IDs are made of these very characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    at: HostUrl,
    path: String,
}

impl ServiceUrl {
    /// Reads `--discovery`.
    ///
    /// # Errors
    /// Names the URL and what would be right.
    pub fn parse(text: &str) -> Result<ServiceUrl, String> {
        let wrong =
            |why: &str| format!("--discovery={text}: {why}; http://HOST:PORT/PATH/TOKEN would be right");
        let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(format!("--discovery={text} is refused: {TLS_LATER}")),
            other => return Err(wrong(&format!("it has the scheme {other:?}"))),
        }
        let path = url.path().trim_end_matches('/');
        if path.is_empty() {
            return Err(wrong("it names no token"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(wrong("it names no host"));
        };
        Ok(ServiceUrl {
            at: HostUrl::parse(&format!("http://{host}:{port}"))?,
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    /// As the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Host and port.
    pub(super) fn at(&self) -> &HostUrl {
        &self.at
    }

    /// With a slash in front and none at the end.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Reads `--discovery-proxy`, with or without its scheme, as etcd does.
///
/// # Errors
/// Names the URL and what would be right.
pub fn parse_proxy(text: &str) -> Result<HostUrl, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: &str| format!("--discovery-proxy={text}: {why}; http://HOST:PORT would be right");
    let url = url::Url::parse(&with_scheme).map_err(|error| wrong(&error.to_string()))?;
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => HostUrl::parse(&format!("http://{host}:{port}")),
        ("https", ..) => Err(format!("--discovery-proxy={text} is refused: {TLS_LATER}")),
        (scheme, ..) => Err(wrong(&format!("it has the scheme {scheme:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_end_of_the_path_and_the_text_stays() {
        for (text, at, path) in [
            ("http://10.0.0.1:8087/abc", "http://10.0.0.1:8087", "/abc"),
            ("http://h/v2/keys/discovery/abc/", "http://h:80", "/v2/keys/discovery/abc"),
            ("http://[::1]:8087/abc", "http://[::1]:8087", "/abc"),
        ] {
            let url = ServiceUrl::parse(text).expect(text);
            assert_eq!((url.at().as_str(), url.path(), url.as_str()), (at, path, text));
        }
        for (text, part) in [
            ("https://discovery.etcd.io/abc", "TLS comes in a later release"),
            ("http://h:1", "names no token"),
            ("http://h:1/", "names no token"),
            ("ftp://h/1", "scheme"),
            ("abc", "http://HOST:PORT/PATH/TOKEN would be right"),
            ("http://h/t?size=3", "query"),
        ] {
            let error = ServiceUrl::parse(text).expect_err(text);
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn a_proxy_may_lack_its_scheme() {
        for (text, url) in [
            ("10.0.0.1:3128", "http://10.0.0.1:3128"),
            ("http://proxy", "http://proxy:80"),
            ("http://proxy:3128/", "http://proxy:3128"),
        ] {
            assert_eq!(parse_proxy(text).expect(text).as_str(), url);
        }
        assert!(parse_proxy("https://proxy:1").is_err());
    }
}
