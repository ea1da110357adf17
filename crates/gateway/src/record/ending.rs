//! How requests end, and what the evidence calls it.

use admission::Denial;
use evidence::Status;

use crate::ingress::connection::Ending;
use crate::ingress::upload::Fault;

/// How a request that nobody refused ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response was relayed completely.
    Complete,
    /// An anchor was revoked.
    Revoked,
    /// The upstream broke off.
    UpstreamBroke,
    /// The upstream was silent for too long.
    UpstreamSilent,
    /// Neither side of a switched connection sent anything for too long.
    SwitchedSilent,
    /// The caller did not take the response in time.
    WriteTimeout,
    /// The request's body was longer than it may be; the answer had begun.
    RequestTooLarge,
    /// The caller took too long for the request's body; the answer had begun.
    RequestTooSlow,
    /// The request's body was malformed; the answer had begun.
    RequestMalformed,
    /// The caller was gone.
    CallerLeft,
    /// The gateway stopped.
    GatewayStopped,
}

impl End {
    /// Every end.
    pub(crate) const ALL: [Self; 11] = [
        Self::Complete,
        Self::Revoked,
        Self::UpstreamBroke,
        Self::UpstreamSilent,
        Self::SwitchedSilent,
        Self::WriteTimeout,
        Self::RequestTooLarge,
        Self::RequestTooSlow,
        Self::RequestMalformed,
        Self::CallerLeft,
        Self::GatewayStopped,
    ];

    /// What it means and what to do, for `evidence explain`.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Complete => "The response was relayed completely.",
            Self::Revoked => {
                "The authority record, its root, the session or the delegation edge behind the mandate was revoked while the \
                 response was under way; it was ended there."
            }
            Self::UpstreamBroke => "The upstream broke off within its response. Look at the upstream.",
            Self::UpstreamSilent => {
                "The upstream sent nothing for STREAM_IDLE_TIMEOUT. Have it send keep-alives, or raise the setting."
            }
            Self::SwitchedSilent => {
                "The protocol of the connection was switched, and nothing went through it for STREAM_IDLE_TIMEOUT. Have one side \
                 send pings, or raise the setting."
            }
            Self::WriteTimeout => {
                "The caller did not take the response within WRITE_TIMEOUT, or stood still in a stream."
            }
            Self::RequestTooLarge => "The request's body turned out longer than MAX_REQUEST_BYTES.",
            Self::RequestTooSlow => {
                "The caller did not finish its request body within READ_TIMEOUT of its own time."
            }
            Self::RequestMalformed => "The body was announced as chunks and is none (RFC 9112 §7.1).",
            Self::CallerLeft => "The caller was gone before the end. The mandate is spent all the same.",
            Self::GatewayStopped => {
                "The gateway was stopped and the response did not end within SHUTDOWN_GRACE: how the upstream's work ended is \
                 not known."
            }
        }
    }

    /// The word in the log.
    pub(super) fn outcome_label(self) -> &'static str {
        match self {
            Self::Complete => "allowed",
            Self::Revoked => "revoked",
            Self::UpstreamBroke | Self::UpstreamSilent => "upstream_error",
            Self::SwitchedSilent => "idle",
            Self::WriteTimeout | Self::RequestTooSlow => "too_slow",
            Self::RequestTooLarge => "too_large",
            Self::RequestMalformed => "malformed",
            Self::CallerLeft => "caller_left",
            Self::GatewayStopped => "gateway_stopped",
        }
    }

    /// The evaluation status of a crossing that ended so.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Complete | Self::Revoked | Self::SwitchedSilent => Status::Executed,
            Self::UpstreamBroke
            | Self::UpstreamSilent
            | Self::WriteTimeout
            | Self::RequestTooLarge
            | Self::RequestTooSlow
            | Self::RequestMalformed
            | Self::CallerLeft => Status::UpstreamError,
            Self::GatewayStopped => Status::Interrupted,
        }
    }

    /// What went wrong.
    pub(crate) fn error_kind(self) -> Option<&'static str> {
        match self {
            Self::Complete | Self::Revoked => None,
            Self::UpstreamBroke => Some("response_copy_failed"),
            Self::UpstreamSilent => Some("upstream_silent"),
            Self::SwitchedSilent => Some("switched_silent"),
            Self::WriteTimeout => Some("write_timeout"),
            Self::RequestTooLarge => Some(Denial::BodyTooLarge.label()),
            Self::RequestTooSlow => Some(Denial::RequestTimeout.label()),
            Self::RequestMalformed => Some(Denial::MalformedBody.label()),
            Self::CallerLeft => Some("client_cancelled"),
            Self::GatewayStopped => Some("gateway_stopped"),
        }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::CallerLeft => Self::CallerLeft,
            Ending::WriteTimeout => Self::WriteTimeout,
            Ending::Revoked => Self::Revoked,
            Ending::Stopped => Self::GatewayStopped,
            Ending::Broken => Self::UpstreamBroke,
        }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::RequestTooLarge,
            Fault::TooSlow => Self::RequestTooSlow,
            Fault::Malformed => Self::RequestMalformed,
            Fault::Revoked => Self::Revoked,
            Fault::Broken | Fault::Answered => Self::CallerLeft,
        }
    }
}

/// How the evidence names a refusal.
pub(crate) fn evidence_labels(denial: Denial, is_dispatched: bool) -> (Status, &'static str) {
    match denial {
        // Whatever the caller was told, the upstream may have acted on it.
        Denial::Revoked if is_dispatched => (Status::UpstreamError, denial.label()),
        Denial::UpstreamMismatch => (Status::UpstreamRejected, "upstream_mismatch"),
        Denial::TokenHostNotAllowed => (Status::UpstreamRejected, "provider_host_not_allowed"),
        Denial::UpstreamNotAddressable => (Status::UpstreamRejected, "upstream_not_addressable"),
        Denial::DirectiveInvalid => (Status::BuildFailed, "request_build_failed"),
        Denial::UpstreamTimeout | Denial::UpstreamUnreachable => (Status::UpstreamError, "transport_error"),
        Denial::RequestTimeout
        | Denial::MalformedBody
        | Denial::BodyTooLarge
        | Denial::UpstreamResponseInvalid => (Status::UpstreamError, denial.label()),
        Denial::Overloaded
        | Denial::HeadTooLarge
        | Denial::BadTarget
        | Denial::TargetFragment
        | Denial::TargetCharacter
        | Denial::MethodNotAllowed
        | Denial::ProtocolNotAllowed
        | Denial::AmbiguousHeaders
        | Denial::MissingBearer
        | Denial::BearerTooLarge
        | Denial::MissingRouting
        | Denial::PathTraversal
        | Denial::MalformedToken
        | Denial::Expiring
        | Denial::NotYetValid
        | Denial::MissingZone
        | Denial::UnknownZone
        | Denial::BadSignature
        | Denial::KeysUnavailable
        | Denial::RevocationStale
        | Denial::Revoked
        | Denial::NotBound
        | Denial::MissingClient
        | Denial::CircuitOpen
        | Denial::ExchangesFull
        | Denial::EvidenceUnavailable
        | Denial::Replayed
        | Denial::ReplayUnavailable
        | Denial::ExchangeRefused
        | Denial::StsTimeout
        | Denial::StsUnreachable
        | Denial::StsAnswerInvalid
        | Denial::StsRefusedGateway
        | Denial::NoDirective => (Status::Denied, denial.label()),
    }
}
