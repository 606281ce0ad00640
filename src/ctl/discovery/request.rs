//! What an HTTP request asks of the registry; pure.

use std::collections::BTreeMap;

use super::registry::{ErrorKind, KeysError, PrevExist};

/// Where tokens of `/new` lie, as discovery.etcd.io has it.
const TOKENS: &str = "/_etcd/registry";

/// Most members that `/new` makes a token for.
const SIZE_MAX: u64 = 999;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Home,
    Health,
    /// A token for a cluster of so many members.
    New {
        size: u64,
    },
    Get {
        path: String,
        recursive: bool,
    },
    /// `after`: the first index that is of interest; None: the next change.
    Wait {
        path: String,
        recursive: bool,
        after: Option<u64>,
    },
    Put {
        path: String,
        value: String,
        prev_exist: PrevExist,
    },
    Delete {
        path: String,
        recursive: bool,
    },
}

/// Why a request is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misunderstood {
    /// Of the keys API.
    Keys(KeysError),
    /// Plain text with an HTTP code.
    Plain(u16, String),
}

/// Where a new token's size is kept.
pub(super) fn size_key(token: &str) -> String {
    format!("{TOKENS}/{token}/_config/size")
}

/// Reads a request. Fields may stand in the query or in the form.
pub(super) fn read(method: &str, path: &str, query: &str, form: &[u8]) -> Result<Asked, Misunderstood> {
    let decoded = url::form_urlencoded::parse(query.as_bytes()).chain(url::form_urlencoded::parse(form));
    let fields: BTreeMap<String, String> =
        decoded.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    match path {
        "/" if method == "GET" => return Ok(Asked::Home),
        "/health" if method == "GET" => return Ok(Asked::Health),
        "/new" => return new(&fields),
        _ => {}
    }
    let path = key_path(path)?;
    keys(method, path, &fields).map_err(Misunderstood::Keys)
}

fn new(fields: &BTreeMap<String, String>) -> Result<Asked, Misunderstood> {
    let text = fields.get("size").map_or("3", String::as_str);
    match text.parse() {
        Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(Asked::New { size }),
        _ => {
            let text = format!("size={text} is not a number of members; 1 to {SIZE_MAX} would be right\n");
            Err(Misunderstood::Plain(400, text))
        }
    }
}

/// The key that a path names: below `/v2/keys`, or short for a token's place.
fn key_path(path: &str) -> Result<String, Misunderstood> {
    let decoded = percent_decoded(path)
        .ok_or_else(|| Misunderstood::Plain(400, format!("{path} is not UTF-8 when decoded\n")))?;
    let below = match decoded.strip_prefix("/v2/keys") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.to_owned(),
        _ => format!("{TOKENS}{decoded}"),
    };
    let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| *part == "." || *part == "..") {
        return Err(Misunderstood::Plain(400, format!("{path} goes up or nowhere\n")));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes().iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [*rest.next()?, *rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

fn keys(method: &str, path: String, fields: &BTreeMap<String, String>) -> Result<Asked, KeysError> {
    let invalid = |what: &str| KeysError::new(ErrorKind::InvalidField, format!("invalid value for {what:?}"));
    let bool = |name: &str| match fields.get(name).map(String::as_str) {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(_) => Err(invalid(name)),
    };
    let recursive = bool("recursive")?;
    // Known to etcd's clients, and without a difference here: there is one copy, and it is always sorted.
    bool("sorted")?;
    bool("quorum")?;
    for unknown in ["ttl", "prevValue", "prevIndex", "refresh", "inOrder"] {
        if fields.contains_key(unknown) {
            let cause = format!("{unknown:?} is not served by this registry");
            return Err(KeysError::new(ErrorKind::InvalidField, cause));
        }
    }
    if bool("dir")? {
        let cause = "\"dir\" is not served by this registry: folders come and go with what is in them";
        return Err(KeysError::new(ErrorKind::InvalidField, cause));
    }
    match method {
        "GET" if bool("wait")? => {
            let index = match fields.get("waitIndex").map(String::as_str) {
                None | Some("" | "0") => None,
                Some(text) => Some(text.parse().map_err(|_| {
                    KeysError::new(ErrorKind::IndexNotANumber, "invalid value for \"waitIndex\"")
                })?),
            };
            Ok(Asked::Wait { path, recursive, after: index })
        }
        "GET" | "HEAD" => Ok(Asked::Get { path, recursive }),
        "PUT" => {
            let prev_exist = match fields.get("prevExist").map(String::as_str) {
                None | Some("") => PrevExist::Any,
                Some("true" | "1") => PrevExist::Must,
                Some("false" | "0") => PrevExist::MustNot,
                Some(_) => {
                    return Err(KeysError::new(ErrorKind::InvalidField, "invalid value for prevExist"));
                }
            };
            let Some(value) = fields.get("value") else {
                return Err(KeysError::new(ErrorKind::ValueRequired, path));
            };
            Ok(Asked::Put { path, value: value.clone(), prev_exist })
        }
        "DELETE" => Ok(Asked::Delete { path, recursive }),
        other => {
            let cause = format!("method {other} is not served by this registry");
            Err(KeysError::new(ErrorKind::InvalidField, cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, path: &str, query: &str, form: &str) -> Asked {
        read(method, path, query, form.as_bytes()).expect("it is understood")
    }

    #[test]
    fn etcds_own_requests_are_understood() {
        let list = "quorum=false&recursive=false&sorted=false";
        let path = "/_etcd/registry/abc".to_owned();
        assert_eq!(asked("GET", "/abc", list, ""), Asked::Get { path: path.clone(), recursive: false });
        let wait = asked("GET", "/abc", "recursive=true&wait=true&waitIndex=8", "");
        assert_eq!(wait, Asked::Wait { path, recursive: true, after: Some(8) });
        let put = asked(
            "PUT",
            "/abc/1f?prevExist=false".split('?').next().expect("a path"),
            "prevExist=false",
            "value=a%3Dhttp%3A%2F%2Fh%3A1",
        );
        assert_eq!(
            put,
            Asked::Put {
                path: "/_etcd/registry/abc/1f".to_owned(),
                value: "a=http://h:1".to_owned(),
                prev_exist: PrevExist::MustNot,
            }
        );
        assert_eq!(
            asked("PUT", "/v2/keys/discovery/T/_config/size", "", "value=3"),
            Asked::Put {
                path: "/discovery/T/_config/size".to_owned(),
                value: "3".to_owned(),
                prev_exist: PrevExist::Any,
            }
        );
        assert_eq!(asked("GET", "/v2/keys/", "", ""), Asked::Get { path: "/".to_owned(), recursive: false });
        assert_eq!(asked("GET", "/new", "", ""), Asked::New { size: 3 });
        assert_eq!(asked("GET", "/new", "size=5", ""), Asked::New { size: 5 });
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (query, form, kind) in [
            ("prevExist=maybe", "value=a", ErrorKind::InvalidField),
            ("", "", ErrorKind::ValueRequired),
            ("recursive=x", "value=a", ErrorKind::InvalidField),
            ("", "value=a&ttl=5", ErrorKind::InvalidField),
            ("", "dir=true", ErrorKind::InvalidField),
        ] {
            match read("PUT", "/v2/keys/a", query, form.as_bytes()) {
                Err(Misunderstood::Keys(error)) => assert_eq!(error.kind, kind, "{query} {form}"),
                other => panic!("{query} {form}: {other:?}"),
            }
        }
        for size in ["0", "-1", "many", "1000", ""] {
            let wrong = read("GET", "/new", &format!("size={size}"), b"");
            assert!(matches!(wrong, Err(Misunderstood::Plain(400, _))), "{size}: {wrong:?}");
        }
        for path in ["/v2/keys/../a", "/%ff", "/%2"] {
            let wrong = read("GET", path, "", b"");
            assert!(matches!(wrong, Err(Misunderstood::Plain(400, _))), "{path}: {wrong:?}");
        }
    }
}
