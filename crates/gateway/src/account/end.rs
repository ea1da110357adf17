//! How requests end, and what the evidence calls it.

use admission::Denial;
use evidence::Status;

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was relayed completely.
    Complete,
    /// An anchor was revoked.
    Revoked,
    /// The upstream broke off.
    UpstreamBroke,
    /// The upstream was silent for too long.
    UpstreamSilent,
    /// A fixed-length response took too long.
    TooSlow,
    /// The request's body was longer than it may be; the answer had begun.
    RequestTooLarge,
    /// The caller took too long for the request's body; the answer had begun.
    RequestTooSlow,
    /// The caller was gone.
    CallerLeft,
    /// The gateway stopped and ended an event stream.
    GatewayStopped,
}

impl End {
    pub(super) fn outcome_label(self) -> &'static str {
        match self {
            Self::Complete => "allowed",
            Self::Revoked => "revoked",
            Self::UpstreamBroke | Self::UpstreamSilent => "upstream_error",
            Self::TooSlow | Self::RequestTooSlow => "too_slow",
            Self::RequestTooLarge => "too_large",
            Self::CallerLeft => "caller_left",
            Self::GatewayStopped => "gateway_stopped",
        }
    }

    pub(super) fn status(self) -> Status {
        match self {
            Self::Complete | Self::Revoked => Status::Executed,
            Self::UpstreamBroke
            | Self::UpstreamSilent
            | Self::TooSlow
            | Self::RequestTooLarge
            | Self::RequestTooSlow
            | Self::CallerLeft => Status::UpstreamError,
            Self::GatewayStopped => Status::Interrupted,
        }
    }

    pub(super) fn error_kind(self) -> Option<&'static str> {
        match self {
            Self::Complete | Self::Revoked => None,
            Self::UpstreamBroke => Some("response_copy_failed"),
            Self::UpstreamSilent => Some("upstream_silent"),
            Self::TooSlow => Some("write_timeout"),
            Self::RequestTooLarge => Some(Denial::BodyTooLarge.label()),
            Self::RequestTooSlow => Some(Denial::RequestTimeout.label()),
            Self::CallerLeft => Some("client_cancelled"),
            Self::GatewayStopped => Some("gateway_stopped"),
        }
    }
}

/// How the evidence names a refusal.
pub(super) fn evidence_labels(denial: Denial) -> (Status, &'static str) {
    match denial {
        Denial::UpstreamMismatch => (Status::UpstreamRejected, "upstream_mismatch"),
        Denial::TokenHostNotAllowed => (Status::UpstreamRejected, "provider_host_not_allowed"),
        Denial::UpstreamNotAddressable => (Status::UpstreamRejected, "upstream_not_addressable"),
        Denial::DirectiveInvalid => (Status::BuildFailed, "request_build_failed"),
        Denial::UpstreamTimeout | Denial::UpstreamUnreachable => (Status::UpstreamError, "transport_error"),
        Denial::RequestTimeout | Denial::MalformedBody | Denial::BodyTooLarge => {
            (Status::UpstreamError, denial.label())
        }
        other => (Status::Denied, other.label()),
    }
}
