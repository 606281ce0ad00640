//! `member`: list and change the members of the cluster.

use super::fail::{Exit, Failure};
use super::flags::lossy;
use super::print::{Format, MemberAnswer};
use super::{Session, kv, print, text};
use crate::client::{Consistency, Role};
use crate::proto::etcdserverpb as pb;
use crate::types::MemberId;

pub(super) async fn add(mut session: Session) -> Result<(), Failure> {
    let name = match session.args() {
        [] => return Err(Failure::bad_args("member name not provided")),
        [name] => lossy(name),
        many => return Err(Failure::bad_args(too_many(many))),
    };
    let urls = peer_urls(&session)?;
    let role = if session.flags.bool("learner") { Role::Learner } else { Role::Voter };
    let (client, printer) = session.open()?;
    check_urls(&urls)?;
    let answer = client.add_member(&urls, role, None).await?;
    let mut out = printer.members(&MemberAnswer::Added(&answer))?;
    if printer.format == Format::Simple {
        out.extend(start_variables(&name, session.flags.text("peer-urls"), &answer).into_bytes());
    }
    print(out)
}

pub(super) async fn remove(mut session: Session) -> Result<(), Failure> {
    let id = member_id(session.args())?;
    let (client, printer) = session.open()?;
    print(printer.members(&MemberAnswer::Removed(id, &client.remove_member(id, None).await?))?)
}

pub(super) async fn update(mut session: Session) -> Result<(), Failure> {
    let id = member_id(session.args())?;
    let urls = peer_urls(&session)?;
    let (client, printer) = session.open()?;
    check_urls(&urls)?;
    print(printer.members(&MemberAnswer::Updated(id, &client.update_member(id, &urls, None).await?))?)
}

pub(super) async fn list(mut session: Session) -> Result<(), Failure> {
    let consistency = match kv::is_serializable(session.flags.text("consistency"))? {
        true => Consistency::Serializable,
        false => Consistency::Linearizable,
    };
    let (client, printer) = session.open()?;
    print(printer.members(&MemberAnswer::Listed(&client.members(consistency).await?))?)
}

pub(super) async fn promote(mut session: Session) -> Result<(), Failure> {
    let id = member_id(session.args())?;
    let (client, printer) = session.open()?;
    print(printer.members(&MemberAnswer::Promoted(id, &client.promote_member(id, None).await?))?)
}

fn member_id(args: &[Vec<u8>]) -> Result<MemberId, Failure> {
    let [id] = args else {
        return Err(Failure::bad_args("member ID is not provided"));
    };
    text::parse_uint(&lossy(id), 16)
        .map(MemberId)
        .map_err(|error| Failure::bad_args(format!("bad member ID arg ({error}), expecting ID in Hex")))
}

fn peer_urls(session: &Session) -> Result<Vec<String>, Failure> {
    match session.flags.text("peer-urls") {
        "" => Err(Failure::bad_args("member peer urls not provided")),
        urls => Ok(urls.split(',').map(str::to_owned).collect()),
    }
}

fn too_many(args: &[Vec<u8>]) -> String {
    args.iter()
        .map(|arg| lossy(arg))
        .filter(|arg| arg.to_lowercase().starts_with("http"))
        .fold("too many arguments".to_owned(), |error, url| {
            error + &format!(", did you mean --peer-urls={url}")
        })
}

/// What the new member must be started with.
fn start_variables(name: &str, peer_urls: &str, answer: &pb::MemberAddResponse) -> String {
    let added = answer.member.as_ref().map_or(0, |member| member.id);
    let cluster: Vec<_> = answer
        .members
        .iter()
        .flat_map(|member| {
            let shown = if member.id == added { name } else { &member.name };
            member.peer_ur_ls.iter().map(move |url| format!("{shown}={url}"))
        })
        .collect();
    let quote = |text: &str| text::quote(text.as_bytes());
    format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        quote(name),
        quote(&cluster.join(",")),
        quote(peer_urls)
    )
}

/// Peer URLs that no server would take are refused before anything is sent.
fn check_urls(urls: &[String]) -> Result<(), Failure> {
    urls.iter().try_for_each(|url| check_url(url.trim())).map_err(|error| Failure::new(Exit::Failed, error))
}

fn check_url(url: &str) -> Result<(), String> {
    let quoted = text::quote(url.as_bytes());
    let Some((scheme, rest)) = split_scheme(url) else {
        if url.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err(format!("parse {quoted}: first path segment in URL cannot contain colon"));
        }
        return Err(format!("URL scheme must be http, https, unix, or unixs: {url}"));
    };
    match scheme.as_str() {
        "http" | "https" => {}
        "unix" | "unixs" => return Ok(()),
        _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {url}")),
    }
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let (host, path) = authority.split_at(authority.find(['/', '?', '#']).unwrap_or(authority.len()));
    if let Some(bad) =
        host.chars().find(|char| matches!(char, ' ' | '<' | '>' | '"' | '{' | '}' | '\\' | '^' | '`'))
    {
        return Err(format!("parse {quoted}: invalid character {:?} in host name", bad.to_string()));
    }
    let Some((_, port)) =
        host.rsplit_once(':').filter(|(before, _)| !before.contains(':') || before.ends_with(']'))
    else {
        return Err(format!("URL address does not have the form \"host:port\": {url}"));
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("parse {quoted}: invalid port {:?} after host", format!(":{port}")));
    }
    if path.starts_with('/') {
        return Err(format!("URL must not contain a path: {url}"));
    }
    Ok(())
}

/// Letters, digits, `+`, `-` and `.` before the first colon, a letter first.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let named = scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'));
    named.then(|| (scheme.to_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn peer_urls_are_checked_in_etcdctls_words() {
        for url in ["http://10.0.0.1:2380", "https://name:2380", "http://[::1]:2380", "unix://file"] {
            assert_eq!(check_url(url), Ok(()));
        }
        for (url, want) in [
            ("foo", "URL scheme must be http, https, unix, or unixs: foo"),
            ("localhost:2380", "URL scheme must be http, https, unix, or unixs: localhost:2380"),
            ("127.0.0.1:2380", r#"parse "127.0.0.1:2380": first path segment in URL cannot contain colon"#),
            ("http://a", r#"URL address does not have the form "host:port": http://a"#),
            ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
            ("http://a:b", r#"parse "http://a:b": invalid port ":b" after host"#),
            ("http:// a", r#"parse "http:// a": invalid character " " in host name"#),
        ] {
            assert_eq!(check_url(url).unwrap_err(), want);
        }
    }
}
