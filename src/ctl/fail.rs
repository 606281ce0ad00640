//! How a command ends when it does not succeed: exit code and last line on standard error, as etcdctl has them.

use crate::client::{Code, Error};

/// Exit codes that scripts test for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The call or the command failed.
    Failed = 1,
    /// The client could not be made.
    BadConnection = 2,
    /// Text read from standard input cannot be understood.
    InvalidInput = 3,
    /// A flag has a value that is not supported.
    BadFeature = 4,
    /// A watch was ended by the server.
    Interrupted = 5,
    /// Arguments are wrong or missing.
    BadArgs = 128,
}

/// The end of a command that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub exit: Exit,
    /// Whole lines for standard error; empty when everything was said already.
    pub text: String,
}

impl Failure {
    /// The usual last line.
    pub(super) fn new(exit: Exit, text: impl std::fmt::Display) -> Failure {
        Failure { exit, text: format!("Error: {text}\n") }
    }

    pub(super) fn bad_args(text: impl std::fmt::Display) -> Failure {
        Failure::new(Exit::BadArgs, text)
    }

    pub(super) fn silent(exit: Exit) -> Failure {
        Failure { exit, text: String::new() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = match error {
            Error::BadEndpoint { .. } => Exit::BadArgs,
            Error::NoEndpoint => Exit::BadConnection,
            _ => Exit::Failed,
        };
        Failure::new(exit, describe(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Failed, error)
    }
}

/// The error in the words of other etcd clients: etcd's own errors are their text alone, others carry their code.
pub(super) fn describe(error: &Error) -> String {
    match error {
        Error::NoEndpoint => "etcdclient: no available endpoints".to_owned(),
        Error::Deadline { .. } => "context deadline exceeded".to_owned(),
        Error::TooLarge { size, limit } => status(
            Code::ResourceExhausted,
            &format!("trying to send message larger than max ({size} vs. {limit})"),
        ),
        Error::Answered { text, .. } if is_etcd_text(text) => text.clone(),
        Error::Answered { code: Code::DeadlineExceeded, .. } => "context deadline exceeded".to_owned(),
        Error::Answered { code, text, .. } => status(*code, text),
        Error::BadEndpoint { .. } | Error::Unreachable { .. } | Error::Http { .. } => error.to_string(),
    }
}

fn status(code: Code, text: &str) -> String {
    let name = match code {
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {name} desc = {text}")
}

/// Clients know etcd's errors by their text. Those that a server passes on from its inside, though they begin
/// alike, are not among them.
fn is_etcd_text(text: &str) -> bool {
    text.starts_with("etcdserver: ") && !UNKNOWN_TO_CLIENTS.contains(&text)
}

const UNKNOWN_TO_CLIENTS: [&str; 1] = ["etcdserver: not enough started members"];
