//! What becomes of each parameter of `DATABASE_URL`: libpq has more than the driver, and pgx sends the server whatever
//! it does not know.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslNegotiation, TargetSessionAttrs};

use super::{POSTGRES_PORT, SslMode};
use crate::violation::Violation;
use crate::warning::Warning;

/// Settings of the server's that a client may choose for its connection. One with a dot belongs to an extension.
const SETTINGS: [&str; 21] = [
    "client_connection_check_interval",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "geqo",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lock_timeout",
    "plan_cache_mode",
    "role",
    "row_security",
    "search_path",
    "statement_timeout",
    "timezone",
    "transaction_timeout",
    "work_mem",
];

const NO_GSSAPI: &str = "GSSAPI is not used";
const NO_POOL: &str = "there is no pool: one connection serves each purpose";
const NO_CACHE: &str = "statements are not cached";
const KEEPALIVE: &str = "TCP keepalive is always on";
const PROTOCOL: &str = "version 3.0 of the protocol is spoken, which every server knows";
const TLS_VERSION: &str = "TLS 1.2 is the minimum and 1.3 is preferred";

/// Everything that `DATABASE_URL` says.
pub(super) struct Parameters {
    pub(super) client: Config,
    pub(super) ssl_mode: SslMode,
    pub(super) authorities: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) private_key: Option<PathBuf>,
    /// What is accepted and has no effect.
    pub(super) warnings: Vec<Warning>,
    fallback_name: Option<String>,
}

impl Parameters {
    /// Parameters on top of what the driver has read.
    pub(super) fn new(client: Config) -> Self {
        Self {
            client,
            ssl_mode: SslMode::Prefer,
            authorities: None,
            certificate: None,
            private_key: None,
            warnings: Vec::new(),
            fallback_name: None,
        }
    }

    /// Takes one parameter.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<(), Violation> {
        if self.of_the_driver(name, value)? || self.of_tls(name, value)? {
            return Ok(());
        }
        if let Some(why) = ignored(name, value) {
            self.warnings
                .push(Warning::DatabaseParameter(name.to_owned(), why));
            return Ok(());
        }
        if let Some(why) = unsupported(name) {
            return refuse(name, why);
        }
        let setting = name.to_ascii_lowercase();
        if setting.contains('.') && is_name(&setting) || SETTINGS.contains(&setting.as_str()) {
            self.send(name, value);
            return Ok(());
        }
        refuse(name, "is not a parameter that is known here; remove it")
    }

    /// All have been taken.
    pub(super) fn finish(mut self) -> Result<Self, Violation> {
        match (&self.certificate, &self.private_key) {
            (Some(_), None) => refuse("sslcert", "needs sslkey beside it"),
            (None, Some(_)) => refuse("sslkey", "needs sslcert beside it"),
            _ => Ok(()),
        }?;
        if let (None, Some(name)) = (self.client.get_application_name(), self.fallback_name.take()) {
            self.client.application_name(name);
        }
        Ok(self)
    }

    fn of_the_driver(&mut self, name: &str, value: &str) -> Result<bool, Violation> {
        let client = &mut self.client;
        match name {
            "user" => client.user(value),
            "password" => client.password(value),
            "dbname" => client.dbname(value),
            "application_name" => client.application_name(value),
            "options" => {
                let options = [client.get_options().unwrap_or_default(), value].join(" ");
                client.options(options.trim())
            }
            "fallback_application_name" => {
                self.fallback_name = Some(value.to_owned());
                client
            }
            "host" => {
                for host in value.split(',') {
                    client.host(host);
                }
                client
            }
            "hostaddr" => {
                for address in value.split(',') {
                    let address = address.parse::<IpAddr>();
                    client.hostaddr(address.or_else(|_| refuse(name, "must be IP addresses"))?);
                }
                client
            }
            "port" => {
                for port in value.split(',') {
                    let port = if port.is_empty() {
                        Ok(POSTGRES_PORT)
                    } else {
                        port.parse()
                    };
                    client.port(port.or_else(|_| refuse(name, "must be port numbers"))?);
                }
                client
            }
            // Milliseconds, as libpq has it; the driver's own parser takes seconds. The kernel refuses more than 31 bits.
            "tcp_user_timeout" => match value.parse::<i32>().map(u64::try_from) {
                Ok(Ok(milliseconds)) => client.tcp_user_timeout(Duration::from_millis(milliseconds)),
                _ => return refuse(name, "must be a number of milliseconds"),
            },
            "channel_binding" => client.channel_binding(match value {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return refuse(name, "must be disable, prefer or require"),
            }),
            "load_balance_hosts" => client.load_balance_hosts(match value {
                "disable" => LoadBalanceHosts::Disable,
                "random" => LoadBalanceHosts::Random,
                _ => return refuse(name, "must be disable or random"),
            }),
            "sslnegotiation" => client.ssl_negotiation(match value {
                "postgres" => SslNegotiation::Postgres,
                "direct" => SslNegotiation::Direct,
                _ => return refuse(name, "must be postgres or direct"),
            }),
            "target_session_attrs" => client.target_session_attrs(match value {
                "any" | "prefer-standby" => TargetSessionAttrs::Any,
                "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                "read-only" | "standby" => TargetSessionAttrs::ReadOnly,
                _ => {
                    return refuse(
                        name,
                        "must be any, read-write, read-only, primary, standby or prefer-standby",
                    );
                }
            }),
            _ => return Ok(false),
        };
        Ok(true)
    }

    fn of_tls(&mut self, name: &str, value: &str) -> Result<bool, Violation> {
        match name {
            "sslmode" => {
                self.ssl_mode = match value {
                    "prefer" | "allow" => SslMode::Prefer,
                    "disable" => SslMode::Disable,
                    "require" => SslMode::Require,
                    "verify-ca" => SslMode::VerifyCa,
                    "verify-full" => SslMode::VerifyFull,
                    _ => {
                        return refuse(
                            name,
                            "must be disable, allow, prefer, require, verify-ca or verify-full",
                        );
                    }
                }
            }
            // libpq's word for the system's authorities, which are used anyway.
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => self.authorities = Some(value.into()),
            "sslcert" => self.certificate = Some(value.into()),
            "sslkey" => self.private_key = Some(value.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Has the driver send a setting when it connects, as an option of the server's command line.
    fn send(&mut self, name: &str, value: &str) {
        let mut options = self.client.get_options().unwrap_or_default().to_owned();
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str("-c ");
        for c in name.chars().chain(['=']).chain(value.chars()) {
            if c == '\\' || c.is_whitespace() {
                options.push('\\');
            }
            options.push(c);
        }
        self.client.options(options);
    }
}

/// Why a parameter of other clients has no effect here; none where it would have one.
fn ignored(name: &str, value: &str) -> Option<&'static str> {
    Some(match (name, value) {
        ("connect_timeout", _) => "DB_CONNECT_TIMEOUT decides",
        (
            "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "keepalives_retries",
            _,
        ) => KEEPALIVE,
        ("gssencmode", "disable" | "prefer") | ("krbsrvname" | "gsslib" | "gssdelegation", _) => NO_GSSAPI,
        ("sslcompression", _) => "TLS does not compress",
        ("sslsni", _) => "the host name is always sent",
        ("sslcertmode", "allow") => "a certificate is shown where one is named",
        ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
        | ("ssl_max_protocol_version", "TLSv1.3") => TLS_VERSION,
        ("client_encoding", _) => "the driver speaks UTF-8",
        ("replication", "false" | "off" | "no" | "0") => "nothing is replicated",
        ("min_protocol_version" | "max_protocol_version", _) => PROTOCOL,
        ("default_query_exec_mode" | "min_read_buffer_size", _) => NO_CACHE,
        ("statement_cache_mode" | "statement_cache_capacity" | "description_cache_capacity", _) => NO_CACHE,
        (name, _) if name.starts_with("pool_") && is_name(name) => NO_POOL,
        _ => return None,
    })
}

/// Why a parameter of libpq's, which would have an effect, is refused rather than passed over.
fn unsupported(name: &str) -> Option<&'static str> {
    Some(match name {
        "gssencmode" => "must be disable or prefer; GSSAPI is not supported",
        "passfile" | "service" | "servicefile" => {
            "is not supported; put what that file says into DATABASE_URL, or the whole of it into DATABASE_URL_FILE"
        }
        "sslcrl" | "sslcrldir" => "is not supported: certificates are not looked up in revocation lists",
        "sslpassword" => "is not supported: the key must be unencrypted",
        "sslcertmode" => "must be allow; leave sslcert out to show no certificate",
        "ssl_min_protocol_version" | "ssl_max_protocol_version" => {
            "is not supported but for TLSv1.2 as the minimum and TLSv1.3 as the maximum"
        }
        "require_auth" => "is not supported; use channel_binding=require with sslmode=verify-full",
        "requirepeer" => "is not supported; protect the directory of the socket",
        "replication" => "must be off",
        _ => return None,
    })
}

/// Refuses a parameter by its name, unless that looks like a piece of a secret that was not quoted.
fn refuse<T>(name: &str, why: &'static str) -> Result<T, Violation> {
    Err(if is_name(name) {
        Violation::DatabaseParameter(name.to_owned(), why)
    } else {
        super::malformed()
    })
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    name.len() <= 63 && !name.is_empty() && name.chars().all(letter)
}
