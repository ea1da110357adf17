//! What comes of the answers of a name server that lies, errs or is slow: judged by the egress guard, remembered, asked again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use admission::binding::{JudgedAddress, UpstreamUrl, judge};
use admission::limits::{EgressPolicy, PrivateUpstreams};
use testkit::dns::{NXDOMAIN, Question, REFUSED, Record, SERVFAIL};
use testkit::wait::PATIENCE;
use tokio::time::timeout;

use crate::dns::Fixture;

const NAME: &str = "api.example";
const GOOD: &str = "93.184.216.34";
const GOOD_TOO: &str = "2606:2800:220:1:248:1893:25c8:1946";
const METADATA: &str = "169.254.169.254";

type Say = fn(&Question) -> Vec<Vec<u8>>;

fn good() -> Record {
    Record::address(NAME, GOOD, 30)
}

fn bad(owner: &str) -> Record {
    Record::address(owner, METADATA, 30)
}

/// Another transaction.
fn with_another_id(mut message: Vec<u8>) -> Vec<u8> {
    message[0] ^= 0xff;
    message
}

/// Another first letter of the name that was asked for.
fn with_another_question(mut message: Vec<u8>) -> Vec<u8> {
    message[13] ^= 1;
    message
}

/// A good one, beside which others are said that nobody asked for.
fn with_additional(ask: &Question) -> Vec<Vec<u8>> {
    let (good, bad) = (good(), [bad(NAME), bad("else.example")]);
    let answers: &[&Record] = if ask.is_six { &[] } else { &[&good] };
    vec![ask.message(0, answers, &bad.each_ref())]
}

fn crowd(count: u16) -> Vec<Record> {
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Record::address(NAME, &IpAddr::from([93, 184, high, low]).to_string(), 30)
    };
    (0..count).map(address).collect()
}

/// What is said to a question, and the addresses that may be dialled after it; none where the upstream is refused.
const ANSWERS: [(&str, Say, &[&str]); 16] = [
    (
        "of another transaction",
        |ask| vec![with_another_id(ask.answer(&[bad(NAME)])), ask.answer(&[good()])],
        &[GOOD],
    ),
    (
        "to another question",
        |ask| {
            vec![
                with_another_question(ask.answer(&[bad(NAME)])),
                ask.answer(&[good()]),
            ]
        },
        &[GOOD],
    ),
    (
        "with another name",
        |ask| {
            vec![ask.answer(&[
                Record::address("else.example", "93.184.216.99", 30),
                good(),
                bad("else.example"),
            ])]
        },
        &[GOOD],
    ),
    (
        "with another name alone",
        |ask| vec![ask.answer(&[Record::address("else.example", "93.184.216.99", 30)])],
        &[],
    ),
    ("with additional records", with_additional, &[GOOD]),
    (
        "with an alias",
        |ask| {
            vec![ask.answer(&[
                Record::alias(NAME, "b.example", 30),
                Record::address("b.example", GOOD, 30),
            ])]
        },
        &[GOOD],
    ),
    (
        "with an alias of what is forbidden",
        |ask| vec![ask.answer(&[Record::alias(NAME, "b.example", 30), bad("b.example")])],
        &[],
    ),
    (
        "with an alias alone",
        |ask| vec![ask.answer(&[Record::alias(NAME, "target.example", 30)])],
        &[GOOD],
    ),
    (
        "with an alias of itself",
        |ask| {
            vec![ask.answer(&[
                Record::alias(NAME, "b.example", 30),
                Record::alias("b.example", NAME, 30),
            ])]
        },
        &[],
    ),
    (
        "with one that is forbidden among good ones",
        |ask| vec![ask.answer(&[good(), bad(NAME)])],
        &[],
    ),
    (
        "with one that is forbidden in the other family",
        |ask| vec![ask.answer(&[good(), Record::address(NAME, "::1", 30)])],
        &[],
    ),
    (
        "in one family, a failure in the other",
        |ask| match ask.is_six {
            true => vec![ask.answer(&[Record::address(NAME, GOOD_TOO, 30)])],
            false => vec![ask.code(SERVFAIL)],
        },
        &[GOOD_TOO],
    ),
    (
        "too long for a datagram",
        |ask| match ask.over_tcp {
            true => vec![ask.answer(&crowd(2))],
            false => vec![ask.truncated()],
        },
        &["93.184.0.0", "93.184.0.1"],
    ),
    (
        "with more than a thousand",
        |ask| match ask.over_tcp {
            true => vec![ask.answer(&crowd(1001))],
            false => vec![ask.truncated()],
        },
        &[],
    ),
    (
        "lost once",
        |ask| match ask.before {
            0 => vec![],
            _ => vec![ask.answer(&[good()])],
        },
        &[GOOD],
    ),
    (
        "that is none",
        |ask| vec![b"\0".to_vec(), ask.answer(&[good()])],
        &[GOOD],
    ),
];

impl Fixture {
    /// The addresses of the upstream that may be dialled; none where it is refused.
    async fn judged(&self) -> Vec<IpAddr> {
        let policy = EgressPolicy {
            private: PrivateUpstreams::Blocked,
            allowlist: vec![],
            own_endpoints: vec![],
        };
        let url = Arc::new(UpstreamUrl::parse(&format!("https://{NAME}/")).unwrap());
        let judged = timeout(PATIENCE, judge(&url, &policy, &self.resolver)).await;
        let judged = judged.expect("a judgement within the deadline");
        let ip = |address: &JudgedAddress| address.socket().ip();
        let mut judged: Vec<_> = judged
            .iter()
            .flat_map(|judged| judged.addresses().iter().map(ip))
            .collect();
        judged.sort_unstable();
        judged
    }
}

#[tokio::test]
async fn answer_that_lies_puts_no_address_in_place_of_the_names_own() {
    let fixture = Fixture::start().await;
    fixture.server.script("target.example", |ask| {
        let answer = Record::address("target.example", GOOD, 30);
        let (answers, other): (&[&Record], _) =
            (if ask.is_six { &[] } else { &[&answer] }, bad("else.example"));
        vec![ask.message(0, answers, &[&other])]
    });
    for (case, say, expect) in ANSWERS {
        fixture.server.script(NAME, say);
        // What was remembered of the case before holds no longer.
        fixture.clock.advance(Duration::from_mins(1));
        let before = fixture.server.asked();
        let expect: Vec<IpAddr> = expect.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(fixture.judged().await, expect, "{case}");
        let asked = fixture.server.asked();
        assert!(asked - before <= 40, "{case}: {}", asked - before);
        // The answer is remembered, a failure too.
        assert_eq!(fixture.judged().await, expect, "{case}, again");
        assert_eq!(fixture.server.asked(), asked, "{case}");
    }
}

#[tokio::test]
async fn answer_with_an_error_code_refuses_the_upstream_for_a_second() {
    let fixture = Fixture::start().await;
    for code in [NXDOMAIN, SERVFAIL, REFUSED] {
        fixture.server.script(NAME, move |ask| vec![ask.code(code)]);
        assert!(fixture.judged().await.is_empty(), "{code}");
        fixture.server.set(NAME, &[GOOD], 0);
        assert!(fixture.judged().await.is_empty(), "{code}, remembered");
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(fixture.judged().await.len(), 1, "{code}");
        fixture.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn answer_that_changes_is_judged_anew_and_the_old_judgement_keeps_its_addresses() {
    let fixture = Fixture::start().await;
    for forbidden in ["127.0.0.1", METADATA, "::ffff:10.0.0.1", "fd00:ec2::254"] {
        fixture.server.set(NAME, &[GOOD], 0);
        assert_eq!(fixture.judged().await.len(), 1);
        fixture.server.set(NAME, &[forbidden], 0);
        assert_eq!(fixture.judged().await.len(), 1, "remembered for a second");
        fixture.clock.advance(Duration::from_secs(1));
        assert!(fixture.judged().await.is_empty(), "{forbidden}");
        fixture.clock.advance(Duration::from_secs(1));
    }
}
