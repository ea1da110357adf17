//! A database of the gateway's own: `migrate` makes it, `binding` fills it, and `serve` runs on it.

use crate::report::{Refusal, Report, refusal};
use crate::world::{APP, NONE, World, ZONE, present_to};
use testkit::gateway::Finished;
use testkit::http;
use testkit::postgres::{Database, Layout, connect};
use testkit::wait::until;

const NOT_BOUND: Refusal = refusal(403, "access_denied", "resource not configured");
/// The command did its work and says no.
const REFUSED: Option<i32> = Some(1);

/// Runs a command of the binary against this database, with the environment of the world's gateway.
async fn run(world: &World, database: &str, changes: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let launch = world
        .launch(&[("DATABASE_URL", database)])
        .envs(changes.iter().copied());
    let launch = arguments
        .iter()
        .fold(launch, |launch, argument| launch.arg(*argument));
    launch.finish().await
}

fn add<'a>(resource: &'a str, upstream: &'a str) -> [&'a str; 10] {
    [
        "binding",
        "add",
        "--zone",
        ZONE,
        "--resource",
        resource,
        "--application",
        APP,
        "--upstream",
        upstream,
    ]
}

#[tokio::test]
async fn gateway_with_a_database_of_its_own_serves_what_the_operator_binds() {
    let world = World::start().await;
    let database = Database::create(Layout::Empty).await;
    let owner = database.owner_url();
    let mut report = Report::default();
    let early = run(&world, &owner, &[], &add(NONE, world.stack.upstream_url())).await;
    report.equal("before the schema is there", early.code, REFUSED);
    report.holds("it says what to do", early.stderr.join("\n").contains("migrate"));
    let role = database.gateway_role();
    for round in ["the first time", "once more"] {
        let made = run(&world, &owner, &[], &["migrate", "--grant-to", &role]).await;
        report.equal(format!("migrate {round}: {:?}", made.stderr), made.code, Some(0));
    }
    let added = run(&world, &owner, &[], &add(NONE, world.stack.upstream_url())).await;
    report.equal(format!("add: {:?}", added.stderr), added.code, Some(0));
    // A zone without any binding would be no zone.
    let beside = add("resource://other", world.stack.upstream_url());
    let added = run(&world, &owner, &[], &beside).await;
    report.equal("add another", added.code, Some(0));

    let replica = world
        .replica_with(&[("DATABASE_URL", &database.gateway_url())])
        .await;
    let ask = async || present_to(replica.addr(), &world.token(NONE), NONE, "/x").await;
    report.status("bound", &ask().await, 200);
    until("changes to be heard", async || {
        let page = http::get(replica.addr(), "/metrics", &[]).await.text();
        page.contains("caracal_gateway_binding_changes_notified 1")
            .then_some(())
    })
    .await;

    let listed = run(&world, &owner, &[], &["binding", "list"]).await;
    let line = listed.stdout.get(1).map_or("", String::as_str);
    report.equal("lines of the list", listed.stdout.len(), 3);
    for column in [ZONE, NONE, APP, world.stack.upstream_url(), "permitted"] {
        report.holds(format!("{column} in {line:?}"), line.contains(column));
    }
    let remove = ["binding", "remove", "--zone", ZONE, "--resource", NONE];
    let removed = run(&world, &owner, &[], &remove).await;
    report.equal(format!("remove: {:?}", removed.stderr), removed.code, Some(0));
    until("the binding to be gone", async || {
        NOT_BOUND.found_in(&ask().await).is_ok().then_some(())
    })
    .await;
    let again = run(&world, &owner, &[], &remove).await;
    report.equal("what is not bound", again.code, REFUSED);
    report.finish();
}

#[tokio::test]
async fn upstream_that_may_not_be_dialled_is_not_stored_and_the_reason_is_told() {
    let world = World::start().await;
    let database = Database::create(Layout::Empty).await;
    let owner = database.owner_url();
    let mut report = Report::default();
    let made = run(&world, &owner, &[], &["migrate"]).await;
    report.equal("migrate", made.code, Some(0));
    let own = owner.rsplit_once('@').map_or("", |(_, address)| address);
    let own = format!("http://{own}");
    let redis = format!("http://127.0.0.1:{}/", world.redis.port());
    let sts = world.variable("STS_URL").to_owned();
    for (upstream, changes, reason) in [
        ("http://169.254.169.254/", &[][..], "never reachable"),
        (
            "http://127.0.0.1:1/",
            &[("ALLOW_PRIVATE_UPSTREAMS", "false")],
            "private",
        ),
        (
            "https://api.example/",
            &[("UPSTREAM_HOST_ALLOWLIST", "other.example")],
            "ALLOWLIST",
        ),
        ("ftp://api.example/", &[], "scheme"),
        (&own, &[], "own"),
        (&redis, &[], "own"),
        (&sts, &[], "own"),
    ] {
        let refused = run(&world, &owner, changes, &add("resource://x", upstream)).await;
        report.equal(upstream, refused.code, REFUSED);
        let told = refused.stderr.join("\n");
        report.holds(format!("{reason} in {told:?}"), told.contains(reason));
    }
    let refused = run(
        &world,
        &owner,
        &[],
        &add("resource://x\n", "https://api.example/"),
    )
    .await;
    report.equal("a name that no request can use", refused.code, REFUSED);
    let listed = run(&world, &owner, &[], &["binding", "list"]).await;
    report.equal("nothing is stored", listed.stdout.len(), 1);
    report.finish();
}

#[tokio::test]
async fn database_of_a_stack_is_left_alone() {
    let world = World::start().await;
    let mut report = Report::default();
    for layout in [Layout::June, Layout::August] {
        let database = Database::create(layout).await;
        let owner = database.owner_url();
        for arguments in [
            &["migrate"][..],
            &["binding", "list"],
            &add(NONE, world.stack.upstream_url()),
        ] {
            let refused = run(&world, &owner, &[], arguments).await;
            report.equal(format!("{layout:?} {arguments:?}"), refused.code, REFUSED);
            let told = refused.stderr.join("\n");
            report.holds(
                format!("whose it is: {told:?}"),
                told.contains("a Caracal stack owns it"),
            );
        }
        let connection = connect(&owner).await;
        let made = connection
            .client
            .query_one("SELECT to_regclass('gateway_schema') IS NULL", &[])
            .await;
        report.holds("nothing was made", made.is_ok_and(|row| row.get(0)));
    }
    report.finish();
}
