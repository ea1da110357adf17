//! The memory of a connection that has carried one request and waits.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use testkit::http::Stream;
use testkit::tls::{self, Ca};
use tokio::net::TcpStream;

use super::Plan;
use crate::connection::Connection;
use crate::failure::Result;
use crate::gateway;
use crate::requests::Requests;
use crate::servers::Servers;
use crate::stream_client::HOST;

/// Connections on which a request is under way at a time.
const OPENING: usize = 32;
/// How long they have been idle when they are measured.
const SILENCE: Duration = Duration::from_secs(5);
/// What a plain one and one over TLS may hold, in KiB.
const MOST_PLAIN: f64 = 16.0;
const MOST_TLS: f64 = 22.0;

/// Measures both kinds.
pub(super) async fn run(command: &[OsString], servers: &Servers, plan: &Plan) -> Result<(String, bool)> {
    let mut text = String::from(
        "| idle connections after one request | number | resident, each (KiB) | at most |\n|---|---:|---:|---:|\n",
    );
    let mut good = true;
    for (name, over_tls, most) in [("plain", false, MOST_PLAIN), ("TLS", true, MOST_TLS)] {
        let kib = measure(command, servers, plan, over_tls).await?;
        writeln!(text, "| {name} | {} | {kib:.1} | {most} |", plan.idle)?;
        good &= kib <= most;
    }
    Ok((text, good))
}

async fn measure(command: &[OsString], servers: &Servers, plan: &Plan, over_tls: bool) -> Result<f64> {
    let (ca, directory) = (Ca::new(), tempfile::tempdir()?);
    let mut variables = vec![
        ("MAX_CONNECTIONS", (2 * plan.idle).max(100).to_string()),
        ("MAX_CONNECTIONS_PER_SOURCE", (2 * plan.idle).max(100).to_string()),
        ("IDLE_TIMEOUT", "1h".to_owned()),
    ];
    if over_tls {
        let files = ca.server(&[HOST]).write_to(directory.path());
        variables.extend(gateway::over_tls(&files));
    }
    let subject = gateway::launch(command, servers, &variables).await?;
    let used = async |count| {
        let requests = Requests::mint(servers.stack(), count)?;
        let using = stream::iter(0..count).map(async |index| {
            let stream: Box<dyn Stream> = match over_tls {
                true => tls::connect(subject.address, HOST, ca.client_config(&["http/1.1"])).await?,
                false => Box::new(TcpStream::connect(subject.address).await?),
            };
            let mut connection = Connection::over(stream);
            let mut request = Vec::new();
            requests.write(index, &mut request);
            let answer = connection.exchange(&request).await?;
            if answer.status != 200 {
                return Err(format!("status {}", answer.status).into());
            }
            Result::Ok(connection)
        });
        using.buffer_unordered(OPENING).try_collect::<Vec<_>>().await
    };
    // What the first requests make stays, and belongs to no connection.
    for _ in 0..20 {
        drop(used(OPENING).await?);
    }
    let before = subject.resident()?;
    let count = usize::try_from(plan.idle)?;
    let idle = used(count).await?;
    tokio::time::sleep(SILENCE).await;
    let after = subject.resident()?;
    drop(idle);
    subject.child.stop().await?;
    let kib = after.anonymous.saturating_sub(before.anonymous) as f64;
    Ok(kib / count as f64)
}
