//! What the gateway changes, as `docs/compatibility.md` says it, and nothing else.

use super::HOST;
use super::case::{Case, Download, Protocol, Upload};
use super::message::{Framing, Message};
use http::StatusCode;

/// One case on its way through the gateway.
pub(super) struct Crossing<'a> {
    pub(super) case: &'a Case,
    /// What the caller speaks.
    pub(super) client: Protocol,
    /// What the upstream speaks.
    pub(super) upstream: Protocol,
    /// The upstream's own host and port.
    pub(super) host: &'a str,
}

/// One row of the page.
pub(super) struct Rewrite {
    /// The first cell of the row.
    pub(super) row: &'static str,
    /// Makes what is seen of a direct connection what is seen behind the gateway.
    pub(super) apply: fn(&Crossing<'_>, &mut Message),
}

/// The section of the page about requests, and its rows in the order in which they apply.
pub(super) const REQUEST: (&str, &[Rewrite]) = (
    "## What of a request is rewritten",
    &[
        Rewrite {
            row: "`Authorization`, and the header or query parameter of the provider's credential in any spelling",
            apply: |_, request| request.remove(|name| name == "authorization"),
        },
        Rewrite {
            row: "`X-Caracal-*` in any spelling, `caracal.*` members of `Baggage`",
            apply: own_names,
        },
        Rewrite {
            row: "`Connection` and what it lists, `Keep-Alive`, `Proxy-*`, `Upgrade`, `TE`",
            apply: connection_of_a_request,
        },
        Rewrite {
            row: "`Proxy`",
            apply: |_, request| request.remove(|name| name == "proxy"),
        },
        Rewrite {
            row: "`X-Forwarded-*`, `Forwarded`, `X-Real-IP`",
            apply: forwarded,
        },
        Rewrite {
            row: "`Host`",
            apply: |crossing, request| *request.part("host") = crossing.host.into(),
        },
        Rewrite {
            row: "`X-Request-Id`",
            apply: |_, request| add_missing(request, "x-request-id", "<x-request-id>"),
        },
        Rewrite {
            row: "`traceparent`, `tracestate`",
            apply: trace,
        },
        Rewrite {
            row: "`Expect: 100-continue`",
            apply: |_, request| request.remove(|name| name == "expect"),
        },
        Rewrite {
            row: "The framing of the body",
            apply: framing_of_a_request,
        },
        Rewrite {
            row: "Cookies",
            apply: cookies,
        },
        Rewrite {
            row: "Trailers of a request",
            apply: trailers_of_a_request,
        },
        Rewrite {
            row: EVERYTHING_ELSE,
            apply: |crossing, request| lower_case(crossing.upstream, request),
        },
    ],
);

/// The section about answers.
pub(super) const ANSWER: (&str, &[Rewrite]) = (
    "## What of an answer is rewritten",
    &[
        Rewrite {
            row: "`Connection` and what it lists, `Keep-Alive`, `Proxy-Authenticate`, `Upgrade`",
            apply: connection_of_an_answer,
        },
        Rewrite {
            row: "`Server`, `X-Powered-By`, `X-AspNet*`, `Refresh`, `Alt-Svc`",
            apply: software,
        },
        Rewrite {
            row: "`Location`, `Content-Location`",
            apply: location,
        },
        Rewrite {
            row: "`X-Request-Id`, `X-Caracal-*`, in heads and in trailers",
            apply: own_names_of_an_answer,
        },
        Rewrite {
            row: "The reason phrase",
            apply: reason,
        },
        Rewrite {
            row: "`Date` where the upstream sends none",
            apply: |_, answer| add_missing(answer, "date", "<date>"),
        },
        Rewrite {
            row: "103 (Early Hints)",
            apply: |_, answer| answer.interim.retain(|status| *status != 103),
        },
        Rewrite {
            row: "100, 102 and other interim answers",
            apply: interim,
        },
        Rewrite {
            row: "Trailers",
            apply: trailers_of_an_answer,
        },
        Rewrite {
            row: "The framing of an answer",
            apply: framing_of_an_answer,
        },
        Rewrite {
            row: "An answer that ends before the request's body",
            apply: early_answer,
        },
        Rewrite {
            row: EVERYTHING_ELSE,
            apply: |crossing, answer| lower_case(crossing.client, answer),
        },
    ],
);

/// The row about names; the order of fields with different names is among it.
pub(super) const EVERYTHING_ELSE: &str =
    "Everything else: names in lower case, values as they are, repeated fields in order";

/// Values that nobody can know before, and what they look like.
pub(super) fn settle(expect: &Message, got: &mut Message) {
    let fits = |name: &str, text: &str| match name {
        "x-caracal-token-expires-in" => text.parse::<u32>().is_ok(),
        "date" => text.len() == 29 && text.ends_with(" GMT"),
        "x-request-id" => text.len() == 36 && text.split('-').count() == 5,
        _ => text.len() == 55 && text.starts_with("00-") && text.ends_with("-01"),
    };
    // Whether the head says that the connection closes depends on when it leaves; that it does, the client sees.
    if expect.values("connection").any(|value| value == b"<connection>") {
        got.remove(|name| name == "connection");
        got.add("connection", "<connection>");
    }
    for name in [
        "x-caracal-token-expires-in",
        "date",
        "x-request-id",
        "traceparent",
    ] {
        let word = format!("<{name}>");
        if expect.values(name).any(|value| value == word.as_bytes()) {
            got.mark(name, &word, |text| fits(name, text));
        }
    }
}

/// The case of names is theirs who write them; HTTP/2 has lower case only.
fn lower_case(protocol: Protocol, message: &mut Message) {
    if protocol == Protocol::Http1 {
        for (name, _) in message.fields.iter_mut().chain(&mut message.trailers) {
            name.make_ascii_lowercase();
        }
    }
}

fn add_missing(message: &mut Message, name: &str, value: &str) {
    if !message.has(name) {
        message.add(name, value);
    }
}

fn folded(name: &str) -> String {
    name.replace('_', "-")
}

fn own_names(_: &Crossing<'_>, request: &mut Message) {
    request.remove(|name| folded(name).starts_with("x-caracal-"));
    for (name, value) in &mut request.fields {
        if name.eq_ignore_ascii_case("baggage") && value.starts_with(b"caracal.zone=z, ") {
            value.drain(..b"caracal.zone=z, ".len());
        }
    }
}

/// The names in a list, in lower case.
fn names(line: &[u8]) -> Vec<String> {
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    line.split(", ").map(str::to_owned).collect()
}

/// The names that these fields list for their connection.
fn listed(fields: &[(String, Vec<u8>)]) -> Vec<String> {
    let lines = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    lines.flat_map(|(_, line)| names(line)).collect()
}

fn connection_of_a_request(crossing: &Crossing<'_>, request: &mut Message) {
    let listed = listed(&crossing.case.fields(crossing.client));
    let takes_trailers = request.has("te");
    request.remove(|name| {
        name.starts_with("proxy-")
            || matches!(name, "connection" | "keep-alive" | "upgrade" | "te")
            || listed.iter().any(|known| known == name)
    });
    if takes_trailers {
        request.add("te", "trailers");
    }
}

fn forwarded(_: &Crossing<'_>, request: &mut Message) {
    request.remove(|name| name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip"));
    request.add("x-forwarded-for", "127.0.0.1");
    request.add("x-forwarded-proto", "http");
    request.add("x-forwarded-host", HOST);
}

fn trace(_: &Crossing<'_>, request: &mut Message) {
    let is_valid = request.values("traceparent").any(|value| value.len() == 55);
    if !is_valid {
        request.remove(|name| matches!(name, "traceparent" | "tracestate"));
        request.add("traceparent", "<traceparent>");
    }
}

fn framing_of_a_request(crossing: &Crossing<'_>, request: &mut Message) {
    if let Framing::Chunks { extended } = &mut request.framing {
        *extended = false;
    }
    let has_meaning = matches!(crossing.case.method, "POST" | "PUT" | "PATCH");
    if has_meaning && crossing.case.upload == Upload::None {
        request.add("content-length", "0");
        if crossing.upstream == Protocol::Http1 {
            request.framing = Framing::Length;
        }
    }
}

fn cookies(_: &Crossing<'_>, request: &mut Message) {
    let joined = request.values("cookie").collect::<Vec<_>>().join(&b"; "[..]);
    if !joined.is_empty() {
        request.remove(|name| name == "cookie");
        request.add("cookie", joined);
    }
}

fn trailers_of_a_request(crossing: &Crossing<'_>, request: &mut Message) {
    let is_announced = crossing.case.upload == (Upload::Trailers { announced: true });
    if crossing.upstream == Protocol::Http1 && !is_announced {
        request.trailers.clear();
    }
    for (name, value) in &mut request.fields {
        if name.eq_ignore_ascii_case("trailer") {
            value.make_ascii_lowercase();
        }
    }
}

fn connection_of_an_answer(crossing: &Crossing<'_>, answer: &mut Message) {
    let listed = listed(&crossing.case.answer_fields(crossing.upstream, HOST));
    answer.remove(|name| {
        matches!(
            name,
            "connection" | "keep-alive" | "proxy-authenticate" | "upgrade"
        ) || listed.iter().any(|known| known == name)
    });
}

fn software(_: &Crossing<'_>, answer: &mut Message) {
    answer.remove(|name| {
        name.starts_with("x-aspnet") || matches!(name, "server" | "x-powered-by" | "refresh" | "alt-svc")
    });
}

fn location(_: &Crossing<'_>, answer: &mut Message) {
    let own = format!("http://{HOST}").into_bytes();
    for (name, value) in &mut answer.fields {
        if name.eq_ignore_ascii_case("location") && value.starts_with(&own) {
            value.drain(..own.len());
        }
    }
    answer.fields.retain(|(name, value)| {
        !name.eq_ignore_ascii_case("content-location") || !value.starts_with(b"https://elsewhere.")
    });
}

fn own_names_of_an_answer(crossing: &Crossing<'_>, answer: &mut Message) {
    let is_own = |name: &str| name == "x-request-id" || name.starts_with("x-caracal-");
    answer.remove(is_own);
    answer
        .trailers
        .retain(|(name, _)| !is_own(&name.to_ascii_lowercase()));
    let fields = crossing.case.fields(crossing.client);
    let id = fields.iter().find(|(name, _)| name == "X-Request-Id");
    answer.add("x-request-id", id.map_or(&b"<x-request-id>"[..], |(_, id)| id));
    answer.add("x-caracal-token-expires-in", "<x-caracal-token-expires-in>");
}

fn reason(crossing: &Crossing<'_>, answer: &mut Message) {
    if crossing.case.upload == Upload::Early && !crossing.case.reason.is_ascii() {
        answer.part("reason").clear();
    }
    if crossing.client == Protocol::Http1 && crossing.upstream == Protocol::Http2 {
        let status = StatusCode::from_u16(crossing.case.status).expect("a status");
        *answer.part("reason") = status.canonical_reason().unwrap_or_default().into();
    }
}

/// The one that the gateway says itself stays.
fn interim(crossing: &Crossing<'_>, answer: &mut Message) {
    let is_asked = crossing.client == Protocol::Http1 && crossing.case.upload == Upload::Expect;
    answer.interim.truncate(usize::from(is_asked));
}

/// Over HTTP/1.1 only those that were asked for and announced; and what a revocation would say is announced beside them.
fn trailers_of_an_answer(crossing: &Crossing<'_>, answer: &mut Message) {
    let Crossing { case, client, .. } = *crossing;
    let may_pass = |name: &str| !matches!(name, "content-length" | "set-cookie" | "x-request-id");
    let has_trailers = !case.is_bodiless() && !matches!(case.download, Download::Length(_));
    let takes = has_trailers && case.takes_trailers();
    let listed: Vec<String> = answer.values("trailer").flat_map(names).collect();
    let listed: Vec<String> = listed
        .into_iter()
        .filter(|name| takes && may_pass(name))
        .collect();
    answer.remove(|name| name == "trailer");
    let own = takes && client == Protocol::Http1 && case.lists_te();
    let own = own.then(|| "x-caracal-revoked".to_owned());
    let announced: Vec<String> = own.into_iter().chain(listed.clone()).collect();
    if !announced.is_empty() {
        answer.add("trailer", announced.join(", "));
    }
    answer.trailers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        may_pass(&name) && (client == Protocol::Http2 || listed.contains(&name))
    });
}

fn framing_of_an_answer(crossing: &Crossing<'_>, answer: &mut Message) {
    // Of one without a body: else it is the framing.
    answer.remove(|name| name == "transfer-encoding");
    if crossing.client == Protocol::Http1 && matches!(answer.framing, Framing::Close | Framing::Chunks { .. })
    {
        answer.framing = Framing::Chunks { extended: false };
    }
}

fn early_answer(crossing: &Crossing<'_>, answer: &mut Message) {
    if crossing.client == Protocol::Http1 && crossing.case.upload == Upload::Early {
        answer.add("connection", "<connection>");
    }
}
