//! What the test binaries share: real servers as processes of their own, and the means to judge them.
//!
//! A test is a [`bench::story`]: it gets a [`bench::Bench`] with a folder of its own, starts
//! [`member::Member`]s or a whole [`cluster::Cluster`] on addresses of its own, and is bounded in time.
//! Whatever happens, its processes end and its folder goes; when it fails, the last log lines of every
//! member are shown. [`load`] writes and reads all the while, and [`history`] judges what it was told.

pub(crate) mod address;
pub(crate) mod bench;
pub(crate) mod cluster;
pub(crate) mod history;
pub(crate) mod load;
pub(crate) mod member;
pub(crate) mod process;
pub(crate) mod tools;
pub(crate) mod wait;
