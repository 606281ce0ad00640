//! One record of the revision log: a change of one key, encoded.
//!
//! ```text
//! record = varint main, varint (sub * 2 + 1 if it is a tombstone), varint length of body, body
//! body   = protobuf mvccpb.KeyValue, fields in order, zero fields left out; a tombstone's holds the key only
//! ```
//! The body is byte for byte what etcd keeps in its bucket `key`, so hashes and exports use it as it lies.

use bytes::{BufMut, Bytes};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::op::KeyValue;
use super::revision::Stamp;
use crate::types::{LeaseId, Revision};

const KEY: u8 = 0x0a;
const CREATE: u8 = 0x10;
const MOD: u8 = 0x18;
const VERSION: u8 = 0x20;
const VALUE: u8 = 0x2a;
const LEASE: u8 = 0x30;

/// A change to be written.
pub(super) struct Draft<'a> {
    pub(super) stamp: Stamp,
    pub(super) key: &'a [u8],
    /// None: the key is deleted.
    pub(super) put: Option<DraftPut<'a>>,
}

pub(super) struct DraftPut<'a> {
    pub(super) create: Revision,
    pub(super) version: i64,
    pub(super) value: &'a [u8],
    pub(super) lease: LeaseId,
}

impl Draft<'_> {
    fn marks(&self) -> u64 {
        u64::from(self.stamp.sub) << 1 | u64::from(self.put.is_none())
    }

    fn body_len(&self) -> usize {
        let bytes_len = |len: usize| if len == 0 { 0 } else { 1 + encoded_len_varint(len as u64) + len };
        let int_len = |n: i64| if n == 0 { 0 } else { 1 + encoded_len_varint(n as u64) };
        let put_len = self.put.as_ref().map_or(0, |put| {
            int_len(put.create.0)
                + int_len(self.stamp.main.0)
                + int_len(put.version)
                + bytes_len(put.value.len())
                + int_len(put.lease.0)
        });
        bytes_len(self.key.len()) + put_len
    }

    /// Length of the whole record in bytes.
    pub(super) fn encoded_len(&self) -> usize {
        let body = self.body_len();
        encoded_len_varint(self.stamp.main.0 as u64)
            + encoded_len_varint(self.marks())
            + encoded_len_varint(body as u64)
            + body
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        encode_varint(self.stamp.main.0 as u64, out);
        encode_varint(self.marks(), out);
        encode_varint(self.body_len() as u64, out);
        put_bytes(out, KEY, self.key);
        if let Some(put) = &self.put {
            put_int(out, CREATE, put.create.0);
            put_int(out, MOD, self.stamp.main.0);
            put_int(out, VERSION, put.version);
            put_bytes(out, VALUE, put.value);
            put_int(out, LEASE, put.lease.0);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.put_u8(tag);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

fn put_int(out: &mut Vec<u8>, tag: u8, n: i64) {
    if n != 0 {
        out.put_u8(tag);
        encode_varint(n as u64, out);
    }
}

/// A record as it lies in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) stamp: Stamp,
    pub(super) tombstone: bool,
    pub(super) body: &'a [u8],
    /// Length of the whole record in bytes.
    pub(super) len: usize,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`; None when they do not hold one.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Record<'a>> {
        let mut rest = bytes;
        let main = i64::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let marks = decode_varint(&mut rest).ok()?;
        let body_len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let body = rest.get(..body_len)?;
        Some(Record {
            stamp: Stamp { main: Revision(main), sub: u32::try_from(marks >> 1).ok()? },
            tombstone: marks & 1 == 1,
            body,
            len: bytes.len() - rest.len() + body_len,
        })
    }

    /// The body's key alone.
    pub(super) fn key(&self) -> Option<&'a [u8]> {
        take_bytes(&mut { self.body }, KEY)
    }

    /// The body's fields; None when it is not one that [`Draft::encode`] wrote.
    pub(super) fn fields(&self) -> Option<Fields<'a>> {
        let mut rest = self.body;
        let key = take_bytes(&mut rest, KEY)?;
        let fields = Fields {
            key,
            create: Revision(take_int(&mut rest, CREATE)?),
            modified: Revision(take_int(&mut rest, MOD)?),
            version: take_int(&mut rest, VERSION)?,
            value: take_bytes(&mut rest, VALUE)?,
            lease: LeaseId(take_int(&mut rest, LEASE)?),
        };
        rest.is_empty().then_some(fields)
    }
}

/// The fields of a record's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) key: &'a [u8],
    pub(super) create: Revision,
    pub(super) modified: Revision,
    pub(super) version: i64,
    pub(super) value: &'a [u8],
    pub(super) lease: LeaseId,
}

impl Fields<'_> {
    /// The key-value with its bytes cut out of `whole`, in which these fields lie.
    pub(super) fn cut(&self, whole: &Bytes) -> KeyValue {
        KeyValue { value: cut(whole, self.value), ..self.cut_head(whole) }
    }

    /// The same without value and lease, as etcd answers when only keys are wanted.
    pub(super) fn cut_head(&self, whole: &Bytes) -> KeyValue {
        KeyValue {
            key: cut(whole, self.key),
            value: Bytes::new(),
            create_revision: self.create,
            mod_revision: self.modified,
            version: self.version,
            lease: self.lease,
        }
    }
}

fn cut(whole: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() { Bytes::new() } else { whole.slice_ref(part) }
}

fn take_bytes<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    if rest.first() != Some(&tag) {
        return Some(&[]);
    }
    *rest = &rest[1..];
    let len = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

fn take_int(rest: &mut &[u8], tag: u8) -> Option<i64> {
    if rest.first() != Some(&tag) {
        return Some(0);
    }
    *rest = &rest[1..];
    Some(decode_varint(rest).ok()? as i64)
}
