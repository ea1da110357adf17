//! Mandates, the exchange, and where requests may go.

use super::declaration::section;

section! {
    MANDATES: "Mandates", "What a bearer must satisfy before anything leaves the gateway.";
    PREFLIGHT_WINDOW: Duration, Value("35s"),
        "The least life a mandate must have left, in whole seconds.",
        advice "Keep it above `STS_TIMEOUT` plus `UPSTREAM_TIMEOUT`, so that a mandate cannot expire while it is used.";
    REUSABLE_MANDATE_USES: List("`use` classes"), Value("session,ambient"),
        "Mandates of these classes may be presented more than once; all others are single-use. `none` makes every mandate single-use.";
    JTI_FAIL_OPEN: Boolean, Value("false"),
        "Let requests pass without the replay check while Redis is down. Refused in production.";
    REVOCATION_SNAPSHOT_MAX_AGE: Duration, Value("5m"),
        "Requests are refused when the last revocation snapshot from PostgreSQL is older than this. It is renewed every 30 seconds.",
        advice "This is how long a cascaded revocation can go unseen while PostgreSQL is down, against how long requests keep flowing.";
    REVOCATION_MAX_ANCHORS: Count, Value("1000000"),
        "Revoked anchors (authority records, sessions and delegation edges) held in memory: what the database shows, for as \
        long as mandates of its zone live; what only a stream has announced, for 24 hours and five minutes. Above it the \
        zone with most of them is refused with 503 until they fit, and then its mandates from before until they expire; \
        other zones are not. What names no zone counts as one, which stands for all.",
        advice "About 100 bytes of memory each.";
    REVOCATION_MAX_ZONE_ANCHORS: Count, Value("500000"),
        "How many of them may be of one zone. Above it that zone is refused with 503 until they fit.",
        advice "Above `REVOCATION_MAX_ANCHORS` it has no effect. `caracal_gateway_revocation_zones_over_bound` shows that it is too low.";
}

section! {
    STS: "Token exchange (STS)", "`STS_URL` must be https in every mode, except plain http to loopback or to a single-label host name \
    such as `http://sts:8080`, and then only while every address of that name is loopback or private.";
    STS_URL: Url, Required,
        "The base address of the STS. Tokens are exchanged at `/oauth/2/token` below it.";
    STS_DIALECT: Choice(&["caracal", "rfc8693"]), Value("caracal"),
        "`caracal`: the answer must say where the credential goes (a directive). `rfc8693`: the token of an answer without \
        a directive goes to the bound upstream as a bearer token. The STS is reached at Caracal's paths, with its \
        signature headers, in both.";
    GATEWAY_STS_HMAC_KEY: HmacKey, Required,
        "Signs every exchange. Shared with the STS.";
    INSECURE_STS: Boolean, Value("false"),
        "Allow plain http to any STS. Refused in production.";
    STS_MAX_INFLIGHT: Count, Value("512"),
        "Exchanges at once; one zone may hold at most half of them. Above it requests are refused with 503 and `Retry-After`.";
    STS_CA_FILE: File, Unset("the system's authorities"),
        "PEM certificate authorities to trust for the STS, instead of the system's.";
    STS_CLIENT_CERT_FILE: File, Unset("no client certificate"),
        "The PEM certificate chain that the gateway shows to the STS (mutual TLS).";
    STS_CLIENT_KEY_FILE: File, Unset("no client certificate"),
        "The PEM private key of that certificate.";
}

section! {
    UPSTREAMS: "Upstreams", "Link-local, multicast, reserved and cloud metadata addresses, and the gateway's own backends, \
    are never upstreams, whatever these variables say.";
    ALLOW_PRIVATE_UPSTREAMS: Boolean, Value("false"),
        "Permit upstreams on loopback and private addresses. Production then requires `UPSTREAM_HOST_ALLOWLIST`.";
    UPSTREAM_HOST_ALLOWLIST: List("host names"), Unset("any public host"),
        "When set, the complete list of upstream hosts, public ones too. Exact names: no wildcards, schemes or ports.";
    UPSTREAM_H2C_HOSTS: List("host names"), Unset("none"),
        "The hosts that speak HTTP/2 without TLS, as most gRPC servers in a private network do: an `http` upstream at one of \
        them gets HTTP/2 with prior knowledge, at any other HTTP/1.1. Over TLS the server chooses (ALPN). Exact names, as above.";
    UPSTREAM_CA_FILE: File, Unset("the system's authorities alone"),
        "PEM certificate authorities to trust for upstreams, besides the system's.";
    UPSTREAM_CLIENT_CERT_FILE: File, Unset("no client certificate"),
        "The PEM certificate chain that the gateway shows to every upstream that asks for one.",
        advice "It tells upstreams who the gateway is, never who calls. Set `UPSTREAM_HOST_ALLOWLIST` too, so that no other host can ask. It is one \
        identity for all zones: an upstream cannot tell by it whose binding a request comes through.";
    UPSTREAM_CLIENT_KEY_FILE: File, Unset("no client certificate"),
        "The PEM private key of that certificate.";
}
