//! The only room that opens data files: the write-ahead log, checkpoints, and small durable documents.
//!
//! ```text
//! DATA-DIR/lock                      held while a server runs on the folder
//! DATA-DIR/member/identity.json      who this member is (written by `bootstrap`)
//! DATA-DIR/member/wal/               segments of the log (or --wal-dir)
//! DATA-DIR/member/snap/              checkpoints of the replicated state
//! ```
//!
//! What always holds: a file under its final name is complete and synced, and so is the folder entry
//! that names it. An fsync error is never retried, for the kernel may have dropped the pages
//! (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020); it poisons the log and stops the member.

pub mod checkpoint;
mod data_dir;
mod document;
pub mod fs;
#[cfg(test)]
mod fs_forgetful;
pub mod wal;

pub use checkpoint::Checkpoints;
pub use data_dir::{DataDir, OpenError};
pub use document::{read_json, write_json_durably};
