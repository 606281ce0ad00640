//! The operator: observe -> validate -> plan -> perform one step -> report.
//!
//! [`reconcile`] is one pass of that sentence. It gathers one value, [`Observed`]; makes of the
//! spec a [`Validated`] one, or says what is wrong with it; asks [`plan()`] for at most one
//! [`Step`], with the reason for it and what it waits for; has the platform perform it; and
//! publishes what [`report`] makes of all that. The next pass begins from what it finds, so a
//! restart at any point, a call that timed out but took effect, or a spec that was edited in the
//! middle needs no memory and no special case.
//!
//! `validate`, `plan` and `report` are pure: no `async`, clock, randomness or client. What does
//! I/O is `members` (asks members and changes the membership) and the platforms.
//!
//! Modules in reading order.

pub mod names;
pub mod settings;
pub mod observed;
pub mod validate;
pub mod reason;
pub mod step;
pub mod arguments;
pub mod plan;
pub mod build;
pub mod platform;
pub mod report;
pub mod members;
pub mod reconcile;
pub mod controller;

pub use names::{Addressing, MemberName};
pub use observed::{Answer, Disk, DiskMark, DiskState, Identity, Observed, Process, ProcessState};
pub use plan::{plan, surroundings};
pub use platform::{Platform, PlatformError, Report};
pub use reason::{Reason, WaitingOn};
pub use reconcile::{Pass, Reconciler};
pub use settings::Settings;
pub use step::{Launch, Plan, Step, Surroundings};
pub use validate::{Invalid, Validated, validate};
