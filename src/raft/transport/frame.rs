//! Frames: the unit of everything that members say to each other.
//!
//! ```text
//! length u32   bytes after this field
//! kind   u8    what the body is; see `message`
//! id     u64   pairs an answer with its request on links that carry several at once
//! body
//! ```

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::raft::codec::bad;

/// Far above anything sent (an append is about 1 MiB, or one entry): a longer one is not a frame.
const LENGTH_MAX: usize = 1 << 30;
const HEAD: usize = 9;
const READ_AHEAD: usize = 64 << 10;
/// With less room than this a new buffer is taken. Not sooner: frames keep the buffer that they were cut from,
/// so a buffer for each read would cost its whole size for every small entry that stays in memory.
const ROOM_LEAST: usize = 4 << 10;

#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub kind: u8,
    pub id: u64,
    pub body: Bytes,
}

/// Cuts a stream of bytes into frames. Dropping a pending `next` loses nothing.
pub(super) struct FrameReader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new() }
    }

    /// The next frame.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side closed, even between two frames.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(frame);
            }
            if self.buffer.capacity() - self.buffer.len() < ROOM_LEAST {
                self.buffer.reserve(READ_AHEAD);
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection"));
            }
        }
    }

    /// A frame that is in the buffer already, if there is one.
    pub(super) fn cut(&mut self) -> io::Result<Option<Frame>> {
        let Some(length) = self.buffer.first_chunk().map(|length| u32::from_le_bytes(*length) as usize)
        else {
            return Ok(None);
        };
        if !(HEAD..=LENGTH_MAX).contains(&length) {
            return Err(bad(format!(
                "a frame of {length} bytes is announced; {HEAD} to {LENGTH_MAX} are possible"
            )));
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut body = self.buffer.split_to(length).freeze();
        let (kind, id) = (body.get_u8(), body.get_u64_le());
        Ok(Some(Frame { kind, id, body }))
    }
}

/// Appends a frame whose body is what `fill` writes.
pub(super) fn put_frame(to: &mut BytesMut, kind: u8, id: u64, fill: impl FnOnce(&mut BytesMut)) {
    let start = to.len();
    to.put_u32_le(0);
    to.put_u8(kind);
    to.put_u64_le(id);
    fill(to);
    let length = u32::try_from(to.len() - start - 4).expect("no frame comes near 4 GiB");
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut sent = BytesMut::new();
        put_frame(&mut sent, 1, 7, |body| body.put_slice(b"first"));
        put_frame(&mut sent, 2, 8, |_| {});
        let mut bytewise = tokio_test_stream(&sent);
        let mut reader = FrameReader::new(&mut bytewise);
        let first = reader.next().await.unwrap();
        assert_eq!((first.kind, first.id, first.body.as_ref()), (1, 7, b"first".as_ref()));
        let second = reader.next().await.unwrap();
        assert_eq!((second.kind, second.id, second.body.len()), (2, 8, 0));
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn an_impossible_length_is_refused() {
        let mut reader = FrameReader::new(&b"\xff\xff\xff\xff"[..]);
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// A reader that gives one byte at a time.
    fn tokio_test_stream(bytes: &[u8]) -> impl AsyncRead + Unpin {
        let pieces: Vec<_> =
            bytes.iter().map(|byte| Ok::<_, io::Error>(Bytes::copy_from_slice(&[*byte]))).collect();
        tokio_util::io::StreamReader::new(futures::stream::iter(pieces))
    }
}
