//! The mode and the public listener.

use super::declaration::{Key, Kind, Preset, Section};

pub(crate) const MODE: Section = Section {
    title: "Mode",
    intro: "Production is the default, so that a forgotten variable cannot weaken an installation.",
    keys: &[CARACAL_ENV, CARACAL_MODE],
};

pub(crate) const CARACAL_ENV: Key = Key::new(
    "CARACAL_ENV",
    Kind::Choice(&["production", "dev"]),
    Preset::Value("production"),
    "How strict the process is. `dev` lifts the production rules below; never use it with real credentials.",
);

pub(crate) const CARACAL_MODE: Key = Key::new(
    "CARACAL_MODE",
    Kind::Choice(&["stable", "rc", "dev"]),
    Preset::Unset("`CARACAL_ENV` decides"),
    "Alias that existing installations set: `stable` and `rc` mean production. Refused when it contradicts `CARACAL_ENV`.",
);

pub(crate) const LISTENER: Section = Section {
    title: "Listener and TLS",
    intro: "TLS 1.2 is the minimum and 1.3 is preferred; HTTP/2 and HTTP/1.1 are negotiated.",
    keys: &[
        BIND_ADDR,
        PORT,
        TLS_CERT_FILE,
        TLS_KEY_FILE,
        INSECURE_HTTP,
        TRUSTED_PROXIES,
        TRUST_PROXY,
    ],
};

pub(crate) const BIND_ADDR: Key = Key::new(
    "BIND_ADDR",
    Kind::Address,
    Preset::Value("[::]"),
    "The address to listen on; brackets around IPv6 are optional. `[::]` takes both families. Unset on a kernel \
     without IPv6, `0.0.0.0` is taken instead, with a warning. The `dev` and `demo` commands use `127.0.0.1`.",
);

pub(crate) const PORT: Key = Key::new(
    "PORT",
    Kind::Port,
    Preset::Value("8081"),
    "The port to listen on. Production accepts only 8081; in dev any port will do, and 0 takes a free one and prints it.",
);

pub(crate) const TLS_CERT_FILE: Key = Key::new(
    "TLS_CERT_FILE",
    Kind::File,
    Preset::Unset("refused unless `INSECURE_HTTP=true`"),
    "The PEM certificate chain: the leaf first, then its intermediates.",
);

pub(crate) const TLS_KEY_FILE: Key = Key::new(
    "TLS_KEY_FILE",
    Kind::File,
    Preset::Unset("refused unless `INSECURE_HTTP=true`"),
    "The PEM private key of the leaf, unencrypted.",
);

pub(crate) const INSECURE_HTTP: Key = Key::new(
    "INSECURE_HTTP",
    Kind::Boolean,
    Preset::Value("false"),
    "Run without TLS, even when certificate files are named. Refused in production.",
);

pub(crate) const TRUSTED_PROXIES: Key = Key::new(
    "TRUSTED_PROXIES",
    Kind::List("networks (CIDR) or addresses"),
    Preset::Unset("no peer is trusted"),
    "Peers whose `X-Forwarded-*` headers are believed. The headers of every other peer are dropped.",
);

pub(crate) const TRUST_PROXY: Key = Key::new(
    "TRUST_PROXY",
    Kind::Boolean,
    Preset::Value("false"),
    "Alias of older installations: `true` trusts loopback and private peers. Ignored when `TRUSTED_PROXIES` is set.",
);
