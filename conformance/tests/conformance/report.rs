//! Many cases in one test: every failure is told, not only the first.

use serde_json::Value;
use testkit::http::Response;

/// What a check found: nothing, or the reason of a failure.
pub(crate) type Found = Result<(), String>;

/// Collects the failures of a table of cases.
#[derive(Default)]
pub(crate) struct Report {
    checks: usize,
    failures: Vec<String>,
}

impl Report {
    /// Notes the outcome of one case.
    pub(crate) fn note(&mut self, case: impl AsRef<str>, found: Found) {
        self.checks += 1;
        if let Err(reason) = found {
            self.failures.push(format!("{}: {reason}", case.as_ref()));
        }
    }

    /// Notes whether two values are equal.
    pub(crate) fn equal<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
        &mut self,
        case: impl AsRef<str>,
        got: T,
        expect: U,
    ) {
        let found = if got == expect {
            Ok(())
        } else {
            Err(format!("got {got:?}, expected {expect:?}"))
        };
        self.note(case, found);
    }

    /// Notes whether something holds.
    pub(crate) fn holds(&mut self, case: impl AsRef<str>, holds: bool) {
        self.note(
            case,
            if holds {
                Ok(())
            } else {
                Err("does not hold".into())
            },
        );
    }

    /// Notes whether a response is this refusal, in every part of it.
    pub(crate) fn refused(&mut self, case: impl AsRef<str>, response: &Response, expect: Refusal) {
        self.note(case, expect.found_in(response));
    }

    /// Notes whether a response has this status.
    pub(crate) fn status(&mut self, case: impl AsRef<str>, response: &Response, expect: u16) {
        let found = if response.status() == expect {
            Ok(())
        } else {
            Err(format!(
                "status {}, expected {expect}: {}",
                response.status(),
                response.text()
            ))
        };
        self.note(case, found);
    }

    /// Fails the test when a case has failed, or when there was none.
    #[track_caller]
    pub(crate) fn finish(self) {
        assert!(self.checks > 0, "no case was checked");
        assert!(
            self.failures.is_empty(),
            "{} of {} cases failed:\n{}",
            self.failures.len(),
            self.checks,
            self.failures.join("\n")
        );
    }
}

/// One refusal as the wire shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status code.
    pub(crate) status: u16,
    /// `error`.
    pub(crate) error: &'static str,
    /// `error_description`.
    pub(crate) description: &'static str,
}

/// Shorthand for tables.
pub(crate) const fn refusal(status: u16, error: &'static str, description: &'static str) -> Refusal {
    Refusal {
        status,
        error,
        description,
    }
}

impl Refusal {
    /// Whether a response is this refusal: status, JSON body with exactly these members and the request id of the
    /// header, `Cache-Control`, the challenge of a 401 and the `Retry-After` of a 503.
    pub(crate) fn found_in(self, response: &Response) -> Found {
        let text = response.text();
        let body: Value = serde_json::from_slice(&response.body)
            .map_err(|error| format!("status {}, no JSON ({error}): {text:?}", response.status()))?;
        let told = |name: &str| body.get(name).and_then(Value::as_str);
        let got = (response.status(), told("error"), told("error_description"));
        let expect = (self.status, Some(self.error), Some(self.description));
        if got != expect {
            return Err(format!("got {got:?}, expected {expect:?}"));
        }
        let id = response.header("x-request-id").unwrap_or_default();
        if id.is_empty() || told("requestId") != Some(id) {
            return Err(format!("X-Request-Id {id:?} beside {text}"));
        }
        if body.as_object().is_none_or(|members| members.len() != 3) {
            return Err(format!("other members than three: {text}"));
        }
        let expect_headers = [
            ("content-type", Some("application/json".to_owned())),
            ("cache-control", Some("no-store".to_owned())),
            (
                "www-authenticate",
                (self.status == 401).then(|| format!("Bearer error=\"{}\"", self.error)),
            ),
        ];
        for (name, expect) in expect_headers {
            if response.header(name) != expect.as_deref() {
                return Err(format!(
                    "{name}: {:?}, expected {expect:?}",
                    response.header(name)
                ));
            }
        }
        let retry = response.header("retry-after").map(str::parse::<u32>);
        match (self.status == 503, retry) {
            (true, Some(Ok(_))) | (false, None) => Ok(()),
            (_, retry) => Err(format!("retry-after {retry:?} with {}", self.status)),
        }
    }
}
