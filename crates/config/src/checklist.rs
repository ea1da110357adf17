//! The production checklist that `caracal-gateway check` prints.

use std::fmt;
use std::time::{Duration, SystemTime};

use admission::mode::Mode;

use crate::egress::Egress;
use crate::env::Env;
use crate::gates::Gates;
use crate::listener::Transport;
use crate::load::read_mode;
use crate::reader::{Read, Reader};
use crate::signing::SigningKeys;
use crate::sts::Sts;

/// One line of the checklist. Its `Display` is the line as printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecklistLine {
    /// Whether it holds.
    pub status: Status,
    /// What is checked.
    pub text: &'static str,
}

/// Whether a line of the checklist holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Pass,
    /// It does not.
    Fail {
        /// What to do.
        fix: String,
    },
    /// The process cannot tell.
    Manual {
        /// How to verify it.
        how: &'static str,
    },
}

impl fmt::Display for ChecklistLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Status::Pass => write!(f, "pass    {}", self.text),
            Status::Fail { fix } => write!(f, "fail    {}: {fix}", self.text),
            Status::Manual { how } => write!(f, "manual  {}: {how}", self.text),
        }
    }
}

/// Judges the environment as production would, whatever mode it asks for.
#[must_use]
pub fn checklist(env: &dyn Env, now: SystemTime) -> Vec<ChecklistLine> {
    let production = Ok(Mode::Production);
    let read = |text, read: &dyn Fn(&mut Reader<'_>) -> Read<()>| line(env, now, text, read);
    let lists = |reader: &mut Reader<'_>| Egress::read(reader, production).map(drop);
    vec![
        mode(env, now),
        read(
            "a certificate and key are set, valid and not expired",
            &|reader| {
                Transport::read_identity(reader, production)
                    .and_then(|identity| Transport::tls(reader, identity))
                    .map(drop)
            },
        ),
        read("INSECURE_HTTP is off", &|reader| {
            Transport::read_plain(reader, production).map(drop)
        }),
        read("INSECURE_STS is off", &|reader| {
            Sts::insecure(reader, production).map(drop)
        }),
        read("JTI_FAIL_OPEN is off", &|reader| {
            Gates::on_replay_outage(reader, production).map(drop)
        }),
        read(
            "STREAMS_HMAC_KEY is a secret of at least 32 bytes, in hex, shared with all publishers",
            &|reader| SigningKeys::read_streams(reader, production).map(drop),
        ),
        read(
            "ALLOW_PRIVATE_UPSTREAMS is off, or limited by an allowlist",
            &lists,
        ),
        read(
            "UPSTREAM_HOST_ALLOWLIST is set if ALLOW_PRIVATE_UPSTREAMS is on",
            &lists,
        ),
        ChecklistLine {
            text: "PostgreSQL and Redis are not reachable from outside",
            status: Status::Manual {
                how: "from outside the private network, connecting to their ports (5432, 6379) must fail",
            },
        },
        ChecklistLine {
            text: "only port 8081 is exposed",
            status: Status::Manual {
                how: "from outside, scan the host; nothing but 8081 may answer",
            },
        },
        renewal(env, now),
    ]
}

fn line(
    env: &dyn Env,
    now: SystemTime,
    text: &'static str,
    read: &dyn Fn(&mut Reader<'_>) -> Read<()>,
) -> ChecklistLine {
    let mut reader = Reader::new(env, now);
    let value = read(&mut reader);
    let status = match reader.finish(value) {
        Ok(_) => Status::Pass,
        Err(violations) => Status::Fail {
            fix: violations.in_one_line(),
        },
    };
    ChecklistLine { status, text }
}

fn mode(env: &dyn Env, now: SystemTime) -> ChecklistLine {
    let mut reader = Reader::new(env, now);
    let mode = read_mode(&mut reader);
    let status = match reader.finish(mode) {
        Ok((Mode::Production, _)) => Status::Pass,
        Ok((Mode::Dev(_), _)) => Status::Fail {
            fix: "set CARACAL_ENV=production, or unset it".to_owned(),
        },
        Err(violations) => Status::Fail {
            fix: violations.in_one_line(),
        },
    };
    ChecklistLine {
        status,
        text: "CARACAL_ENV is production",
    }
}

/// A certificate that is renewed in time always has a third of its life left, or a month of a long one.
fn renewal(env: &dyn Env, now: SystemTime) -> ChecklistLine {
    const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
    let mut reader = Reader::new(env, now);
    let identity = Transport::read_identity(&mut reader, Ok(Mode::Production));
    let status = match reader.finish(identity) {
        Ok((Some(identity), _)) => {
            let life = identity
                .not_after()
                .duration_since(identity.not_before())
                .unwrap_or_default();
            let left = identity.time_left(now).unwrap_or_default();
            if left >= MONTH.min(life / 3) {
                Status::Pass
            } else {
                let days = left.as_secs() / (24 * 3600);
                Status::Fail {
                    fix: format!("{days} days are left; renew it, and automate the renewal"),
                }
            }
        }
        Ok((None, _)) => Status::Fail {
            fix: "no certificate is set".to_owned(),
        },
        Err(violations) => Status::Fail {
            fix: violations.in_one_line(),
        },
    };
    ChecklistLine {
        status,
        text: "the certificate is renewed before it expires",
    }
}
