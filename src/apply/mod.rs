//! The replicated state machine: commands in, outcomes and events out.
//! Pure: no clock, no randomness, no I/O; the same on every member.

mod command;
mod outcome;

pub use command::{Command, DecodeError, Envelope, ProposalId};
pub use outcome::{Outcome, Rejection};
