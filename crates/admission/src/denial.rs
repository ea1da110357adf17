//! Every refusal of the gateway: one enum value, one row, one answer.

use http::StatusCode;

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

/// Makes the enum, its list and its rows of one table: name, gate, stage, status, `error`,
/// `error_description`, label and help.
macro_rules! denials {
    ($($name:ident, $gate:expr, $stage:ident, $status:ident, $error:literal, $description:literal, $label:literal,
        $help:literal;)*) => {
        /// One refusal. What the caller sees depends on this value alone; causes go to the log.
        ///
        /// Each value has one row, from which the answer, the metric label and `docs/denials.md` come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Denial {
            $(#[doc = $help] $name,)*
        }

        impl Denial {
            /// Every refusal, in the order in which a request meets them.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$name),*];

            /// The row of this refusal.
            #[must_use]
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        gate: $gate,
                        stage: Stage::$stage,
                        status: StatusCode::$status,
                        error: $error,
                        description: $description,
                        label: $label,
                        help: $help,
                    },)*
                }
            }

            /// The label in metrics and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                self.row().label
            }
        }
    };
}

denials! {
    Overloaded, None, Ingress, SERVICE_UNAVAILABLE, "overloaded", "gateway overloaded", "overloaded",
        "More connections or requests in flight than this replica takes, or its CPU does not keep up (OVERLOAD_DELAY), or it is out of file descriptors, memory or local ports. Retry after the given time; raise MAX_CONNECTIONS, MAX_INFLIGHT_REQUESTS or the limit of open files, or add replicas or cores.";
    HeadTooLarge, None, Ingress, REQUEST_HEADER_FIELDS_TOO_LARGE, "invalid_request", "request header fields too large", "head_too_large",
        "An HTTP/2 request head has more than 100 fields or 16 KiB. Over HTTP/1.1 the same bounds are answered with a bare 431 that is not counted here.";
    BadTarget, None, Ingress, BAD_REQUEST, "invalid_request", "request target does not match host", "bad_target",
        "The authority in the request line or `:authority` differs from `Host`, `Host` is missing in HTTP/1.1 or is no host with an optional port, or the target is neither a path nor an absolute URI.";
    TargetFragment, None, Ingress, BAD_REQUEST, "invalid_request", "request target has a fragment", "target_fragment",
        "The target holds a `#`. What follows it is the client's own and no part of a request (RFC 9110 §7.1), and is not cut off here: send `%23` where it is data. Over HTTP/2 the HTTP library cuts it off before anybody sees it.";
    TargetCharacter, None, Ingress, BAD_REQUEST, "invalid_request", "request target holds an unencoded quotation mark, angle bracket or backtick", "target_character",
        "No URI may hold these (RFC 3986 §2): send them percent-encoded. Angle brackets are refused everywhere, a backtick in the path, a quotation mark in the query; what else is lenient in practice passes unchanged. The log names the character. Over HTTP/2 such a stream is reset (PROTOCOL_ERROR), and blanks, control characters and what is no UTF-8 get a bare 400 of the HTTP parser.";
    MethodNotAllowed, None, Ingress, METHOD_NOT_ALLOWED, "invalid_request", "method not allowed", "method_not_allowed",
        "CONNECT, TRACE and `OPTIONS *` are never proxied.";
    ProtocolNotAllowed, None, Ingress, NOT_IMPLEMENTED, "invalid_request", "protocol not allowed", "protocol_not_allowed",
        "An extended CONNECT of HTTP/2 (RFC 8441) asks for another protocol than WebSocket.";
    AmbiguousHeaders, Some(1), Preflight, BAD_REQUEST, "invalid_token", "ambiguous request headers", "ambiguous_headers",
        "`Authorization`, `X-Caracal-Resource` or `Host` occurs more than once, also joined into one line, or beside the subprotocol of a WebSocket handshake that says the same, `Content-Length` cannot be read, or a header name spells a reserved name or `Sec-WebSocket-Protocol` with `_`. Send each once, with `-`. Lengths that differ, and a list of lengths in one line, are refused by the HTTP parser with a bare 400. What has one meaning passes: equal `Content-Length` lines, and a length beside `Transfer-Encoding: chunked`, which chunks override (RFC 9112 §6.3) and after which the connection closes; the upstream gets one framing, stated by the gateway.";
    BodyTooLarge, Some(1), Preflight, PAYLOAD_TOO_LARGE, "payload_too_large", "request body too large", "body_too_large",
        "The body is longer than MAX_REQUEST_BYTES. A declared length is refused before the mandate is spent.";
    MissingBearer, Some(2), Preflight, UNAUTHORIZED, "invalid_token", "missing bearer token", "missing_bearer",
        "Send the mandate as `Authorization: Bearer <mandate>`; a web page offers it to a WebSocket as the subprotocol `caracal.bearer.<mandate>`.";
    BearerTooLarge, Some(3), Preflight, UNAUTHORIZED, "invalid_token", "bearer token too large", "bearer_too_large",
        "The bearer is longer than 4096 bytes.";
    MissingRouting, Some(4), Preflight, BAD_REQUEST, "invalid_token", "missing routing headers", "missing_routing",
        "Name the resource in `X-Caracal-Resource`: 1 to 256 printable bytes; a web page offers it to a WebSocket as the subprotocol `caracal.resource.<base64url>`, without padding.";
    PathTraversal, Some(5), Preflight, BAD_REQUEST, "invalid_token", "path traversal not permitted", "path_traversal",
        "The path holds a `.` or `..` part, a backslash, NUL or control byte, plainly or behind up to two percent-encodings.";
    MalformedToken, Some(6), Token, UNAUTHORIZED, "invalid_token", "malformed bearer token", "malformed_token",
        "Not a compact JWS with `alg` ES256, a `kid`, no `crit`, one claims object without duplicate names, an integer `exp`; or a single-use mandate without `jti` or with more than 24 h left.";
    Expiring, Some(7), Token, UNAUTHORIZED, "credential_expired_not_renewable", "credential expiring within pre-flight window", "expiring",
        "The mandate expires within PREFLIGHT_WINDOW (35 s by default). Mint a fresh one for each call.";
    NotYetValid, Some(7), Token, UNAUTHORIZED, "invalid_token", "bearer token not yet valid", "not_yet_valid",
        "`nbf` lies more than 30 s ahead. Check the clocks of the STS and of this host.";
    MissingZone, Some(8), Token, UNAUTHORIZED, "invalid_token", "missing token zone", "missing_zone",
        "The claim `zone_id` is missing or does not match `[A-Za-z0-9._:-]{1,128}`.";
    UnknownZone, Some(8), Token, UNAUTHORIZED, "invalid_token", "bearer signature invalid", "unknown_zone",
        "The zone has no binding. Answered like a bad signature, and nothing is fetched for it.";
    BadSignature, Some(9), Token, UNAUTHORIZED, "invalid_token", "bearer signature invalid", "bad_signature",
        "The ES256 signature does not verify under the zone's keys, or the `kid` is not among them.";
    KeysUnavailable, Some(9), Token, SERVICE_UNAVAILABLE, "authority_unavailable", "signing keys unavailable", "keys_unavailable",
        "The zone's JWKS cannot be had from the STS and no usable copy is left.";
    RevocationStale, Some(10), Token, SERVICE_UNAVAILABLE, "authority_unavailable", "revocation state unavailable", "revocation_stale",
        "No contact with the revocation streams for 70 s, no snapshot within REVOCATION_SNAPSHOT_MAX_AGE, more revoked anchors of the zone than REVOCATION_MAX_ZONE_ANCHORS, or a mandate that was issued more than 24 h ago. Check Redis and PostgreSQL, raise the bound, or mint a fresh one.";
    Revoked, Some(10), Token, UNAUTHORIZED, "invalid_token", "session revoked", "revoked",
        "The authority record, its root, the session or the delegation edge behind the mandate is revoked.";
    NotBound, Some(11), Binding, FORBIDDEN, "access_denied", "resource not configured", "not_bound",
        "No binding for this zone and resource. Check the spelling of `X-Caracal-Resource` and the binding in the console.";
    MissingClient, Some(11), Binding, UNAUTHORIZED, "invalid_token", "missing token client", "missing_client",
        "The installation has no binding table and the claim `client_id` is missing or malformed.";
    UpstreamNotAddressable, Some(11), Binding, BAD_GATEWAY, "internal_error", "upstream not addressable", "upstream_not_addressable",
        "The egress guard refused the bound upstream URL, or the one in the STS's directive, or one of its addresses. See ALLOW_PRIVATE_UPSTREAMS and UPSTREAM_HOST_ALLOWLIST.";
    CircuitOpen, Some(12), Exchange, SERVICE_UNAVAILABLE, "sts_unavailable", "sts unavailable", "circuit_open",
        "The STS failed repeatedly and is left alone for about ten seconds.";
    ExchangesFull, Some(12), Exchange, SERVICE_UNAVAILABLE, "sts_unavailable", "sts unavailable", "exchanges_full",
        "STS_MAX_INFLIGHT exchanges are under way, or one zone holds half of them.";
    EvidenceUnavailable, Some(13), Exchange, SERVICE_UNAVAILABLE, "authority_unavailable", "audit evidence unavailable", "evidence_unavailable",
        "The evidence spool is full, its volume has no space, it was removed, or its disk fails or does not answer: `checks.audit` in /ready names the cause. Check AUDIT_REPLAY_DIR, AUDIT_SPOOL_MAX_BYTES and Redis.";
    Replayed, Some(14), Exchange, UNAUTHORIZED, "invalid_token", "token replay detected", "replayed",
        "The single-use mandate was presented before. Mint a fresh one for each call.";
    ReplayUnavailable, Some(14), Exchange, SERVICE_UNAVAILABLE, "authority_unavailable", "replay store unavailable", "replay_unavailable",
        "Redis did not answer within REPLAY_TIMEOUT, or cannot take marks. The mandate may be used up all the same; send it again, or a new one where it is then refused as a replay.";
    ExchangeRefused, Some(15), Exchange, FORBIDDEN, "access_denied", "exchange refused", "exchange_refused",
        "The STS refused the exchange. Its own status, `error` and `error_description` are passed on.";
    StsTimeout, Some(15), Exchange, GATEWAY_TIMEOUT, "sts_unavailable", "sts timeout", "sts_timeout",
        "The STS did not answer within STS_TIMEOUT.";
    StsUnreachable, Some(15), Exchange, BAD_GATEWAY, "sts_unavailable", "sts unavailable", "sts_unreachable",
        "No connection to the STS, or it broke off.";
    StsAnswerInvalid, Some(15), Exchange, BAD_GATEWAY, "sts_unavailable", "sts response invalid", "sts_answer_invalid",
        "The STS answered with a redirect, another media type, malformed JSON, no token, or more than 256 KiB.";
    StsRefusedGateway, Some(15), Exchange, SERVICE_UNAVAILABLE, "sts_unavailable", "sts refused the gateway", "sts_refused_gateway",
        "The STS does not accept this gateway's own signature. Compare GATEWAY_STS_HMAC_KEY and the clocks.";
    NoDirective, Some(15), Exchange, FORBIDDEN, "access_denied", "resource upstream not configured", "no_directive",
        "The STS granted the exchange but named no upstream for the resource.";
    DirectiveInvalid, Some(15), Exchange, BAD_GATEWAY, "internal_error", "upstream directive invalid", "directive_invalid",
        "The STS's upstream directive has an unknown mode, a reserved credential header, no parameter name or an unusable credential.";
    TokenHostNotAllowed, Some(15), Exchange, BAD_GATEWAY, "internal_error", "provider credential not allowed for upstream host", "token_host_not_allowed",
        "The provider restricts its credential to hosts that do not include the upstream's.";
    UpstreamMismatch, Some(15), Exchange, BAD_GATEWAY, "internal_error", "upstream not addressable", "upstream_mismatch",
        "The STS's directive names another origin than the binding, also after the binding was read afresh.";
    MalformedBody, None, Crossing, BAD_REQUEST, "invalid_request", "malformed request body", "malformed_body",
        "The body was announced as chunks and is none (RFC 9112 §7.1).";
    RequestTimeout, None, Crossing, REQUEST_TIMEOUT, "invalid_request", "request body timeout", "request_timeout",
        "The caller did not finish its request body within READ_TIMEOUT of its own time.";
    UpstreamTimeout, None, Crossing, GATEWAY_TIMEOUT, "internal_error", "upstream timeout", "upstream_timeout",
        "The upstream sent no response head within UPSTREAM_TIMEOUT, or could not be connected to in time. The setting should exceed the upstream's P99.";
    UpstreamUnreachable, None, Crossing, BAD_GATEWAY, "internal_error", "upstream unreachable", "upstream_unreachable",
        "The upstream refused the connection, its TLS failed, or it broke off before a response head.";
    UpstreamResponseInvalid, None, Crossing, BAD_GATEWAY, "internal_error", "upstream response invalid", "upstream_response_invalid",
        "The upstream answered, and may have acted: its answer is not HTTP, has a head of more than 64 KiB or 256 fields, a folded line or a blank before a colon, no single length, or a switch of protocols that nobody asked for, or another one than was asked for.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_label_of_its_own() {
        let labels: HashSet<_> = Denial::ALL.iter().map(|denial| denial.label()).collect();
        assert_eq!(labels.len(), Denial::ALL.len());
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
