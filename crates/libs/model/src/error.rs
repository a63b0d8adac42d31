//! The one error type: a kind that decides the HTTP status, a public text and an internal text.

/// What went wrong, as far as a caller is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 400: malformed or invalid input.
    BadRequest,
    /// 401: no, unknown, expired or revoked credentials.
    Unauthorized,
    /// 403: known caller, refused by policy or state.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 406: microversion out of range.
    NotAcceptable,
    /// 409: the resource's state does not allow it, or a duplicate.
    Conflict,
    /// 410: the API was removed.
    Gone,
    /// 403 in Nova, 409 in Neutron: a quota would be exceeded.
    OverLimit,
    /// 413: body or resource too large.
    TooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 429: too many requests, or failed logins, of one caller.
    TooManyRequests,
    /// 416: the Range header names no byte of the resource.
    RangeNotSatisfiable,
    /// 500: no host can take the server.
    NoCapacity,
    /// 503: a part that is needed does not answer; retry later.
    Unavailable,
    /// 501.
    NotImplemented,
    /// 500: a fault of ours.
    Internal,
}

impl ErrorKind {
    /// The HTTP status of this kind; `OverLimit` is 403 as in Nova and Glance answers it 413 itself.
    pub fn http(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden | Self::OverLimit => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::TooManyRequests => 429,
            Self::NotImplemented => 501,
            Self::Unavailable => 503,
            Self::NoCapacity | Self::Internal => 500,
        }
    }

    /// Whether the same call may succeed later without any change by the caller.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::TooManyRequests)
    }

    /// The kind for a status that another service answered.
    pub fn from_http(status: u16) -> Self {
        match status {
            400 | 422 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            406 => Self::NotAcceptable,
            409 => Self::Conflict,
            410 => Self::Gone,
            413 => Self::TooLarge,
            415 => Self::UnsupportedMediaType,
            416 => Self::RangeNotSatisfiable,
            501 => Self::NotImplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// An error with what the client may read and, apart from it, what only the log may hold.
///
/// There is no `Display`, so that the internal text cannot reach an answer by accident.
#[derive(Clone, Debug)]
pub struct Error {
    /// Decides the status.
    pub kind: ErrorKind,
    /// The text a client reads.
    pub public: String,
    /// The text for our log; never sent.
    pub internal: Option<String>,
    /// The exception name where an API shows one (`NeutronError.type`).
    pub name: Option<&'static str>,
    /// For the header `Retry-After`, seconds.
    pub retry_after: Option<u32>,
    /// Glance: the text stands below webob's own for the status, not in its place.
    pub detail: bool,
}

/// `Result` with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with its public text.
    pub fn new(kind: ErrorKind, public: impl Into<String>) -> Self {
        Self { kind, public: public.into(), internal: None, name: None, retry_after: None, detail: false }
    }

    /// Adds the exception name.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Adds when to try again, seconds from now.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The text stands below webob's own for the status (Glance).
    #[must_use]
    pub fn as_detail(mut self) -> Self {
        self.detail = true;
        self
    }

    /// Adds what only the log may hold.
    #[must_use]
    pub fn with_internal(mut self, internal: impl Into<String>) -> Self {
        self.internal = Some(internal.into());
        self
    }

    /// 400.
    pub fn bad_request(public: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, public)
    }
    /// 401 with Keystone's text.
    pub fn unauthorized() -> Self {
        Self::new(ErrorKind::Unauthorized, "The request you have made requires authentication.")
    }
    /// 403.
    pub fn forbidden(public: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, public)
    }
    /// 404.
    pub fn not_found(public: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, public)
    }
    /// 409.
    pub fn conflict(public: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, public)
    }
    /// A quota would be exceeded.
    pub fn over_limit(public: impl Into<String>) -> Self {
        Self::new(ErrorKind::OverLimit, public)
    }
    /// 503; `internal` says which part failed and how.
    pub fn unavailable(internal: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, "The service is currently unavailable. Please try again later.")
            .with_internal(internal)
    }
    /// 500; `internal` says what broke.
    pub fn internal(internal: impl Into<String>) -> Self {
        Self::new(
            ErrorKind::Internal,
            "An unexpected error prevented the server from fulfilling your request.",
        )
        .with_internal(internal)
    }

    /// Both texts, for logs and for the `error` column of jobs only.
    pub fn for_log(&self) -> String {
        match &self.internal {
            Some(internal) => format!("{:?}: {} ({internal})", self.kind, self.public),
            None => format!("{:?}: {}", self.kind, self.public),
        }
    }
}
