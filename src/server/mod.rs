//! The server: everything wired together, started in order and stopped in the reverse order.
//!
//! ```text
//! flags -> Config
//!   ports open, answering "starting"         so that probes and other members get an answer at once
//!   DataDir                                  the folder is ours
//!   bootstrap -> Identity                    who am I, in which cluster; may wait for the others
//!   Wal, Checkpoints -> raft::start          what the disk holds is applied before anything is served
//!   rpc::Services, health, metrics           the ports answer for real
//!   publish                                  name and client URLs go into the member list
//!   ... until a signal, removal, or a fault
//! ```

mod compactor;
pub mod config;
mod facts;
mod peer_port;
mod port;
mod publish;
mod run;

pub use run::{Ended, Error, run};
