//! The gateways of one setting: started, killed, followed by others.

use std::ffi::OsString;
use std::time::Duration;

use testkit::gateway::{Gateway, Launch};
use tokio::time::sleep;

use super::callers::Callers;
use super::random::Random;
use super::setting::{Place, Setting, Troubles};
use crate::clock;
use crate::failure::Result;
use crate::gateway;
use crate::servers::Servers;

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a start goes on while something is wrong.
const IN_TROUBLE: Duration = Duration::from_millis(300);
/// Pause between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(3);
/// The least useful bound of a spool, in bytes.
const SMALL_SPOOL: &str = "1048576";
/// The longest time for which two gateways serve together.
const TOGETHER: Duration = Duration::from_millis(150);
/// One of so many deaths is that of a gateway that has just been started.
const ONE_STARTING_OF: u64 = 4;
/// One of so many gateways is asked to end instead, while the next one runs already.
const ONE_ASKED_OF: u64 = 6;

/// How the gateways of a setting are started.
pub(super) struct Processes<'a> {
    command: Vec<OsString>,
    program: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
    callers: &'a Callers<'a>,
    started: usize,
    /// Those that were killed.
    pub(super) killed: usize,
}

impl<'a> Processes<'a> {
    /// None runs yet.
    pub(super) fn new(
        command: &[OsString],
        servers: &Servers,
        variables: &[(&'static str, String)],
        place: &Place,
        setting: Setting,
        callers: &'a Callers<'a>,
    ) -> Result<Self> {
        let outer = place.enter().into_iter().map(OsString::from);
        let arguments = command.iter().cloned().chain(["serve".into()]);
        let mut environment = gateway::environment(servers, place.dir())?;
        environment.push(("AUDIT_FSYNC", setting.fsync.to_owned()));
        environment.extend_from_slice(variables);
        Ok(Self {
            command: outer.chain(arguments).collect(),
            program: command.to_vec(),
            environment,
            callers,
            started: 0,
            killed: 0,
        })
    }

    /// Every second one has a small spool, whose segments are soon full and deleted, or moved on.
    fn spawn(&self) -> Gateway {
        let variables = self
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let launch = Launch::of(self.command.clone()).envs(variables);
        if self.started % 2 == 1 {
            launch.env("AUDIT_SPOOL_MAX_BYTES", SMALL_SPOOL).spawn()
        } else {
            launch.spawn()
        }
    }

    /// Starts one, and tells the callers of it once it listens. One that waits for what is away does not yet.
    async fn start(&mut self, troubles: &mut Troubles<'_>) -> Result<Process> {
        let mut gateway = self.spawn();
        let number = self.started;
        self.started += 1;
        let began = clock::now();
        while began.elapsed() < PATIENCE {
            if began.elapsed() > IN_TROUBLE {
                troubles.settle().await?;
            }
            if let Some(at) = gateway.listening() {
                self.callers.add(number, at);
                return Ok(Process { number, gateway });
            }
            if let Some(status) = gateway.ended() {
                let said = gateway.stderr().join("\n");
                return Err(format!("a gateway ended with {status} before it listened:\n{said}").into());
            }
            sleep(POLL_INTERVAL).await;
        }
        Err("a gateway does not listen".into())
    }

    /// Waits until callers are served: where nothing was ever served a crash proves nothing.
    async fn is_served(&self) -> Result<()> {
        let began = clock::now();
        while self.callers.answered() == 0 {
            if began.elapsed() > PATIENCE {
                return Err("nobody is served".into());
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Kills one. Callers find out by themselves.
    async fn kill(&mut self, mut process: Process) {
        process.gateway.kill().await;
        self.callers.remove(process.number);
        self.killed += 1;
    }

    /// Kills so many, at random moments; every second time the next one runs already. The last one is left.
    pub(super) async fn run(
        &mut self,
        kills: usize,
        longest: Duration,
        troubles: &mut Troubles<'_>,
        random: &mut Random,
    ) -> Result<Process> {
        let mut current = self.start(troubles).await?;
        self.is_served().await?;
        let mut is_second = false;
        while self.killed < kills {
            troubles.last(random, longest / 2).await?;
            if random.below(ONE_STARTING_OF) == 0 {
                let mut starting = self.spawn();
                sleep(random.within(TOGETHER)).await;
                starting.kill().await;
                self.killed += 1;
                continue;
            }
            let is_asked = random.below(ONE_ASKED_OF) == 0;
            if is_second || is_asked {
                let next = self.start(troubles).await?;
                sleep(random.within(TOGETHER)).await;
                let mut last = std::mem::replace(&mut current, next);
                if is_asked {
                    last.end().await?;
                    self.callers.remove(last.number);
                    continue;
                }
                self.kill(last).await;
            } else {
                self.kill(current).await;
                troubles.stir(random).await?;
                current = self.start(troubles).await?;
            }
            is_second = !is_second;
        }
        Ok(current)
    }

    /// What the gateway's own verifier finds wrong with the stream, when every process has ended: all of it is proved, or
    /// the crashes have cost a chain something.
    pub(super) async fn unproved(&self) -> Vec<String> {
        let verify = ["evidence", "verify", "--max-unproved", "0"].map(OsString::from);
        let variables = self
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let launch = Launch::of(self.program.iter().cloned().chain(verify).collect()).envs(variables);
        let finished = launch.finish().await;
        if finished.code == Some(0) {
            return Vec::new();
        }
        let mut said = [finished.stdout, finished.stderr].concat();
        said.retain(|line| !line.starts_with("chain "));
        said
    }

    /// Ends the last one as an operator does, and starts one that ships what all of them have left.
    pub(super) async fn settle(&mut self, mut last: Process, troubles: &mut Troubles<'_>) -> Result<Process> {
        troubles.settle().await?;
        self.callers.remove(last.number);
        last.end().await?;
        self.start(troubles).await
    }
}

/// A gateway that listens.
pub(super) struct Process {
    number: usize,
    gateway: Gateway,
}

impl Process {
    /// Asks it to end, and waits for that.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.gateway.terminate();
        let status = self.gateway.wait().await;
        if status.success() {
            return Ok(());
        }
        let said = self.gateway.stderr().join("\n");
        Err(format!("a gateway ended with {status}:\n{said}").into())
    }
}
