//! Every refusal of the gateway: one enum value, one row, one answer.

use http::StatusCode;

/// One refusal. What the caller sees depends on this value alone; causes go to the log.
///
/// Each value has one row in [`Denial::row`], from which the answer, the metric label and
/// `docs/denials.md` come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant's meaning is the `help` of its row")]
pub enum Denial {
    Overloaded,
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

const fn row(
    stage: Stage,
    status: StatusCode,
    error: &'static str,
    description: &'static str,
    label: &'static str,
    help: &'static str,
) -> Row {
    Row {
        stage,
        status,
        error,
        description,
        label,
        help,
    }
}

impl Denial {
    /// Every refusal, in the order in which a request meets them.
    pub const ALL: [Self; 38] = [
        Self::Overloaded,
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
        Self::RequestTimeout,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
    ];

    /// The row of this refusal.
    #[must_use]
    pub const fn row(self) -> Row {
        use Stage::{Binding, Crossing, Exchange, Ingress, Preflight, Token};
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
        const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const GATEWAY_TIMEOUT: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        match self {
            Self::Overloaded => row(
                Ingress,
                UNAVAILABLE,
                "overloaded",
                "gateway overloaded",
                "overloaded",
                "More connections or requests in flight than this replica takes. Retry after the given time; raise MAX_CONNECTIONS or MAX_INFLIGHT_REQUESTS, or add replicas.",
            ),
            Self::BadTarget => row(
                Ingress,
                BAD_REQUEST,
                "invalid_request",
                "request target does not match host",
                "bad_target",
                "The authority in the request line or `:authority` differs from `Host`, or the target is neither a path nor such an authority.",
            ),
            Self::MethodNotAllowed => row(
                Ingress,
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "method not allowed",
                "method_not_allowed",
                "CONNECT, TRACE and `OPTIONS *` are never proxied.",
            ),
            Self::AmbiguousHeaders => row(
                Preflight,
                BAD_REQUEST,
                "invalid_token",
                "ambiguous request headers",
                "ambiguous_headers",
                "`Authorization`, `X-Caracal-Resource` or `Host` occurs more than once, or a header name spells a reserved name with `_`. Send each once, with `-`.",
            ),
            Self::BodyTooLarge => row(
                Preflight,
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "request body too large",
                "body_too_large",
                "The body is longer than MAX_REQUEST_BYTES. A declared length is refused before the mandate is spent.",
            ),
            Self::MissingBearer => row(
                Preflight,
                UNAUTHORIZED,
                "invalid_token",
                "missing bearer token",
                "missing_bearer",
                "Send the mandate as `Authorization: Bearer <mandate>`.",
            ),
            Self::BearerTooLarge => row(
                Preflight,
                UNAUTHORIZED,
                "invalid_token",
                "bearer token too large",
                "bearer_too_large",
                "The bearer is longer than 4096 bytes.",
            ),
            Self::MissingRouting => row(
                Preflight,
                BAD_REQUEST,
                "invalid_token",
                "missing routing headers",
                "missing_routing",
                "Name the resource in `X-Caracal-Resource`: 1 to 256 printable bytes.",
            ),
            Self::PathTraversal => row(
                Preflight,
                BAD_REQUEST,
                "invalid_token",
                "path traversal not permitted",
                "path_traversal",
                "The path holds a `.` or `..` part, a backslash, NUL or control byte, plainly or behind up to two percent-encodings.",
            ),
            Self::MalformedToken => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "malformed bearer token",
                "malformed_token",
                "Not a compact JWS with `alg` ES256, a `kid`, no `crit`, one claims object without duplicate names, an integer `exp`; or a single-use mandate without `jti` or with more than 24 h left.",
            ),
            Self::Expiring => row(
                Token,
                UNAUTHORIZED,
                "credential_expired_not_renewable",
                "credential expiring within pre-flight window",
                "expiring",
                "The mandate expires within PREFLIGHT_WINDOW (35 s by default). Mint a fresh one for each call.",
            ),
            Self::NotYetValid => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "bearer token not yet valid",
                "not_yet_valid",
                "`nbf` lies more than 30 s ahead. Check the clocks of the STS and of this host.",
            ),
            Self::MissingZone => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "missing token zone",
                "missing_zone",
                "The claim `zone_id` is missing or does not match `[A-Za-z0-9._:-]{1,128}`.",
            ),
            Self::UnknownZone => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "bearer signature invalid",
                "unknown_zone",
                "The zone has no binding. Answered like a bad signature, and nothing is fetched for it.",
            ),
            Self::BadSignature => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "bearer signature invalid",
                "bad_signature",
                "The ES256 signature does not verify under the zone's keys, or the `kid` is not among them.",
            ),
            Self::KeysUnavailable => row(
                Token,
                UNAVAILABLE,
                "authority_unavailable",
                "signing keys unavailable",
                "keys_unavailable",
                "The zone's JWKS cannot be had from the STS and no usable copy is left.",
            ),
            Self::RevocationStale => row(
                Token,
                UNAVAILABLE,
                "authority_unavailable",
                "revocation state unavailable",
                "revocation_stale",
                "No contact with the revocation streams for 70 s, or no snapshot within REVOCATION_SNAPSHOT_MAX_AGE. Check Redis and PostgreSQL.",
            ),
            Self::Revoked => row(
                Token,
                UNAUTHORIZED,
                "invalid_token",
                "session revoked",
                "revoked",
                "The authority record, its root, the session or the delegation edge behind the mandate is revoked.",
            ),
            Self::NotBound => row(
                Binding,
                FORBIDDEN,
                "access_denied",
                "resource not configured",
                "not_bound",
                "No binding for this zone and resource. Check the spelling of `X-Caracal-Resource` and the binding in the console.",
            ),
            Self::MissingClient => row(
                Binding,
                UNAUTHORIZED,
                "invalid_token",
                "missing token client",
                "missing_client",
                "The installation has no binding table and the claim `client_id` is missing or malformed.",
            ),
            Self::UpstreamNotAddressable => row(
                Binding,
                BAD_GATEWAY,
                "internal_error",
                "upstream not addressable",
                "upstream_not_addressable",
                "The egress guard refused the bound upstream URL or one of its addresses. See ALLOW_PRIVATE_UPSTREAMS and UPSTREAM_HOST_ALLOWLIST.",
            ),
            Self::CircuitOpen => row(
                Exchange,
                UNAVAILABLE,
                "sts_unavailable",
                "sts unavailable",
                "circuit_open",
                "The STS failed repeatedly and is left alone for about ten seconds.",
            ),
            Self::ExchangesFull => row(
                Exchange,
                UNAVAILABLE,
                "sts_unavailable",
                "sts unavailable",
                "exchanges_full",
                "STS_MAX_INFLIGHT exchanges are under way, or one zone holds half of them.",
            ),
            Self::EvidenceUnavailable => row(
                Exchange,
                UNAVAILABLE,
                "authority_unavailable",
                "audit evidence unavailable",
                "evidence_unavailable",
                "The evidence spool is full or cannot be written. Check AUDIT_REPLAY_DIR, AUDIT_SPOOL_MAX_BYTES and Redis.",
            ),
            Self::Replayed => row(
                Exchange,
                UNAUTHORIZED,
                "invalid_token",
                "token replay detected",
                "replayed",
                "The single-use mandate was presented before. Mint a fresh one for each call.",
            ),
            Self::ReplayUnavailable => row(
                Exchange,
                UNAVAILABLE,
                "authority_unavailable",
                "replay store unavailable",
                "replay_unavailable",
                "Redis did not answer within REPLAY_TIMEOUT. The mandate is not spent.",
            ),
            Self::ExchangeRefused => row(
                Exchange,
                FORBIDDEN,
                "access_denied",
                "exchange refused",
                "exchange_refused",
                "The STS refused the exchange. Its own status, `error` and `error_description` are passed on.",
            ),
            Self::StsTimeout => row(
                Exchange,
                GATEWAY_TIMEOUT,
                "sts_unavailable",
                "sts timeout",
                "sts_timeout",
                "The STS did not answer within STS_TIMEOUT.",
            ),
            Self::StsUnreachable => row(
                Exchange,
                BAD_GATEWAY,
                "sts_unavailable",
                "sts unavailable",
                "sts_unreachable",
                "No connection to the STS, or it broke off.",
            ),
            Self::StsAnswerInvalid => row(
                Exchange,
                BAD_GATEWAY,
                "sts_unavailable",
                "sts response invalid",
                "sts_answer_invalid",
                "The STS answered with a redirect, another media type, malformed JSON, no token, or more than 256 KiB.",
            ),
            Self::StsRefusedGateway => row(
                Exchange,
                UNAVAILABLE,
                "sts_unavailable",
                "sts refused the gateway",
                "sts_refused_gateway",
                "The STS does not accept this gateway's own signature. Compare GATEWAY_STS_HMAC_KEY and the clocks.",
            ),
            Self::NoDirective => row(
                Exchange,
                FORBIDDEN,
                "access_denied",
                "resource upstream not configured",
                "no_directive",
                "The STS granted the exchange but named no upstream for the resource.",
            ),
            Self::DirectiveInvalid => row(
                Exchange,
                BAD_GATEWAY,
                "internal_error",
                "upstream directive invalid",
                "directive_invalid",
                "The STS's upstream directive has an unknown mode, a reserved credential header, no parameter name or an unusable credential.",
            ),
            Self::TokenHostNotAllowed => row(
                Exchange,
                BAD_GATEWAY,
                "internal_error",
                "provider credential not allowed for upstream host",
                "token_host_not_allowed",
                "The provider restricts its credential to hosts that do not include the upstream's.",
            ),
            Self::UpstreamMismatch => row(
                Exchange,
                BAD_GATEWAY,
                "internal_error",
                "upstream not addressable",
                "upstream_mismatch",
                "The STS's directive names another origin than the binding, also after the binding was read afresh.",
            ),
            Self::RequestTimeout => row(
                Crossing,
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request",
                "request body timeout",
                "request_timeout",
                "The caller did not finish its request body within READ_TIMEOUT of its own time.",
            ),
            Self::UpstreamTimeout => row(
                Crossing,
                GATEWAY_TIMEOUT,
                "internal_error",
                "upstream timeout",
                "upstream_timeout",
                "The upstream sent no response head within UPSTREAM_TIMEOUT, or could not be connected to in time. The setting should exceed the upstream's P99.",
            ),
            Self::UpstreamUnreachable => row(
                Crossing,
                BAD_GATEWAY,
                "internal_error",
                "upstream unreachable",
                "upstream_unreachable",
                "The upstream refused the connection, its TLS failed, or it broke off before a response head.",
            ),
        }
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
