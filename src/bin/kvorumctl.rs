//! `kvorumctl`, the command-line client; under the name `etcdctl` it is a drop-in for it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kvorum::ctl::run(std::env::args_os()))
}
