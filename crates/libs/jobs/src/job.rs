//! A job as a step sees it.

use ferrostack_model::{Error, ErrorKind, Result, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Goes forward (or waits).
    Active,
    /// A step failed for good: going back.
    Undoing,
    /// Every step is done.
    Done,
    /// Undone after a failure.
    Failed,
    /// Another job took its target over.
    Superseded,
}

impl State {
    /// The text in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
    pub(crate) fn parse(text: &str) -> Result<Self> {
        [Self::Active, Self::Undoing, Self::Done, Self::Failed, Self::Superseded]
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| Error::internal(format!("unknown job state {text}")))
    }
    /// Whether a runner has nothing left to do.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Superseded)
    }
}

/// A claimed job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Id; messages to others carry it.
    pub id: String,
    /// Which [`crate::JobKind`].
    pub kind: String,
    /// What it works on: a server id.
    pub target: String,
    /// Where it stands.
    pub state: State,
    /// Name of the present step.
    pub step: String,
    /// What earlier steps found out.
    pub data: Value,
    /// Failed runs of the present step since it was entered.
    pub attempt: i64,
    /// When the present run was due.
    pub run_after: Timestamp,
    /// Fencing number of this claim.
    pub generation: i64,
    /// The API request that made it.
    pub request_id: Option<String>,
    /// Why it is being undone: what was logged.
    pub error: Option<String>,
    /// The same as an error, with its public text.
    pub failure: Option<Error>,
    /// The latest answer from outside, if it came since the step last looked.
    pub inbox: Option<Value>,
    pub(crate) inbox_seq: i64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Job {
    /// The data as its type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.data.clone())
            .map_err(|e| Error::internal(format!("job {} ({}): data: {e}", self.id, self.kind)))
    }
    /// The inbox as its type; `None` if empty or of another kind.
    pub fn answer<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.inbox.clone()?).ok()
    }
    /// What the `error` column holds: kind, public and internal text.
    pub(crate) fn encode_failure(&self) -> Result<Option<String>> {
        self.failure
            .as_ref()
            .map(|e| Self::encode(&(e.kind.http(), &e.public, e.internal.as_deref())))
            .transpose()
    }
    pub(crate) fn decode_failure(text: &str) -> Error {
        match serde_json::from_str::<(u16, String, Option<String>)>(text) {
            Ok((code, public, internal)) => {
                Error { internal, ..Error::new(ErrorKind::from_http(code), public) }
            }
            Err(_) => Error::internal(text),
        }
    }
    pub(crate) fn encode<T: Serialize>(value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(|e| Error::internal(format!("job data: {e}")))
    }
}
