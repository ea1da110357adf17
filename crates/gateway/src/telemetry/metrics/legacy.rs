//! What a refusal adds to the counters that existing dashboards and alerts read.

use admission::Denial;

/// The counter for each cause, and what else a refusal counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    MissingAuth,
    BadBearer,
    Expiring,
    BadRouting,
    PathTraversal,
    Signature,
    JtiReplay,
    Revoked,
    RevocationStale,
    Binding,
    /// A fault of the STS or of the way to it.
    StsFault,
    /// A fault of the upstream or of the way to it.
    UpstreamFault,
    /// Only `denials_total` has a place for it.
    Unnamed,
}

/// The cause of a refusal. Without a wildcard, so that a new refusal has to be placed.
pub(super) const fn cause(denial: Denial) -> Cause {
    match denial {
        Denial::MissingBearer => Cause::MissingAuth,
        Denial::BearerTooLarge | Denial::MalformedToken | Denial::NotYetValid => Cause::BadBearer,
        Denial::Expiring => Cause::Expiring,
        Denial::BadTarget
        | Denial::TargetFragment
        | Denial::TargetCharacter
        | Denial::MethodNotAllowed
        | Denial::ProtocolNotAllowed
        | Denial::AmbiguousHeaders
        | Denial::MissingRouting
        | Denial::MissingZone
        | Denial::MissingClient => Cause::BadRouting,
        Denial::PathTraversal => Cause::PathTraversal,
        Denial::UnknownZone | Denial::BadSignature | Denial::KeysUnavailable => Cause::Signature,
        Denial::Replayed | Denial::ReplayUnavailable => Cause::JtiReplay,
        Denial::Revoked => Cause::Revoked,
        Denial::RevocationStale => Cause::RevocationStale,
        Denial::NotBound => Cause::Binding,
        Denial::StsTimeout
        | Denial::StsUnreachable
        | Denial::StsAnswerInvalid
        | Denial::StsRefusedGateway => Cause::StsFault,
        Denial::UpstreamTimeout | Denial::UpstreamUnreachable | Denial::UpstreamResponseInvalid => {
            Cause::UpstreamFault
        }
        // A refused exchange is a fault of the STS only with a server error, which its status shows. An open
        // circuit has a counter of its own. A slow upload is the caller's fault, not the upstream's.
        Denial::Overloaded
        | Denial::HeadTooLarge
        | Denial::BodyTooLarge
        | Denial::UpstreamNotAddressable
        | Denial::CircuitOpen
        | Denial::ExchangesFull
        | Denial::EvidenceUnavailable
        | Denial::ExchangeRefused
        | Denial::NoDirective
        | Denial::DirectiveInvalid
        | Denial::TokenHostNotAllowed
        | Denial::UpstreamMismatch
        | Denial::MalformedBody
        | Denial::RequestTimeout => Cause::Unnamed,
    }
}
