//! The mode and the public listener.

use super::declaration::section;

section! {
    MODE: "Mode", "Production is the default, so that a forgotten variable cannot weaken an installation.";
    CARACAL_ENV: Choice(&["production", "dev"]), Value("production"),
        "How strict the process is. `dev` lifts the production rules below; never use it with real credentials.";
    CARACAL_MODE: Choice(&["stable", "rc", "dev"]), Unset("`CARACAL_ENV` decides"),
        "Alias that existing installations set: `stable` and `rc` mean production. Refused when it contradicts `CARACAL_ENV`.";
}

section! {
    LISTENER: "Listener and TLS", "TLS 1.2 is the minimum and 1.3 is preferred; HTTP/2 and HTTP/1.1 are negotiated.";
    BIND_ADDR: Address, Value("[::]"),
        "The address to listen on; brackets around IPv6 are optional. `[::]` takes both families. Unset on a kernel \
        without IPv6, `0.0.0.0` is taken instead, with a warning. The `dev` and `demo` commands use `127.0.0.1`.";
    PORT: Port, Value("8081"),
        "The port to listen on. Production accepts only 8081; in dev any port will do, and 0 takes a free one and prints it.";
    REUSE_PORT: Choice(&["off", "on"]), Value("off"),
        "Bind the public port, and that of `OPERATOR_ADDR`, beside other processes of the same user that do so too (`SO_REUSEPORT`), so that a successor starts before \
        its predecessor ends.",
        advice "A socket that is handed over (`LISTEN_FDS`) does this without the second that some connections may take: \
        [operations.md](operations.md).";
    TLS_CERT_FILE: File, Unset("refused unless `INSECURE_HTTP=true`"),
        "The PEM certificate chain: the leaf first, then its intermediates.";
    TLS_KEY_FILE: File, Unset("refused unless `INSECURE_HTTP=true`"),
        "The PEM private key of the leaf, unencrypted.";
    TLS_CERT_DIR: Directory, Unset("one certificate for all names"),
        "Further certificates: every `NAME.crt` in it with its `NAME.key`. A caller that asks for a DNS name (SNI) is shown the one \
        whose subjectAltName holds it, an exact name before a wildcard; every other caller is shown `TLS_CERT_FILE`. Other files, \
        and names that begin with a dot, are passed over. A pair that cannot be used is refused at start; in production one that has \
        expired is left out with a warning. Once the gateway runs, a pair that cannot be used stays as it was, or out.";
    TLS_CLIENT_CA_FILE: File, Unset("callers are not asked for a certificate"),
        "PEM certificate authorities whose client certificates callers may show, or must (`TLS_CLIENT_AUTH`). The subject of a \
        certificate is in the log line and in the audit event; it never replaces a mandate.";
    TLS_CLIENT_AUTH: Choice(&["require", "request"]), Unset("`require` where `TLS_CLIENT_CA_FILE` is set"),
        "`require`: a caller without a certificate of these authorities gets no connection, health checks of this port included. \
        `request`: a caller without a certificate is served, one whose certificate is not trusted gets no connection. \
        Where callers are asked, no TLS session is resumed.",
        advice "Behind a proxy that ends TLS the certificate is the proxy's.";
    INSECURE_HTTP: Boolean, Value("false"),
        "Run without TLS, even when certificate files are named. Refused in production.";
    TRUSTED_PROXIES: List("networks (CIDR) or addresses"), Unset("no peer is trusted"),
        "Peers whose `X-Forwarded-*` headers are believed. The headers of every other peer are dropped.";
    PROXY_PROTOCOL: Choice(&["off", "optional", "required"]), Value("off"),
        "Whether `TRUSTED_PROXIES` say whose connection they pass on, in a PROXY header (version 1 or 2) before TLS, on the public \
        listener; that of `OPERATOR_ADDR` takes none. `required`: a connection \
        without one, or of another peer, is closed. `optional`: it is served as the peer's own.",
        advice "`required` where every connection comes from such a proxy. The address in the header then counts as the peer: for \
        `MAX_CONNECTIONS_PER_SOURCE`, logs and `X-Forwarded-For`.";
    CORS_ALLOWED_ORIGINS: List("origins"), Unset("no web page of another origin"),
        "Origins, `scheme://host[:port]`, whose pages may call the gateway from a browser. Their preflights are answered by the \
        gateway and never reach an upstream, and answers to them carry the CORS fields, in place of the upstream's. An \
        allowed origin never replaces the mandate. Exact names: no wildcards, no `null`, no paths.";
    ALLOW_UPGRADES: List("protocols, or `off`"), Value("websocket"),
        "The protocols to which a request may have its connection switched, through every gate: `Upgrade` in HTTP/1.1, and for \
        `websocket` an extended CONNECT in HTTP/2 (RFC 8441). What it names no longer is HTTP, so neither `MAX_REQUEST_BYTES` nor \
        `READ_TIMEOUT` bounds it. Any other `Upgrade` is dropped, and the request crosses without it. `off`: no protocol.",
        advice "A switched connection holds its place among `MAX_INFLIGHT_REQUESTS` until it ends; `STREAM_IDLE_TIMEOUT` ends one \
        that is silent. `h2c`, `http` and `tls` are refused: requests within them would pass without a mandate.";
    EARLY_HINTS: Choice(&["off", "on"]), Value("off"),
        "Pass an upstream's 103 (Early Hints) on to HTTP/1.1 callers. Only for callers that know interim answers: nginx up to \
        1.22 takes one for the answer. HTTP/2 callers get none, and those of upstreams over HTTP/2 are dropped.";
    TRUST_PROXY: Boolean, Value("false"),
        "Alias of older installations: `true` trusts loopback and private peers. Ignored when `TRUSTED_PROXIES` is set.";
}
