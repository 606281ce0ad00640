//! The replicated state machine: commands in, outcomes and events out.
//! Pure: no clock, no randomness, no I/O; the same on every member.

mod command;
pub(crate) mod codec;
mod outcome;
mod applier;
mod proposals;
mod state;
mod checkpoint;

pub use applier::{Applied, Applier};
pub use checkpoint::{Checkpoint, RestoreError};
pub use command::{Command, DecodeError, Envelope, ProposalId};
pub use outcome::{Outcome, Rejection};
pub use state::State;

#[cfg(test)]
mod tests;
