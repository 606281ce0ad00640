//! What can become of a call, as a caller must tell it apart: not sent, answered with an error, or unknown.

use std::time::Duration;

pub use tonic::Code;

/// Why a call brought no answer of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A client needs at least one endpoint.
    #[error("no endpoint was given")]
    NoEndpoint,

    /// The endpoint's text cannot be used.
    #[error("endpoint {endpoint:?}: {reason}")]
    BadEndpoint { endpoint: String, reason: String },

    /// The request is larger than this client sends. Nothing was sent.
    #[error("request of {size} bytes is larger than the limit of {limit} bytes")]
    TooLarge { size: usize, limit: usize },

    /// No connection could be made. Nothing was sent.
    #[error("{endpoint} cannot be reached: {reason}")]
    Unreachable { endpoint: String, reason: String },

    /// A member answered with an error, or the connection broke while it had the request (then the code is
    /// [`Code::Unavailable`], [`Code::Unknown`] or [`Code::Internal`] and the text is not etcd's).
    #[error("{text}")]
    Answered { endpoint: String, code: Code, text: String },

    /// The call's time ran out: a write may or may not take effect. `last` tells what happened last.
    #[error("no answer within {after:?}{}", last.as_deref().map(|last| format!(" (last: {last})")).unwrap_or_default())]
    Deadline { after: Duration, last: Option<Box<Error>> },

    /// An HTTP answer that is not what the path promises.
    #[error("{endpoint}{path}: {reason}")]
    Http { endpoint: String, path: String, reason: String },
}

impl Error {
    /// The code that a member answered with.
    pub fn code(&self) -> Option<Code> {
        match self {
            Error::Answered { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The text that a member answered with, such as `etcdserver: no leader`.
    pub fn text(&self) -> Option<&str> {
        match self {
            Error::Answered { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is certain that no member has seen the request.
    pub fn is_unsent(&self) -> bool {
        match self {
            Error::NoEndpoint
            | Error::BadEndpoint { .. }
            | Error::TooLarge { .. }
            | Error::Unreachable { .. } => true,
            Error::Deadline { last: Some(last), .. } => last.is_unsent(),
            Error::Deadline { last: None, .. } | Error::Answered { .. } | Error::Http { .. } => false,
        }
    }
}
