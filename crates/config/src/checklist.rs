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
use crate::server_tls::ServerTls;
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
    let judged = |text, judge: &dyn Fn(&mut Reader<'_>) -> Read<Status>| {
        let mut reader = Reader::new(env, now);
        let status = judge(&mut reader);
        let status = match reader.finish(status) {
            Ok((status, _)) => status,
            Err(violations) => fail(violations.in_one_line()),
        };
        ChecklistLine { status, text }
    };
    let manual = |text, how| ChecklistLine {
        status: Status::Manual { how },
        text,
    };
    let lists = |reader: &mut Reader<'_>| passed(Egress::read(reader, production));
    vec![
        judged("CARACAL_ENV is production", &mode),
        judged(
            "a certificate and key are set, valid and not expired",
            &|reader| {
                let server = ServerTls::read(reader, production)?;
                passed(Transport::tls(reader, server))
            },
        ),
        judged("INSECURE_HTTP is off", &|reader| {
            passed(Transport::read_plain(reader, production))
        }),
        judged("INSECURE_STS is off", &|reader| {
            passed(Sts::insecure(reader, production))
        }),
        judged("JTI_FAIL_OPEN is off", &|reader| {
            passed(Gates::on_replay_outage(reader, production))
        }),
        judged(
            "STREAMS_HMAC_KEY is a secret of at least 32 bytes, in hex, shared with all publishers",
            &|reader| passed(SigningKeys::read_streams(reader, production)),
        ),
        judged(
            "ALLOW_PRIVATE_UPSTREAMS is off, or limited by an allowlist",
            &lists,
        ),
        judged(
            "UPSTREAM_HOST_ALLOWLIST is set if ALLOW_PRIVATE_UPSTREAMS is on",
            &lists,
        ),
        manual(
            "PostgreSQL and Redis are not reachable from outside",
            "from outside the private network, connecting to their ports (5432, 6379) must fail",
        ),
        manual(
            "only port 8081 is exposed",
            "from outside, scan the host; nothing but 8081 may answer",
        ),
        judged("the certificate is renewed before it expires", &renewal),
    ]
}

/// What is read without a violation passes.
fn passed<T>(read: Read<T>) -> Read<Status> {
    read.map(|_| Status::Pass)
}

fn fail(fix: impl Into<String>) -> Status {
    Status::Fail { fix: fix.into() }
}

fn mode(reader: &mut Reader<'_>) -> Read<Status> {
    Ok(match read_mode(reader)? {
        Mode::Production => Status::Pass,
        Mode::Dev(_) => fail("set CARACAL_ENV=production, or unset it"),
    })
}

/// A certificate that is renewed in time always has a third of its life left, or a month of a long one.
fn renewal(reader: &mut Reader<'_>) -> Read<Status> {
    const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
    let Some(ServerTls { identity, .. }) = ServerTls::read(reader, Ok(Mode::Production))? else {
        return Ok(fail("no certificate is set"));
    };
    let life = identity.not_after().duration_since(identity.not_before());
    let left = identity.time_left(reader.now()).unwrap_or_default();
    if left >= MONTH.min(life.unwrap_or_default() / 3) {
        return Ok(Status::Pass);
    }
    let days = left.as_secs() / (24 * 3600);
    Ok(fail(format!(
        "{days} days are left; renew it, and automate the renewal"
    )))
}
