//! A refused request.

use std::borrow::Cow;

use http::StatusCode;

/// What the STS answers instead of a token: `{"error", "error_description", "requestId"}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {error}: {description}")]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// `error`.
    pub error: &'static str,
    /// `error_description`.
    pub description: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        error: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            error,
            description: description.into(),
        }
    }

    /// 400: the form itself is at fault.
    pub(crate) fn form(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_token", description)
    }

    /// 401: the caller is not who it says.
    pub(crate) fn caller(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "access_denied", description)
    }

    /// 401: the presented mandate does not hold.
    pub(crate) fn subject() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "invalid subject_token")
    }

    /// 403: everything holds, and still no.
    pub(crate) fn denied(description: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// 500: the cryptographic library or the JSON writer failed.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "token issuance failed",
        )
    }
}
