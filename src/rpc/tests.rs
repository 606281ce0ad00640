//! The checks of requests, row by row, and the framing.

use bytes::Bytes;
use pb::request_op::Request;
use prost::Message;

use super::parse::{self, Invalid};
use crate::mvcc::{KeyRange, KeyValue, RangeResult, Sort, SortTarget};
use crate::proto::etcdserverpb as pb;
use crate::types::Revision;

fn put(key: &'static str) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestPut(put)) }
}

fn range(key: &'static str) -> pb::RequestOp {
    let range = pb::RangeRequest { key: key.into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestRange(range)) }
}

fn delete(key: &'static str, range_end: &'static str) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest { key: key.into(), range_end: range_end.into(), prev_kv: false };
    pb::RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

fn txn(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { compare: Vec::new(), success, failure }
}

fn nested(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::RequestOp {
    pb::RequestOp { request: Some(Request::RequestTxn(txn(success, failure))) }
}

fn compare(key: &'static str) -> pb::Compare {
    pb::Compare { key: key.into(), ..Default::default() }
}

fn many(count: usize) -> Vec<pb::RequestOp> {
    (0..count).map(|_| range("a")).collect()
}

#[test]
fn transactions_are_checked_as_etcd_does() {
    let duplicate = Err(Invalid::DuplicateKey);
    let too_many = Err(Invalid::TooManyOps);
    let table: Vec<(&str, pb::TxnRequest, Result<(), Invalid>)> = vec![
        ("empty", txn(vec![], vec![]), Ok(())),
        (
            "compare with an empty key",
            pb::TxnRequest { compare: vec![compare("")], ..Default::default() },
            Err(Invalid::EmptyKey),
        ),
        ("range with an empty key", txn(vec![range("")], vec![]), Err(Invalid::EmptyKey)),
        ("put with an empty key", txn(vec![], vec![put("")]), Err(Invalid::EmptyKey)),
        ("delete with an empty key", txn(vec![delete("", "")], vec![]), Err(Invalid::EmptyKey)),
        (
            "an operation that is none",
            txn(vec![pb::RequestOp { request: None }], vec![]),
            Err(Invalid::EmptyOp),
        ),
        ("two puts of one key", txn(vec![put("a"), put("a")], vec![]), duplicate),
        ("two puts of one key in the other branch", txn(vec![], vec![put("a"), put("a")]), duplicate),
        ("put in the range of a delete", txn(vec![delete("a", "c"), put("b")], vec![]), duplicate),
        ("put before the delete of its key", txn(vec![put("b"), delete("b", "")], vec![]), duplicate),
        ("put at the end of a delete", txn(vec![delete("a", "b"), put("b")], vec![]), Ok(())),
        ("put above an open delete", txn(vec![delete("a", "\0"), put("b")], vec![]), Ok(())),
        ("overlapping deletes", txn(vec![delete("a", "c"), delete("b", "d")], vec![]), Ok(())),
        ("range and put of one key", txn(vec![range("a"), put("a")], vec![]), Ok(())),
        ("one key in both branches", txn(vec![put("a")], vec![put("a")]), Ok(())),
        (
            "put in a child and its parent",
            txn(vec![nested(vec![put("a")], vec![]), put("a")], vec![]),
            duplicate,
        ),
        (
            "delete in a parent of a put",
            txn(vec![nested(vec![put("a")], vec![]), delete("a", "")], vec![]),
            duplicate,
        ),
        (
            "delete in a child of a put",
            txn(vec![nested(vec![], vec![delete("a", "b")]), put("aa")], vec![]),
            duplicate,
        ),
        (
            "one key in both branches of a child",
            txn(vec![nested(vec![put("a")], vec![put("a")])], vec![]),
            Ok(()),
        ),
        (
            "one key in two children",
            txn(vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])], vec![]),
            duplicate,
        ),
        (
            "a grandchild against its grandparent",
            txn(vec![nested(vec![nested(vec![put("a")], vec![])], vec![]), put("a")], vec![]),
            duplicate,
        ),
        ("as many as allowed", txn(many(4), vec![]), Ok(())),
        ("too many", txn(many(5), vec![]), too_many),
        ("too many in the other branch", txn(vec![], many(5)), too_many),
        (
            "too many compares",
            pb::TxnRequest { compare: vec![compare("a"); 5], ..Default::default() },
            too_many,
        ),
        ("a child has what its parent leaves", txn(vec![nested(many(3), vec![])], vec![]), Ok(())),
        ("a child has no more than that", txn(vec![nested(many(4), vec![])], vec![]), too_many),
        ("the longest list counts", txn(vec![nested(many(1), vec![])], many(4)), too_many),
        ("too many before an empty key", txn(vec![nested(many(9), vec![]), put("")], vec![]), too_many),
    ];
    for (story, request, expected) in table {
        assert_eq!(parse::txn(request, 4).map(|_| ()), expected, "{story}");
    }
}

#[test]
fn puts_are_checked_in_etcds_order() {
    let fine = pb::PutRequest { key: "a".into(), ..Default::default() };
    let with_value = pb::PutRequest { value: "v".into(), ignore_value: true, ..fine.clone() };
    let with_lease = pb::PutRequest { lease: 1, ignore_lease: true, ..fine.clone() };
    let table = [
        (fine, Ok(())),
        (with_value.clone(), Err(Invalid::ValueProvided)),
        (with_lease.clone(), Err(Invalid::LeaseProvided)),
        (pb::PutRequest { lease: 1, ignore_lease: true, ..with_value.clone() }, Err(Invalid::ValueProvided)),
        (pb::PutRequest { key: Bytes::new(), ..with_value }, Err(Invalid::EmptyKey)),
    ];
    for (request, expected) in table {
        assert_eq!(parse::put(request.clone()).map(|_| ()), expected, "{request:?}");
    }
}

#[test]
fn sort_options_are_checked_and_read() {
    let sort = |order: i32, target: i32| {
        let request = pb::RangeRequest {
            key: "a".into(),
            sort_order: order,
            sort_target: target,
            ..Default::default()
        };
        parse::range(request).map(|op| op.sort)
    };
    let by = |target, descending, after_limit| Ok(Some(Sort { target, descending, after_limit }));
    assert_eq!(sort(0, 0), Ok(None));
    assert_eq!(sort(2, 0), by(SortTarget::Key, true, false));
    assert_eq!(sort(0, 3), by(SortTarget::Mod, false, true));
    assert_eq!(sort(1, 4), by(SortTarget::Value, false, false));
    assert_eq!(sort(3, 0), Err(Invalid::SortOption));
    assert_eq!(sort(0, 5), Err(Invalid::SortOption));
    assert_eq!(sort(-1, 0), Err(Invalid::SortOption));
}

#[test]
fn ranges_have_three_special_ends() {
    let of = |key: &'static str, end: &'static str| {
        let request = pb::RangeRequest { key: key.into(), range_end: end.into(), ..Default::default() };
        parse::range(request).map(|op| op.range)
    };
    assert_eq!(of("a", ""), Ok(KeyRange::One("a".into())));
    assert_eq!(of("a", "\0"), Ok(KeyRange::From("a".into())));
    assert_eq!(of("a", "b"), Ok(KeyRange::Span("a".into(), "b".into())));
    assert_eq!(of("", "b"), Err(Invalid::EmptyKey));
}

#[test]
fn a_watch_of_the_empty_key_begins_at_the_lowest() {
    let create = pb::WatchCreateRequest { range_end: "\0".into(), filters: vec![1, 7], ..Default::default() };
    let create = parse::watch_create(create);
    assert_eq!(create.range, KeyRange::From(Bytes::from_static(b"\0")));
    assert!(create.filters.no_delete && !create.filters.no_put);
}

#[test]
fn read_only_and_local_transactions_are_told_apart() {
    let of = |request| parse::txn(request, 128).expect("the requests are right");
    let local = |key: &'static str| {
        let range = pb::RangeRequest { key: key.into(), serializable: true, ..Default::default() };
        pb::RequestOp { request: Some(Request::RequestRange(range)) }
    };
    let reads = of(txn(vec![local("a")], vec![range("b")]));
    assert!(parse::txn_is_read_only(&reads) && !parse::txn_is_serializable(&reads));
    let local_reads = of(txn(vec![local("a")], vec![]));
    assert!(parse::txn_is_read_only(&local_reads) && parse::txn_is_serializable(&local_reads));
    assert!(!parse::txn_is_read_only(&of(txn(vec![], vec![put("a")]))));
    assert!(
        !parse::txn_is_read_only(&of(txn(vec![nested(vec![], vec![])], vec![]))),
        "nested counts as a write"
    );
}

#[test]
fn peer_urls_of_a_new_member_are_checked() {
    let of = |urls: &[&str]| parse::peer_urls(&urls.iter().map(|url| url.to_string()).collect::<Vec<_>>());
    let sorted = of(&["http://b:2", " http://a:1"]).expect("both are right");
    assert_eq!(sorted.iter().map(|url| url.as_str()).collect::<Vec<_>>(), ["http://a:1", "http://b:2"]);
    for wrong in [&[][..], &["a:1"], &["http://a"], &["http://a:1/path"], &["ftp://a:1"], &["http://a:1", ""]]
    {
        assert_eq!(of(wrong), Err(Invalid::MemberUrls), "{wrong:?}");
    }
}

#[test]
fn an_answer_in_parts_is_the_answer() {
    let kvs: Vec<_> = (0..5000)
        .map(|i| KeyValue {
            key: format!("key{i}").into(),
            value: vec![b'v'; 200].into(),
            mod_revision: Revision(i),
            ..Default::default()
        })
        .collect();
    let result = RangeResult { revision: Revision(9), kvs, count: 7000, more: true };
    let header = Some(pb::ResponseHeader { member_id: 5, ..Default::default() });
    let parts = super::answer::range_in_parts(header, result.clone());
    assert!(parts.len() > 2, "a megabyte is more than one part");
    let bytes: Vec<u8> = parts.into_iter().flatten().collect();
    assert_eq!(bytes[0], 0, "not compressed");
    assert_eq!(u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize, bytes.len() - 5);
    let decoded = pb::RangeResponse::decode(&bytes[5..]).expect("a whole message");
    assert_eq!(decoded, super::answer::range(header, result));
}
