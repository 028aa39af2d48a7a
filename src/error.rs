//! The crate's error: what stops a request, or a start, and what the client may do about it.
//!
//! A broken rule in uploaded media is not an error but a finding; it is recorded with the upload.

use std::error::Error as StdError;
use std::fmt;

/// What kind of trouble it is. Closed: `http::problem` maps every kind to one status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is wrong; sending it again unchanged fails again.
    Invalid,
    /// The body is well-formed but not of the shape the route takes.
    Shape,
    /// The route needs a token and none (or a wrong one) was sent.
    Unidentified,
    /// The peer is known and may not do this, or needs a client certificate.
    Forbidden,
    /// There is no such stream, object, certificate or upload.
    NotFound,
    /// The request collides with something that is there.
    Conflict,
    /// Media came before the header of its track.
    HeaderMissing,
    /// The body, the path or a count exceeds its limit.
    TooLarge,
    /// The encoding or media type is not handled.
    Unsupported,
    /// The client stopped sending.
    TimedOut,
    /// Too many wrong tokens; trying again later, with the right one, helps.
    Throttled,
    /// A limit of the server is reached; trying again later helps.
    Busy,
    /// The disk is (nearly) full.
    StorageFull,
    /// The client went away before the request was whole.
    Disconnected,
    /// Our own failure. The chain goes to the log, never to the client.
    Internal,
}

impl Kind {
    /// The HTTP status that says it to a client, and that an upload's record keeps.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Shape => 422,
            Self::Unidentified => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::HeaderMissing => 412,
            Self::TooLarge => 413,
            Self::Unsupported => 415,
            Self::TimedOut => 408,
            Self::Throttled => 429,
            Self::Busy => 503,
            Self::StorageFull => 507,
            Self::Disconnected => 400,
            Self::Internal => 500,
        }
    }

    /// One word for problem types and metrics; never reused for another meaning.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Shape => "shape",
            Self::Unidentified => "unidentified",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::HeaderMissing => "header-missing",
            Self::TooLarge => "too-large",
            Self::Unsupported => "unsupported",
            Self::TimedOut => "timed-out",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::StorageFull => "storage-full",
            Self::Disconnected => "disconnected",
            Self::Internal => "internal",
        }
    }
}

/// An error with its kind, a message for the client (but for [`Kind::Internal`]) and its cause.
pub struct Error {
    kind: Kind,
    message: String,
    reasons: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`. The message is lower case, without full stop, and says what to change.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            reasons: Vec::new(),
            source: None,
        }
    }

    /// Our own failure while doing `what`.
    pub fn internal(
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::new(Kind::Internal, what).because(source)
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds the sentences of the rules an upload broke.
    #[must_use]
    pub fn with_reasons(mut self, reasons: Vec<String>) -> Self {
        self.reasons = reasons;
        self
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// One sentence for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The sentences of the broken rules; empty for all but rejected uploads.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// The message and every cause, in one line, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(next) = cause {
            line.push_str(": ");
            line.push_str(&next.to_string());
            cause = next.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}
