//! `get`, `put`, `del`, `compaction`: flags become a request, the answer is printed.
//!
//! The requests are made by plain functions, for `txn` reads the same words from its lines.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;

use super::fail::{Exit, Failure};
use super::flags::{Parsed, lossy};
use super::print::Format;
use super::{Session, print, say, text};
use crate::proto::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};

/// Range end of "all keys from here on"; as a key, the first possible one.
const ZERO: &[u8] = &[0];

/// How long a range deletion waits for second thoughts.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

pub(super) async fn get(mut session: Session) -> Result<(), Failure> {
    let request = range_request(&session.flags)?;
    let (client, mut printer) = session.open()?;
    let answer = if session.flags.bool("stream") {
        client.range_stream(&request).await?
    } else {
        client.range(&request).await?
    };
    if request.count_only && printer.format != Format::Fields {
        return Err(Failure::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if session.flags.bool("print-value-only") {
        if printer.format != Format::Simple {
            return Err(Failure::bad_args("print-value-only is only for `--write-out=simple`"));
        }
        printer.value_only = true;
    }
    print(printer.get(&answer)?)
}

pub(super) async fn put(mut session: Session) -> Result<(), Failure> {
    let request = put_request(&session.flags, &mut std::io::stdin())?;
    let (client, printer) = session.open()?;
    print(printer.put(&client.put(&request).await?)?)
}

pub(super) async fn delete(mut session: Session) -> Result<(), Failure> {
    let deletion = delete_request(&session.flags)?;
    deletion.wait_for_second_thoughts();
    let (client, printer) = session.open()?;
    print(printer.delete(&client.delete_range(&deletion.request).await?)?)
}

pub(super) async fn compact(mut session: Session) -> Result<(), Failure> {
    let [revision] = session.args() else {
        return Err(Failure::bad_args("compaction command needs 1 argument"));
    };
    let revision =
        text::parse_int(&lossy(revision), 10).map_err(|error| Failure::new(Exit::Failed, error))?;
    let request = pb::CompactionRequest { revision, physical: session.flags.bool("physical") };
    let (client, _) = session.open()?;
    client.compact(&request).await?;
    print(format!("compacted revision {revision}\n"))
}

pub(super) fn range_request(flags: &Parsed) -> Result<pb::RangeRequest, Failure> {
    if flags.args.is_empty() {
        return Err(Failure::bad_args(
            "get command needs one argument as key and an optional argument as range_end",
        ));
    }
    if flags.bool("prefix") && flags.bool("from-key") {
        return Err(prefix_or_from_key());
    }
    if flags.bool("keys-only") && flags.bool("count-only") {
        return Err(Failure::bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    let serializable = is_serializable(flags.text("consistency"))?;
    let (key, range_end) = key_range(flags)?;
    let (sort_target, sort_order) = sorting(flags)?;
    Ok(pb::RangeRequest {
        key,
        range_end,
        limit: flags.int("limit"),
        revision: flags.int("rev").max(0),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: flags.bool("keys-only"),
        count_only: flags.bool("count-only"),
        min_create_revision: flags.int("min-create-rev").max(0),
        max_create_revision: upper_bound(flags, "max-create-rev", "min-create-rev", "CreateRev")?,
        min_mod_revision: flags.int("min-mod-rev").max(0),
        max_mod_revision: upper_bound(flags, "max-mod-rev", "min-mod-rev", "ModRev")?,
    })
}

pub(super) fn put_request(flags: &Parsed, stdin: &mut dyn Read) -> Result<pb::PutRequest, Failure> {
    const NEEDS: &str = "put command needs 1 argument and input from stdin or 2 arguments";
    let ignore_value = flags.bool("ignore-value");
    let key = flags.args.first().ok_or_else(|| Failure::bad_args(NEEDS))?;
    let value = match flags.args.get(1) {
        Some(_) if ignore_value => {
            return Err(Failure::bad_args("put command needs only 1 argument when 'ignore-value' is set"));
        }
        Some(value) => value.clone(),
        None if ignore_value => Vec::new(),
        None => {
            let mut value = Vec::new();
            stdin.read_to_end(&mut value).map_err(|_| Failure::bad_args(NEEDS))?;
            if value.is_empty() {
                return Err(Failure::bad_args(NEEDS));
            }
            value
        }
    };
    let lease = text::parse_int(flags.text("lease"), 16)
        .map_err(|error| Failure::bad_args(format!("bad lease ID ({error}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: Bytes::from(key.clone()),
        value: value.into(),
        lease,
        prev_kv: flags.bool("prev-kv"),
        ignore_value,
        ignore_lease: flags.bool("ignore-lease"),
    })
}

/// A deletion, and what is said before a range goes.
pub(super) struct Deletion {
    pub request: pb::DeleteRangeRequest,
    warning: Option<String>,
}

impl Deletion {
    /// Blocks: nothing else is going on yet.
    #[expect(clippy::disallowed_methods, reason = "a person is given these seconds to interrupt")]
    pub(super) fn wait_for_second_thoughts(&self) {
        if let Some(warning) = &self.warning {
            say(warning);
            std::thread::sleep(SECOND_THOUGHTS);
        }
    }
}

pub(super) fn delete_request(flags: &Parsed) -> Result<Deletion, Failure> {
    if flags.args.is_empty() || flags.args.len() > 2 {
        return Err(Failure::bad_args(
            "del command needs one argument as key and an optional argument as range_end",
        ));
    }
    if flags.bool("prefix") && flags.bool("from-key") {
        return Err(prefix_or_from_key());
    }
    let (key, range_end) = key_range(flags)?;
    let warning = match flags.args.as_slice() {
        [first, end] if !flags.bool("range") => Some(format!(
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within next 2 seconds to \
             cancel. You can provide `--range` flag to avoid the delay.\n",
            text::quote(first),
            text::quote(end)
        )),
        _ => None,
    };
    Ok(Deletion {
        request: pb::DeleteRangeRequest { key, range_end, prev_kv: flags.bool("prev-kv") },
        warning,
    })
}

/// `l` or `s`.
pub(super) fn is_serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "s" => Ok(true),
        "l" => Ok(false),
        other => Err(Failure::new(
            Exit::BadFeature,
            format!("unknown consistency flag {}", text::quote(other.as_bytes())),
        )),
    }
}

/// The end of the range of keys that begin with `prefix`.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => ZERO.to_vec(),
    }
}

fn key_range(flags: &Parsed) -> Result<(Bytes, Bytes), Failure> {
    let (prefix, from_key) = (flags.bool("prefix"), flags.bool("from-key"));
    let key = flags.args.first().cloned().unwrap_or_default();
    let end = match flags.args.get(1) {
        Some(_) if prefix || from_key => {
            return Err(Failure::bad_args(
                "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
            ));
        }
        Some(end) => end.clone(),
        None if from_key => ZERO.to_vec(),
        None if prefix => prefix_end(&key),
        None => Vec::new(),
    };
    let key = if key.is_empty() && (prefix || from_key) { ZERO.to_vec() } else { key };
    Ok((key.into(), end.into()))
}

fn sorting(flags: &Parsed) -> Result<(SortTarget, SortOrder), Failure> {
    let bad = |what: &str, word: &str| Failure::new(Exit::BadFeature, format!("bad sort {what} {word}"));
    let (order, target) = (flags.text("order"), flags.text("sort-by"));
    let order = match order.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(bad("order", order)),
    };
    let target = match target.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(bad("target", target)),
    };
    // Keys come in order anyway; asking for it would make a server fetch all of them first.
    let order = if (target, order) == (SortTarget::Key, SortOrder::Ascend) { SortOrder::None } else { order };
    Ok((target, order))
}

fn upper_bound(flags: &Parsed, max: &str, min: &str, what: &str) -> Result<i64, Failure> {
    let (max, min) = (flags.int(max), flags.int(min));
    if max > 0 && min > max {
        return Err(Failure::new(Exit::BadFeature, format!("getMin{what}(={min}) > getMax{what}(={max})")));
    }
    Ok(max.max(0))
}

fn prefix_or_from_key() -> Failure {
    Failure::bad_args("`--prefix` and `--from-key` cannot be set at the same time, choose one")
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        for (prefix, end) in [(&b"a"[..], &b"b"[..]), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"", b"\0")] {
            assert_eq!(prefix_end(prefix), end);
        }
    }
}
