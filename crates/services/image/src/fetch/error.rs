//! Why a fetch failed: what a client may know, and what only the log may.

use ferrostack_model::{Error, ErrorKind};

/// Why a fetch failed.
#[derive(Debug)]
pub enum Failure {
    /// No answer, or none that was asked for: a closed port, a filtered one, an address that may not be reached, a name
    /// that is not known, a certificate that is not right. A client is told the same of all of them, and not earlier
    /// of one than of another, so that nobody can find out by us what is inside (CVE-2017-7200).
    Unreachable(String),
    /// The server answered, but not with data.
    Status(u16),
    /// More than so many bytes.
    TooLarge(u64),
    /// The data ended early, or did not come for too long.
    Broken(String),
}

impl Failure {
    /// What the client may read.
    pub fn public(&self) -> String {
        match self {
            Self::Unreachable(_) => "The data could not be fetched from the given address.".into(),
            Self::Status(code) => format!("The server of the data answered {code}."),
            Self::TooLarge(limit) => {
                format!("The incoming image is too large: the limit is {limit} bytes.")
            }
            Self::Broken(_) => "The data ended early.".into(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::TooLarge(_) => ErrorKind::TooLarge,
            _ => ErrorKind::BadRequest,
        };
        let error = Self::new(kind, failure.public());
        match failure {
            Failure::Unreachable(why) | Failure::Broken(why) => error.with_internal(why),
            _ => error,
        }
    }
}

/// An error with all its causes, for the log. No URL is in it: it may hold a signature.
pub(super) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
