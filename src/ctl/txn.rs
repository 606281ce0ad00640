//! `txn`: conditions and requests from standard input become one transaction.

use std::io::BufRead;
use std::time::Duration;

use super::command::{DELETE_FLAGS, GET_FLAGS, PUT_FLAGS};
use super::fail::{Exit, Failure};
use super::flags::{Flag, Parsed, lossy};
use super::{Session, kv, print, text};
use crate::proto::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

pub(super) async fn run(mut session: Session) -> Result<(), Failure> {
    if !session.args().is_empty() {
        return Err(Failure::bad_args("txn command does not accept argument"));
    }
    let (client, printer) = session.open()?;
    let prompt =
        |text: &str| if session.flags.bool("interactive") { print(format!("{text}\n")) } else { Ok(()) };
    let mut input = std::io::stdin().lock();
    prompt("compares:")?;
    let compare = read_block(&mut input, parse_compare)?;
    prompt("success requests (get, put, del):")?;
    let success = read_block(&mut input, parse_request)?;
    prompt("failure requests (get, put, del):")?;
    let failure = read_block(&mut input, parse_request)?;
    // A transaction typed by a person has no deadline.
    let client = client.with_call_timeout(Duration::MAX);
    let answer = client.txn(&pb::TxnRequest { compare, success, failure }).await?;
    print(printer.txn(&answer)?)
}

/// Lines up to an empty one.
fn read_block<T>(
    input: &mut impl BufRead,
    parse: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    loop {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(invalid("EOF"));
        }
        match line.trim_ascii() {
            [] => return Ok(items),
            line => items.push(parse(line)?),
        }
    }
}

fn invalid(text: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::InvalidInput, text)
}

/// `target("key") operator "value"`.
fn parse_compare(line: &[u8]) -> Result<pb::Compare, Failure> {
    let shown = lossy(line);
    let malformed = || format!("malformed comparison: {shown}");
    let at = line.iter().position(|byte| *byte == b'(').ok_or_else(|| invalid(malformed()))?;
    let target = lossy(&line[..at]);
    let parts = scan(&line[at + 1..]);
    let Parts { key, operator, value: Some(value) } = parts else {
        let Parts { key, operator, .. } = parts;
        let key = text::quote(&key);
        return Err(invalid(format!("{}; got {target}({key}) {} \"\"", malformed(), lossy(&operator))));
    };
    let result = match operator.as_slice() {
        b"=" => CompareResult::Equal,
        b"!=" => CompareResult::NotEqual,
        b">" => CompareResult::Greater,
        b"<" => CompareResult::Less,
        other => {
            let why = format!("unknown operator {}; =, !=, > or < would be right", lossy(other));
            return Err(invalid(format!("{} ({why})", malformed())));
        }
    };
    let number = |base| {
        text::parse_int(&lossy(&value), base)
            .map_err(|_| invalid(format!("invalid txn compare request: {shown}")))
    };
    let (target, union) = match target.as_str() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.clone().into())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => return Err(invalid(format!("{} (unknown target {other})", malformed()))),
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        range_end: Default::default(),
    })
}

/// What could be read of a comparison behind its `(`.
#[derive(Default)]
struct Parts {
    key: Vec<u8>,
    operator: Vec<u8>,
    value: Option<Vec<u8>>,
}

fn scan(rest: &[u8]) -> Parts {
    let mut parts = Parts::default();
    let Some((key, rest)) = scan_literal(rest) else { return parts };
    parts.key = key;
    let Some(rest) = rest.strip_prefix(b") ") else { return parts };
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    parts.operator = rest[..end].to_vec();
    parts.value = scan_literal(&rest[end..]).map(|(value, _)| value);
    parts
}

/// A quoted string behind spaces, and what follows it.
fn scan_literal(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let text = text.trim_ascii_start();
    let quote = *text.first().filter(|byte| matches!(byte, b'"' | b'`'))?;
    let mut at = 1;
    while *text.get(at)? != quote {
        at += if quote == b'"' && text[at] == b'\\' { 2 } else { 1 };
    }
    Some((text::unquote(&text[..=at])?, &text[at + 1..]))
}

/// `put`, `get` or `del` with their own flags.
fn parse_request(line: &[u8]) -> Result<pb::RequestOp, Failure> {
    let shown = lossy(line);
    let words = split_words(line).map_err(invalid)?;
    let [verb, rest @ ..] = words.as_slice() else {
        return Err(invalid(format!("invalid txn compare request: {shown}")));
    };
    if rest.is_empty() {
        return Err(invalid(format!("invalid txn compare request: {shown}")));
    }
    let flags = |known: &'static [Flag]| {
        let parsed = Parsed::new(known).parse(rest);
        parsed.map_err(|_| invalid(format!("invalid txn request: {shown}"))).and_then(|parsed| {
            match parsed.help {
                false => Ok(parsed),
                true => Err(invalid(format!("invalid txn request: {shown}"))),
            }
        })
    };
    let request = match verb.as_slice() {
        b"put" => Request::RequestPut(kv::put_request(&flags(PUT_FLAGS)?, &mut std::io::empty())?),
        b"get" => Request::RequestRange(kv::range_request(&flags(GET_FLAGS)?)?),
        b"del" => {
            let deletion = kv::delete_request(&flags(DELETE_FLAGS)?)?;
            deletion.wait_for_second_thoughts();
            Request::RequestDeleteRange(deletion.request)
        }
        _ => return Err(invalid(format!("invalid txn request: {shown}"))),
    };
    Ok(pb::RequestOp { request: Some(request) })
}

/// Words between spaces; `'...'` and `"..."` hold spaces, the latter with escapes.
pub(super) fn split_words(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < line.len() {
        match line[at] {
            byte if byte.is_ascii_whitespace() => at += 1,
            b'"' => match closing_quote(&line[at..]) {
                Some(end) => {
                    words.push(text::unquote(&line[at..=at + end]).ok_or("invalid syntax")?);
                    at += end + 1;
                }
                None => at += 1,
            },
            b'\'' => match line[at + 1..].iter().position(|byte| *byte == b'\'') {
                Some(length) => {
                    words.push(line[at + 1..at + 1 + length].to_vec());
                    at += length + 2;
                }
                None => at += 1,
            },
            _ => {
                let end =
                    line[at..].iter().position(u8::is_ascii_whitespace).map_or(line.len(), |end| at + end);
                words.push(line[at..end].to_vec());
                at = end;
            }
        }
    }
    Ok(words)
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while *text.get(at)? != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (line, want) in [
            (r#"put "x y" 'z w'"#, vec!["put", "x y", "z w"]),
            (r#"put a"b c"#, vec!["put", "a\"b", "c"]),
            (r#"put "a\"b" "\x41""#, vec!["put", "a\"b", "A"]),
            (r#"get "open"#, vec!["get", "open"]),
        ] {
            let words = split_words(line.as_bytes()).unwrap();
            assert_eq!(words.iter().map(|word| lossy(word)).collect::<Vec<_>>(), want, "{line}");
        }
        assert_eq!(split_words(br#"put "a\q" b"#), Err("invalid syntax"));
    }

    #[test]
    fn comparisons_are_read() {
        let compare = parse_compare(br#"value( "a\x41")   !=   "1" more"#).unwrap();
        assert_eq!((&compare.key[..], compare.result()), (&b"aA"[..], CompareResult::NotEqual));
        assert_eq!(compare.target_union, Some(TargetUnion::Value("1".into())));
        let lease = parse_compare(br#"lease("a") = "1f""#).unwrap();
        assert_eq!(lease.target_union, Some(TargetUnion::Lease(31)));
    }

    #[test]
    fn what_is_wrong_with_a_comparison_is_said_in_etcdctls_words() {
        for (line, want) in [
            ("foo", "malformed comparison: foo"),
            (r#"value("a" = "1""#, r#"malformed comparison: value("a" = "1"; got value("a")  """#),
            (r#"value("a")= "1""#, r#"malformed comparison: value("a")= "1"; got value("a")  """#),
            (r#"value("a") ="1""#, r#"malformed comparison: value("a") ="1"; got value("a") ="1" """#),
            (r#"value("a") = 1"#, r#"malformed comparison: value("a") = 1; got value("a") = """#),
            (r#"valu("a") = "1""#, r#"malformed comparison: valu("a") = "1" (unknown target valu)"#),
            (r#"ver("a") = "x""#, r#"invalid txn compare request: ver("a") = "x""#),
        ] {
            let failure = parse_compare(line.as_bytes()).unwrap_err();
            assert_eq!(failure, invalid(want), "{line}");
        }
    }
}
