//! `demo`: requests through every gate, each outcome beside its expectation.
//!
//! The gateway, a real STS and a real upstream run in this process, on loopback; every request goes
//! over a socket of its own. A crossing passes only if the upstream saw what the directive says and
//! not the mandate; a refusal only if nothing of it reached the upstream.

mod cases;
mod client;
mod episodes;
mod evidence;
mod judge;
mod scene;
mod stage;
mod table;

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;

use config::MapEnv;
use tokio_util::sync::CancellationToken;

use super::local::{Local, LocalError};
use super::shared::{UNEXPECTED, complain, print};
use crate::process::{OK, Stop};
use scene::Scene;
use stage::Stage;
use table::{Row, Section};

const INTRODUCTION: &str = "
Caracal Gateway between an agent and its upstream, with a real STS, on 127.0.0.1.
Each row is a request over a socket. A refusal passes only if nothing of it reached the upstream;
a crossing only if the upstream got the right credential, and never the agent's mandate.

";

pub(super) async fn run() -> i32 {
    let colours = io::stdout().is_terminal();
    let played = Box::pin(play()).await;
    let (code, sections) = match played {
        Ok(played) => played,
        Err(error) => {
            complain(&error);
            return error.code();
        }
    };
    let printed = print(&format!("{INTRODUCTION}{}", table::render(&sections, colours)));
    match code {
        OK if printed.is_err() || table::failed(&sections) > 0 => UNEXPECTED,
        code => code,
    }
}

/// Runs everything, and gives the gateway's exit status with the table.
async fn play() -> Result<(i32, Vec<Section>), LocalError> {
    let config = scene::config()?;
    let resources = config.resources.clone();
    // The environment stays out: the demo is the same everywhere.
    let quiet = MapEnv::new().with("LOG_LEVEL", "error");
    let local = Local::start(config, 0, &MapEnv::new(), quiet).await?;
    let Local {
        stack,
        server,
        audit,
        spool: _spool,
    } = local;
    let gateway = server.address();
    let scene = Scene::new(stack, resources);
    let stop = CancellationToken::new();
    let (code, sections) = tokio::join!(server.run(Stop::token(stop.clone())), async {
        let sections = walk(gateway, &scene).await;
        stop.cancel();
        sections
    });
    let mut sections = sections?;
    sections.push(section("Evidence", evidence::rows(&scene, &audit.events())));
    scene.stack.shutdown().await;
    Ok((code, sections))
}

/// In the order in which a request meets the gates.
async fn walk(gateway: SocketAddr, scene: &Scene) -> Result<Vec<Section>, LocalError> {
    let stage = Stage { gateway, scene };
    let crossings = stage.play_all(cases::crossings(scene)?).await;
    let preflight = stage.play_all(cases::preflight(scene)?).await;
    let mut token = stage.play_all(cases::token(scene)?).await;
    token.push(episodes::keys_unavailable(&stage).await?);
    token.extend(episodes::revocation(&stage).await?);
    let binding = stage.play_all(cases::binding(scene)?).await;
    let mut exchange = vec![episodes::circuit(&stage).await?];
    exchange.extend(stage.play_all(cases::exchange(scene)?).await);
    Ok(vec![
        section("What crosses", crossings),
        section("Request preflight", preflight),
        section("Token validation", token),
        section("Binding resolution", binding),
        section("STS exchange", exchange),
    ])
}

fn section(title: &'static str, rows: Vec<Row>) -> Section {
    Section { title, rows }
}
