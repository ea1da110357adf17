//! Every dependency, every fault, every moment, one oracle: nothing is dispatched without authority or twice, every
//! answer comes and is one that the table permits, `/ready` tells, and the gateway recovers by itself.
//!
//! The tables are those of `docs/operations.md`. The times are printed, and not judged.

mod scene;
mod walk;

use crate::report::{Refusal, Report, refusal};
use scene::{Dependency, Scene, Where};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::proxy::Fault;
use walk::Walk;

const NO_REPLAY_STORE: Refusal = refusal(503, "authority_unavailable", "replay store unavailable");
const STS_UNREACHABLE: Refusal = refusal(502, "sts_unavailable", "sts unavailable");
const STS_CIRCUIT_OPEN: Refusal = refusal(503, "sts_unavailable", "sts unavailable");
const STS_TIMEOUT: Refusal = refusal(504, "sts_unavailable", "sts timeout");

/// What one dependency does, and what is seen of it.
struct Row {
    name: &'static str,
    fault: Where,
    /// Whether a request may pass meanwhile.
    passes: bool,
    /// What a request may be told meanwhile.
    refusals: &'static [Refusal],
    ready: Ready,
    start: Start,
}

/// What `/ready` says meanwhile.
#[derive(Clone, Copy)]
enum Ready {
    /// That it is ready.
    Stays,
    /// That, or not for this reason: once what stands still is found out, which takes longer than a test.
    Or(&'static str),
    /// That it is not, for this reason.
    Not(&'static str),
}

/// What a gateway does that is started meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It serves.
    Serves,
    /// It does not listen yet. Whether its attempts to connect are seen.
    Waits { attempts: bool },
}

/// What is seen of a dependency that cannot be used.
#[derive(Clone, Copy)]
struct Outage {
    passes: bool,
    refusals: &'static [Refusal],
    /// What `/ready` says; none where it stays ready.
    reason: Option<&'static str>,
    /// Whether one that says nothing is found out at once, because it is asked all the time.
    asked: bool,
    waits: bool,
}

const REDIS: Outage = Outage {
    passes: false,
    refusals: &[NO_REPLAY_STORE],
    reason: Some("redis_unreachable"),
    asked: true,
    waits: true,
};
/// Everything that is read of it is held in memory, and read again when it changes, or else every 30 s.
const POSTGRES: Outage = Outage {
    passes: true,
    refusals: &[],
    reason: Some("bindings_unavailable"),
    asked: false,
    waits: true,
};
const STS: Outage = Outage {
    passes: false,
    refusals: &[STS_UNREACHABLE, STS_CIRCUIT_OPEN, STS_TIMEOUT],
    reason: Some("sts_unreachable"),
    asked: true,
    waits: false,
};

/// They are asked at start, and tell of failovers: without them the last primary is used.
const SENTINELS: Outage = Outage {
    passes: true,
    refusals: &[],
    reason: None,
    asked: true,
    waits: true,
};

/// Every fault of one dependency.
fn rows(outage: Outage) -> Vec<Row> {
    let broken = |name, fault, attempts| Row {
        name,
        fault,
        passes: outage.passes,
        refusals: outage.refusals,
        ready: match (outage.reason, fault) {
            (None, _) => Ready::Stays,
            (Some(reason), Where::Network(Fault::Hang | Fault::BlackHole)) if !outage.asked => {
                Ready::Or(reason)
            }
            (Some(reason), _) => Ready::Not(reason),
        },
        start: match outage.waits {
            true => Start::Waits { attempts },
            false => Start::Serves,
        },
    };
    // One that answers late, but in time, and one whose old connections are found out and replaced.
    let lame = |name, fault, ready| Row {
        name,
        fault,
        passes: true,
        refusals: outage.refusals,
        ready,
        start: Start::Serves,
    };
    let late = Duration::from_millis(50);
    vec![
        broken("refuses connections", Where::Network(Fault::Refuse), false),
        broken(
            "takes connections and says nothing",
            Where::Network(Fault::Hang),
            true,
        ),
        broken("stalls", Where::Network(Fault::BlackHole), true),
        broken("cuts its connections", Where::Network(Fault::CutAfter(0)), true),
        broken("cuts its answers", Where::Server(Fault::CutAfter(3)), true),
        broken("answers garbage", Where::Server(Fault::Garbage), true),
        broken("shows a wrong certificate", Where::WrongCertificate, true),
        lame("answers late", Where::Network(Fault::Delay(late)), Ready::Stays),
        lame(
            "vanishes and comes back",
            Where::Network(Fault::Vanish),
            outage.reason.map_or(Ready::Stays, Ready::Or),
        ),
    ]
}

/// What was seen of one row.
#[derive(Default)]
struct Seen {
    /// Answers by how often they came.
    answers: BTreeMap<String, u64>,
    /// Until `/ready` told.
    told: Vec<Duration>,
    /// From the end of the fault until a request passed, and until `/ready` was content.
    passes_again: Vec<Duration>,
    ready_again: Vec<Duration>,
    /// From the end of the fault until a gateway that was started meanwhile served.
    starts: Vec<Duration>,
}

async fn walk(dependency: Dependency, outage: Outage) {
    let scene = Arc::new(Scene::start(dependency).await);
    let mut report = Report::default();
    let warm = scene::request(scene.world.addr(), &scene.mint()).await;
    report.status("before", &warm, 200);
    let mut table = format!(
        "\n| {} | answers | `/ready` told after | passes after | ready after | start after |\n|---|---|---|---|---|---|\n",
        dependency.name()
    );
    for row in &rows(outage) {
        let walk = Walk {
            scene: &scene,
            row,
            report: &mut report,
            seen: Seen::default(),
        };
        let seen = walk.all().await;
        let answers: Vec<_> = seen
            .answers
            .iter()
            .map(|(answer, count)| format!("{count} × {answer}"))
            .collect();
        let slowest = |times: &[Duration]| match times.iter().max() {
            Some(time) => format!("{} ms", time.as_millis()),
            None => "–".to_owned(),
        };
        let times =
            [&seen.told, &seen.passes_again, &seen.ready_again, &seen.starts].map(|times| slowest(times));
        writeln!(
            table,
            "| {} | {} | {} |",
            row.name,
            answers.join(", "),
            times.join(" | ")
        )
        .expect("a string grows");
    }
    print(&table);
    report.finish();
}

#[expect(
    clippy::print_stdout,
    reason = "the measured table is for whoever runs the test"
)]
fn print(table: &str) {
    println!("{table}");
}

#[tokio::test]
async fn matrix_of_redis() {
    walk(Dependency::Redis, REDIS).await;
}

#[tokio::test]
async fn matrix_of_postgres() {
    walk(Dependency::Postgres, POSTGRES).await;
}

#[tokio::test]
async fn matrix_of_the_sts() {
    walk(Dependency::Sts, STS).await;
}

#[tokio::test]
async fn matrix_of_the_sentinels() {
    walk(Dependency::Sentinels, SENTINELS).await;
}

/// One row of the page: what happens, what callers get, what `/ready` says.
fn told(dependency: Dependency, row: &Row) -> String {
    let mut callers: Vec<_> = row
        .refusals
        .iter()
        .map(|refusal| format!("{} `{}`", refusal.status, refusal.description))
        .collect();
    if row.passes {
        callers.insert(0, "served".to_owned());
    }
    let ready = match row.ready {
        Ready::Stays => "ready".to_owned(),
        Ready::Or(reason) => format!("ready, or 503 `{reason}`"),
        Ready::Not(reason) => format!("503 `{reason}`"),
    };
    format!(
        "| {} {} | {} | {ready} |",
        dependency.name(),
        row.name,
        callers.join(", or ")
    )
}

#[test]
fn matrix_is_what_the_operators_page_tells() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let page = std::fs::read_to_string(page).expect("docs/operations.md");
    let missing: Vec<_> = [
        (Dependency::Redis, REDIS),
        (Dependency::Postgres, POSTGRES),
        (Dependency::Sts, STS),
        (Dependency::Sentinels, SENTINELS),
    ]
    .into_iter()
    .flat_map(|(dependency, outage)| rows(outage).into_iter().map(move |row| told(dependency, &row)))
    .filter(|line| !page.lines().any(|known| known == line))
    .collect();
    assert!(
        missing.is_empty(),
        "docs/operations.md lacks:\n{}",
        missing.join("\n")
    );
}
