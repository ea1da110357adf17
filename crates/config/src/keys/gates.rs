//! Mandates, the exchange, and where requests may go.

use super::declaration::{Key, Kind, Preset, Section};

pub(crate) const MANDATES: Section = Section {
    title: "Mandates",
    intro: "What a bearer must satisfy before anything leaves the gateway.",
    keys: &[
        PREFLIGHT_WINDOW,
        REUSABLE_MANDATE_USES,
        JTI_FAIL_OPEN,
        REVOCATION_SNAPSHOT_MAX_AGE,
    ],
};

pub(crate) const PREFLIGHT_WINDOW: Key = Key::new(
    "PREFLIGHT_WINDOW",
    Kind::Duration,
    Preset::Value("35s"),
    "The least life a mandate must have left, in whole seconds.",
)
.advice(
    "Keep it above `STS_TIMEOUT` plus `UPSTREAM_TIMEOUT`, so that a mandate cannot expire while it is used.",
);

pub(crate) const REUSABLE_MANDATE_USES: Key = Key::new(
    "REUSABLE_MANDATE_USES",
    Kind::List("`use` classes"),
    Preset::Value("session,ambient"),
    "Mandates of these classes may be presented more than once; all others are single-use. `none` makes every mandate single-use.",
);

pub(crate) const JTI_FAIL_OPEN: Key = Key::new(
    "JTI_FAIL_OPEN",
    Kind::Boolean,
    Preset::Value("false"),
    "Let requests pass without the replay check while Redis is down. Refused in production.",
);

pub(crate) const REVOCATION_SNAPSHOT_MAX_AGE: Key = Key::new(
    "REVOCATION_SNAPSHOT_MAX_AGE",
    Kind::Duration,
    Preset::Value("5m"),
    "Requests are refused when the last revocation snapshot from PostgreSQL is older than this. It is renewed every 30 seconds.",
)
.advice("This is how long a cascaded revocation can go unseen while PostgreSQL is down, against how long requests keep flowing.");

pub(crate) const STS: Section = Section {
    title: "Token exchange (STS)",
    intro: "`STS_URL` must be https in every mode, except plain http to loopback or to a single-label host name \
            such as `http://sts:8080`, and then only while every address of that name is loopback or private.",
    keys: &[
        STS_URL,
        STS_DIALECT,
        GATEWAY_STS_HMAC_KEY,
        INSECURE_STS,
        STS_MAX_INFLIGHT,
        STS_CA_FILE,
        STS_CLIENT_CERT_FILE,
        STS_CLIENT_KEY_FILE,
    ],
};

pub(crate) const STS_URL: Key = Key::new(
    "STS_URL",
    Kind::Url,
    Preset::Required,
    "The base address of the STS. Tokens are exchanged at `/oauth/2/token` below it.",
);

pub(crate) const STS_DIALECT: Key = Key::new(
    "STS_DIALECT",
    Kind::Choice(&["caracal", "rfc8693"]),
    Preset::Value("caracal"),
    "`caracal`: the answer must say where the credential goes (a directive). `rfc8693`: the token of an answer without \
     a directive goes to the bound upstream as a bearer token. The STS is reached at Caracal's paths, with its \
     signature headers, in both.",
);

pub(crate) const GATEWAY_STS_HMAC_KEY: Key = Key::new(
    "GATEWAY_STS_HMAC_KEY",
    Kind::HmacKey,
    Preset::Required,
    "Signs every exchange. Shared with the STS.",
);

pub(crate) const INSECURE_STS: Key = Key::new(
    "INSECURE_STS",
    Kind::Boolean,
    Preset::Value("false"),
    "Allow plain http to any STS. Refused in production.",
);

pub(crate) const STS_MAX_INFLIGHT: Key = Key::new(
    "STS_MAX_INFLIGHT",
    Kind::Count,
    Preset::Value("512"),
    "Exchanges at once; one zone may hold at most half of them. Above it requests are refused with 503 and `Retry-After`.",
);

pub(crate) const STS_CA_FILE: Key = Key::new(
    "STS_CA_FILE",
    Kind::File,
    Preset::Unset("the system's authorities"),
    "PEM certificate authorities to trust for the STS, instead of the system's.",
);

pub(crate) const STS_CLIENT_CERT_FILE: Key = Key::new(
    "STS_CLIENT_CERT_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM certificate chain that the gateway shows to the STS (mutual TLS).",
);

pub(crate) const STS_CLIENT_KEY_FILE: Key = Key::new(
    "STS_CLIENT_KEY_FILE",
    Kind::File,
    Preset::Unset("no client certificate"),
    "The PEM private key of that certificate.",
);

pub(crate) const UPSTREAMS: Section = Section {
    title: "Upstreams",
    intro: "Link-local, multicast, reserved and cloud metadata addresses, and the gateway's own backends, \
            are never upstreams, whatever these variables say.",
    keys: &[ALLOW_PRIVATE_UPSTREAMS, UPSTREAM_HOST_ALLOWLIST],
};

pub(crate) const ALLOW_PRIVATE_UPSTREAMS: Key = Key::new(
    "ALLOW_PRIVATE_UPSTREAMS",
    Kind::Boolean,
    Preset::Value("false"),
    "Permit upstreams on loopback and private addresses. Production then requires `UPSTREAM_HOST_ALLOWLIST`.",
);

pub(crate) const UPSTREAM_HOST_ALLOWLIST: Key = Key::new(
    "UPSTREAM_HOST_ALLOWLIST",
    Kind::List("host names"),
    Preset::Unset("any public host"),
    "When set, the complete list of upstream hosts, public ones too. Exact names: no wildcards, schemes or ports.",
);
