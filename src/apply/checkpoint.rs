//! The replicated state at one position, as a stream of bytes.
//!
//! ```text
//! checkpoint = "KVORUMCP", u32 version (1), section position, section cluster, section proposals,
//!              section records (any number), section end
//! section    = u8 tag, u64 length of content, content, u32 CRC-32C of tag, length and content
//!
//! 1 position   u64 applied index, u64 its term, i64 revision, i64 compacted revision,
//!              u64 number of hashes, each: u32 hash, i64 compacted revision, i64 hashed revision
//! 2 cluster    JSON: {"members":{"members":[..],"removed":[..],"changed_at":n},"alarms":[..],"version":".."}
//! 3 proposals  u64 number of origins, each: u64 member, u64 number of runs, each: u64 highest sequence,
//!              256 times u64 bits of applied sequences (`apply::proposals`)
//! 4 records    a piece of the revision log: whole records in order (`mvcc::record`)
//! 5 end        u64 number of records in all, u64 number of their bytes
//! ```
//! Fixed integers are little-endian. Nothing follows the end section. Readers of version 1 refuse any other.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use super::proposals::{Proposals, Run, WORDS};
use super::state::Cluster;
use crate::mvcc::{Frozen, HashKv, Rebuilt};
use crate::types::{LogIndex, MemberId, Revision, Term};

const MAGIC: &[u8; 8] = b"KVORUMCP";
const VERSION: u32 = 1;

/// A section's content is read in steps of this size, so that a broken length asks for no memory that no content fills.
const READ_STEP_BYTES: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Position = 1,
    Cluster = 2,
    Proposals = 3,
    Records = 4,
    End = 5,
}

impl Tag {
    fn name(self) -> &'static str {
        match self {
            Tag::Position => "position",
            Tag::Cluster => "cluster",
            Tag::Proposals => "proposals",
            Tag::Records => "records",
            Tag::End => "end",
        }
    }
}

/// The replicated state at one position, standing still. Independent of the state machine's further life.
pub struct Checkpoint {
    pub(super) index: LogIndex,
    pub(super) term: Term,
    pub(super) cluster: Arc<Cluster>,
    pub(super) proposals: Proposals,
    pub(super) space: Frozen,
}

impl Checkpoint {
    /// The last log entry in it.
    pub fn position(&self) -> (LogIndex, Term) {
        (self.index, self.term)
    }

    /// The store's revision in it.
    pub fn revision(&self) -> Revision {
        self.space.revision
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The writer's own.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        write_section(out, Tag::Position, &self.encode_position())?;
        write_section(out, Tag::Cluster, &serde_json::to_vec(&*self.cluster)?)?;
        write_section(out, Tag::Proposals, &encode_proposals(&self.proposals))?;
        let (mut records, mut bytes) = (0, 0);
        for (piece, count) in self.space.pieces() {
            write_section(out, Tag::Records, &piece)?;
            records += count;
            bytes += piece.len() as u64;
        }
        let mut end = Vec::new();
        end.put_u64_le(records);
        end.put_u64_le(bytes);
        write_section(out, Tag::End, &end)
    }

    fn encode_position(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64_le(self.index.0);
        out.put_u64_le(self.term.0);
        out.put_i64_le(self.space.revision.0);
        out.put_i64_le(self.space.compacted.0);
        out.put_u64_le(self.space.hashes.len() as u64);
        for hash in &self.space.hashes {
            out.put_u32_le(hash.hash);
            out.put_i64_le(hash.compact_revision.0);
            out.put_i64_le(hash.hash_revision.0);
        }
        out
    }
}

fn encode_proposals(proposals: &Proposals) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u64_le(proposals.runs.len() as u64);
    for (origin, runs) in &proposals.runs {
        out.put_u64_le(origin.0);
        out.put_u64_le(runs.len() as u64);
        for run in runs {
            out.put_u64_le(run.highest);
            run.applied.iter().for_each(|word| out.put_u64_le(*word));
        }
    }
    out
}

fn section_head(tag: u8, len: u64) -> [u8; 9] {
    let mut head = [tag; 9];
    head[1..].copy_from_slice(&len.to_le_bytes());
    head
}

fn write_section(out: &mut dyn Write, tag: Tag, content: &[u8]) -> io::Result<()> {
    let head = section_head(tag as u8, content.len() as u64);
    out.write_all(&head)?;
    out.write_all(content)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), content);
    out.write_all(&crc.to_le_bytes())
}

/// Why a checkpoint cannot be restored: a fault of the file or of whoever sent it.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("checkpoint cannot be read")]
    Read(#[from] io::Error),
    #[error("not a checkpoint: it begins with {found:02x?}, a checkpoint begins with {MAGIC:02x?}")]
    NotACheckpoint { found: [u8; 8] },
    #[error("checkpoint has version {found}, this server reads version {VERSION}")]
    Version { found: u32 },
    #[error("checkpoint ends within section {within}")]
    Short { within: &'static str },
    #[error("checkpoint section {section} has checksum {found:08x}, its content has {computed:08x}")]
    Checksum { section: &'static str, found: u32, computed: u32 },
    #[error("checkpoint section {section}: {reason}")]
    Content { section: &'static str, reason: String },
}

/// A checkpoint that was read and checked from the first byte to the last.
pub(super) struct Restored {
    pub(super) index: LogIndex,
    pub(super) term: Term,
    pub(super) cluster: Cluster,
    pub(super) proposals: Proposals,
    pub(super) space: Rebuilt,
}

impl Restored {
    pub(super) fn read(from: &mut dyn Read) -> Result<Self, RestoreError> {
        let mut input = Input { from };
        input.read_start()?;
        let position = input.read_section(Tag::Position)?;
        let (index, term, mut space) = read_position(position)
            .and_then(|(index, term, space)| Ok((index, term, space?)))
            .map_err(|reason| content(Tag::Position, reason))?;
        let cluster = input.read_section(Tag::Cluster)?;
        let cluster =
            serde_json::from_slice(&cluster).map_err(|error| content(Tag::Cluster, error.to_string()))?;
        let proposals = read_proposals(input.read_section(Tag::Proposals)?)
            .ok_or_else(|| content(Tag::Proposals, "wrong length".into()))?;
        input.read_records(&mut space)?;
        Ok(Restored { index, term, cluster, proposals, space })
    }
}

fn content(tag: Tag, reason: String) -> RestoreError {
    RestoreError::Content { section: tag.name(), reason }
}

struct Input<'a> {
    from: &'a mut dyn Read,
}

impl Input<'_> {
    fn read_start(&mut self) -> Result<(), RestoreError> {
        let found = self.read_array("start")?;
        if &found != MAGIC {
            return Err(RestoreError::NotACheckpoint { found });
        }
        match u32::from_le_bytes(self.read_array("start")?) {
            VERSION => Ok(()),
            found => Err(RestoreError::Version { found }),
        }
    }

    fn read_records(&mut self, space: &mut Rebuilt) -> Result<(), RestoreError> {
        let (mut records, mut bytes) = (0, 0);
        loop {
            let (tag, data) = self.read_any(&[Tag::Records, Tag::End])?;
            if tag == Tag::Records {
                bytes += data.len() as u64;
                records += space.add_piece(data).map_err(|reason| content(tag, reason))?;
                continue;
            }
            let mut expected = Vec::new();
            expected.put_u64_le(records);
            expected.put_u64_le(bytes);
            if data != expected {
                return Err(content(
                    tag,
                    format!("it does not count the {records} records of {bytes} bytes before it"),
                ));
            }
            let mut behind = [0];
            if self.from.read(&mut behind)? != 0 {
                return Err(content(tag, "something follows the end".into()));
            }
            return Ok(());
        }
    }

    fn read_section(&mut self, tag: Tag) -> Result<Bytes, RestoreError> {
        self.read_any(&[tag]).map(|(_, content)| content)
    }

    /// Reads the next section, which must be one of `tags`.
    fn read_any(&mut self, tags: &[Tag]) -> Result<(Tag, Bytes), RestoreError> {
        let within = tags[0].name();
        let [number] = self.read_array(within)?;
        let tag = tags.iter().copied().find(|tag| *tag as u8 == number);
        let tag = tag.ok_or_else(|| content(tags[0], format!("section {number} is in its place")))?;
        let len = u64::from_le_bytes(self.read_array(within)?);
        let mut data = Vec::with_capacity(len.min(READ_STEP_BYTES) as usize);
        if (&mut self.from).take(len).read_to_end(&mut data)? as u64 != len {
            return Err(RestoreError::Short { within });
        }
        let found = u32::from_le_bytes(self.read_array(within)?);
        let computed = crc32c::crc32c_append(crc32c::crc32c(&section_head(number, len)), &data);
        if found != computed {
            return Err(RestoreError::Checksum { section: tag.name(), found, computed });
        }
        Ok((tag, data.into()))
    }

    fn read_array<const N: usize>(&mut self, within: &'static str) -> Result<[u8; N], RestoreError> {
        let mut array = [0; N];
        match self.from.read_exact(&mut array) {
            Ok(()) => Ok(array),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(RestoreError::Short { within }),
            Err(error) => Err(error.into()),
        }
    }
}

fn read_position(mut data: Bytes) -> Result<(LogIndex, Term, Result<Rebuilt, String>), String> {
    let mut read = || -> Option<_> {
        let index = LogIndex(data.try_get_u64_le().ok()?);
        let term = Term(data.try_get_u64_le().ok()?);
        let revision = Revision(data.try_get_i64_le().ok()?);
        let compacted = Revision(data.try_get_i64_le().ok()?);
        let mut hashes = Vec::new();
        for _ in 0..data.try_get_u64_le().ok()? {
            hashes.push(HashKv {
                hash: data.try_get_u32_le().ok()?,
                compact_revision: Revision(data.try_get_i64_le().ok()?),
                hash_revision: Revision(data.try_get_i64_le().ok()?),
            });
        }
        data.is_empty().then(|| (index, term, Rebuilt::new(revision, compacted, hashes)))
    };
    read().ok_or_else(|| "wrong length".into())
}

fn read_proposals(mut data: Bytes) -> Option<Proposals> {
    let mut proposals = Proposals::default();
    for _ in 0..data.try_get_u64_le().ok()? {
        let origin = MemberId(data.try_get_u64_le().ok()?);
        let mut runs = Vec::new();
        for _ in 0..data.try_get_u64_le().ok()? {
            let highest = data.try_get_u64_le().ok()?;
            let mut applied = Box::new([0; WORDS]);
            for word in applied.iter_mut() {
                *word = data.try_get_u64_le().ok()?;
            }
            runs.push(Run { highest, applied });
        }
        proposals.runs.insert(origin, runs);
    }
    data.is_empty().then_some(proposals)
}
