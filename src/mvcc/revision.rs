//! The place of one change in history, and the bytes that etcd files it under.

use crate::types::Revision;

/// The place of one change: the revision of its transaction, and its number within it from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp {
    pub(super) main: Revision,
    pub(super) sub: u32,
}

impl Stamp {
    /// The key of this change in etcd's bucket `key`: eight bytes big-endian main, `_`, eight bytes
    /// big-endian sub, and `t` when the change is a tombstone (`storage/mvcc/revision.go`).
    pub(super) fn bucket_key(self, tombstone: bool) -> BucketKey {
        let mut bytes = [0; 18];
        bytes[..8].copy_from_slice(&self.main.0.to_be_bytes());
        bytes[8] = b'_';
        bytes[9..17].copy_from_slice(&u64::from(self.sub).to_be_bytes());
        bytes[17] = b't';
        BucketKey { bytes, len: if tombstone { 18 } else { 17 } }
    }
}

/// See [`Stamp::bucket_key`].
pub(super) struct BucketKey {
    bytes: [u8; 18],
    len: usize,
}

impl BucketKey {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_key_is_what_etcd_writes() {
        let stamp = Stamp { main: Revision(0x0102), sub: 3 };
        assert_eq!(stamp.bucket_key(false).as_bytes(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(stamp.bucket_key(true).as_bytes(), b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03t");
    }
}
