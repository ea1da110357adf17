//! Every refusal of the gateway: one enum value, one row, one answer.

mod rows;

use http::StatusCode;

/// One refusal. What the caller sees depends on this value alone; causes go to the log.
///
/// Each value has one row in [`Denial::row`], from which the answer, the metric label and
/// `docs/denials.md` come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant's meaning is the `help` of its row")]
pub enum Denial {
    Overloaded,
    HeadTooLarge,
    BadTarget,
    MethodNotAllowed,
    AmbiguousHeaders,
    BodyTooLarge,
    MissingBearer,
    BearerTooLarge,
    MissingRouting,
    PathTraversal,
    MalformedToken,
    Expiring,
    NotYetValid,
    MissingZone,
    UnknownZone,
    BadSignature,
    KeysUnavailable,
    RevocationStale,
    Revoked,
    NotBound,
    MissingClient,
    UpstreamNotAddressable,
    CircuitOpen,
    ExchangesFull,
    EvidenceUnavailable,
    Replayed,
    ReplayUnavailable,
    ExchangeRefused,
    StsTimeout,
    StsUnreachable,
    StsAnswerInvalid,
    StsRefusedGateway,
    NoDirective,
    DirectiveInvalid,
    TokenHostNotAllowed,
    UpstreamMismatch,
    MalformedBody,
    RequestTimeout,
    UpstreamTimeout,
    UpstreamUnreachable,
}

/// Where a request was refused (the stages of the specification's denial table, and
/// what lies before and after them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the gates: the listener's own bounds and the request target.
    Ingress,
    /// Request preflight.
    Preflight,
    /// Token validation.
    Token,
    /// Binding resolution.
    Binding,
    /// STS exchange, with the evidence room and the replay mark before it.
    Exchange,
    /// After the gates, while the request crosses.
    Crossing,
}

/// Everything that one refusal says.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The gate that refuses, in the order of the walk; none before and after the gates.
    pub gate: Option<u8>,
    /// Where in the walk it happens.
    pub stage: Stage,
    /// The status of the answer.
    pub status: StatusCode,
    /// The member `error` of the answer.
    pub error: &'static str,
    /// The member `error_description` of the answer.
    pub description: &'static str,
    /// The label in metrics and logs.
    pub label: &'static str,
    /// What it means and what to do, for `docs/denials.md`.
    pub help: &'static str,
}

impl Denial {
    /// Every refusal, in the order in which a request meets them.
    pub const ALL: [Self; 40] = [
        Self::Overloaded,
        Self::HeadTooLarge,
        Self::BadTarget,
        Self::MethodNotAllowed,
        Self::AmbiguousHeaders,
        Self::BodyTooLarge,
        Self::MissingBearer,
        Self::BearerTooLarge,
        Self::MissingRouting,
        Self::PathTraversal,
        Self::MalformedToken,
        Self::Expiring,
        Self::NotYetValid,
        Self::MissingZone,
        Self::UnknownZone,
        Self::BadSignature,
        Self::KeysUnavailable,
        Self::RevocationStale,
        Self::Revoked,
        Self::NotBound,
        Self::MissingClient,
        Self::UpstreamNotAddressable,
        Self::CircuitOpen,
        Self::ExchangesFull,
        Self::EvidenceUnavailable,
        Self::Replayed,
        Self::ReplayUnavailable,
        Self::ExchangeRefused,
        Self::StsTimeout,
        Self::StsUnreachable,
        Self::StsAnswerInvalid,
        Self::StsRefusedGateway,
        Self::NoDirective,
        Self::DirectiveInvalid,
        Self::TokenHostNotAllowed,
        Self::UpstreamMismatch,
        Self::MalformedBody,
        Self::RequestTimeout,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
    ];

    /// The row of this refusal.
    #[must_use]
    pub const fn row(self) -> Row {
        rows::of(self)
    }

    /// The label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        self.row().label
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_refusal_is_listed_once_with_a_label_of_its_own() {
        let all: HashSet<_> = Denial::ALL.iter().collect();
        let labels: HashSet<_> = Denial::ALL.iter().map(|denial| denial.label()).collect();
        assert_eq!(all.len(), Denial::ALL.len());
        assert_eq!(labels.len(), Denial::ALL.len());
        // The last variant's discriminant counts the variants: none is missing from the list.
        assert_eq!(Denial::UpstreamUnreachable as usize + 1, Denial::ALL.len());
    }

    #[test]
    fn an_unknown_zone_answers_exactly_as_a_bad_signature() {
        let (zone, signature) = (Denial::UnknownZone.row(), Denial::BadSignature.row());
        assert_eq!(
            (zone.status, zone.error, zone.description),
            (signature.status, signature.error, signature.description)
        );
    }
}
