//! One row at every moment: at start, idle, under load, in the middle of an exchange.

use super::scene::{Scene, request};
use super::{Ready, Row, Seen, Start};
use crate::report::{Report, refusal};
use devstack::{Minted, Scope, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::http::Response;
use testkit::wait::{PATIENCE, until};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many requests are under way at the same time under load.
const CALLERS: usize = 8;

/// Whether `/ready` says what the row says, and how long until it told.
async fn told(scene: &Scene, row: &Row) -> Result<Option<Duration>, String> {
    let began = Instant::now();
    scene.ask().await;
    let permitted = match row.ready {
        Ready::Not(reason) => {
            until(&format!("{}: /ready", row.name), async || {
                (scene.reason().await.as_deref() == Some(reason)).then_some(())
            })
            .await;
            return Ok(Some(began.elapsed()));
        }
        Ready::Or(reason) => Some(reason),
        Ready::Stays => None,
    };
    match scene.reason().await {
        Some(reason) if permitted != Some(reason.as_str()) => Err(reason),
        _ => Ok(None),
    }
}

/// Walks one row through every moment.
pub(super) struct Walk<'a> {
    pub(super) scene: &'a Arc<Scene>,
    pub(super) row: &'a Row,
    pub(super) report: &'a mut Report,
    pub(super) seen: Seen,
}

impl Walk<'_> {
    /// Every moment, and what was seen.
    pub(super) async fn all(mut self) -> Seen {
        let before = self.scene.world.dispatched();
        self.idle().await;
        self.under_load().await;
        self.mid_exchange().await;
        let passed = self.seen.answers.get("200").copied().unwrap_or_default();
        let dispatched = self.scene.world.dispatched() - before;
        self.report
            .equal(self.case("requests at the upstream"), dispatched, passed);
        self.at_start().await;
        self.seen
    }

    fn case(&self, what: &str) -> String {
        format!("{}: {what}", self.row.name)
    }

    /// Notes an answer, and whether the row permits it. Returns whether the request passed.
    fn judge(&mut self, moment: &str, response: &Response) -> bool {
        let status = response.status();
        let permitted = status == 200 || self.row.refusals.iter().any(|one| one.found_in(response).is_ok());
        let found = if permitted {
            Ok(())
        } else {
            Err(format!("{status} {}", response.text()))
        };
        self.report.note(self.case(moment), found);
        let answer = match status {
            200 => "200".to_owned(),
            _ => format!(
                "{status} {}",
                response.json()["error_description"].as_str().unwrap_or_default()
            ),
        };
        *self.seen.answers.entry(answer).or_default() += 1;
        status == 200
    }

    /// Notes what `/ready` said.
    fn tell(&mut self, told: Result<Option<Duration>, String>) {
        let case = self.case("/ready");
        match told {
            Ok(time) => self.seen.told.extend(time),
            Err(reason) => self.report.note(case, Err(reason)),
        }
    }

    /// Everything works again: how long until a request passes and the gateway calls itself ready.
    async fn recover(&mut self, moment: &str) {
        self.scene.mend().await;
        let began = Instant::now();
        let addr = self.scene.world.addr();
        let what = self.case(&format!("{moment}: recovery"));
        until(&what, async || {
            let answer = request(addr, &self.scene.mint()).await;
            self.judge("recovery", &answer).then_some(())
        })
        .await;
        self.seen.passes_again.push(began.elapsed());
        until(&what, async || self.scene.reason().await.is_none().then_some(())).await;
        self.seen.ready_again.push(began.elapsed());
        self.scene.heard().await;
    }

    /// Nobody asks when it breaks. `/ready` tells; a mandate that was refused is not used up where the row says
    /// that nothing passes, and one that passed does not pass again.
    async fn idle(&mut self) {
        let addr = self.scene.world.addr();
        let struck = self.scene.set(self.row.fault).await;
        self.scene.noticed(&struck).await;
        let told = told(self.scene, self.row).await;
        self.tell(told);
        let mandate = self.scene.mint();
        let passed = self.judge("idle", &request(addr, &mandate).await);
        self.report
            .holds(self.case("nothing passes while idle"), self.row.passes || !passed);
        self.recover("idle").await;
        if passed {
            let again = request(addr, &mandate).await;
            self.report.refused(
                self.case("a second use"),
                &again,
                refusal(401, "invalid_token", "token replay detected"),
            );
        }
    }

    /// It breaks, and works again, while callers ask without a pause.
    async fn under_load(&mut self) {
        let (sender, mut answers) = mpsc::channel(CALLERS);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        let addr = self.scene.world.addr();
        for _ in 0..CALLERS {
            let (sender, stop, scene) = (sender.clone(), Arc::clone(&stop), Arc::clone(self.scene));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = request(addr, &scene.mint()).await;
                    if sender.send(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut next = async |walk: &mut Self, moment| {
            let answer = tokio::time::timeout(PATIENCE, answers.recv()).await;
            let answer = answer.expect("an answer in time").expect("callers");
            walk.judge(moment, &answer)
        };
        for _ in 0..2 * CALLERS {
            next(self, "under load, before").await;
        }
        let struck = self.scene.set(self.row.fault).await;
        let mut noticing = std::pin::pin!(self.scene.noticed(&struck));
        loop {
            tokio::select! {
                biased;
                () = &mut noticing => break,
                _ = next(self, "under load") => {}
            }
        }
        let mut refused = 0;
        for _ in 0..4 * CALLERS {
            refused += usize::from(!next(self, "under load").await);
        }
        self.report.holds(
            self.case("somebody is refused under load"),
            self.row.passes || refused > 0,
        );
        let mut telling = std::pin::pin!(told(self.scene, self.row));
        loop {
            tokio::select! {
                told = &mut telling => break self.tell(told),
                _ = next(self, "under load") => {}
            }
        }
        self.scene.mend().await;
        let began = Instant::now();
        while !next(self, "under load, after").await {}
        self.seen.passes_again.push(began.elapsed());
        stop.store(true, Ordering::Relaxed);
        while let Some(answer) = answers.recv().await {
            self.judge("under load, after", &answer);
        }
        callers.join_all().await;
        self.recover("under load").await;
    }

    /// It breaks while the STS makes up its mind.
    async fn mid_exchange(&mut self) {
        let gate = Arc::new(Semaphore::new(0));
        let sts = self.scene.world.stack.sts();
        let exchanges = sts.counts().exchanges;
        let step = Step {
            hold: Some(Arc::clone(&gate)),
            ..Step::default()
        };
        self.scene.world.stack.script().set(Scope::Exchange, step);
        let addr = self.scene.world.addr();
        let mandates: Vec<Arc<Minted>> = (0..CALLERS).map(|_| Arc::new(self.scene.mint())).collect();
        let mut requests = JoinSet::new();
        for mandate in &mandates {
            let mandate = Arc::clone(mandate);
            requests.spawn(async move { request(addr, &mandate).await });
        }
        let wanted = exchanges + mandates.len() as u64;
        let waiting = sts.wait_for(PATIENCE, |counts| counts.exchanges >= wanted).await;
        self.report
            .holds(self.case("exchanges are under way"), waiting.is_some());
        let struck = self.scene.set(self.row.fault).await;
        self.scene.noticed(&struck).await;
        self.scene.world.stack.script().clear(&Scope::Exchange);
        gate.add_permits(Semaphore::MAX_PERMITS / 2);
        while let Some(answer) = requests.join_next().await {
            self.judge("mid-exchange", &answer.expect("an answer"));
        }
        let told = told(self.scene, self.row).await;
        self.tell(told);
        self.recover("mid-exchange").await;
    }

    /// A gateway is started meanwhile: it does not listen where every request would be refused, and comes up by itself.
    async fn at_start(&mut self) {
        self.scene.set(self.row.fault).await;
        let seen = self.scene.attempts();
        let mut starting = std::pin::pin!(self.scene.launch().start());
        let waits = async {
            if let Start::Waits { attempts: true } = self.row.start {
                until("an attempt to connect", async || {
                    (self.scene.attempts() > seen).then_some(())
                })
                .await;
            }
        };
        let early = tokio::select! {
            biased;
            gateway = &mut starting => Some(gateway),
            () = waits, if self.row.start != Start::Serves => None,
        };
        let serves = self.row.start == Start::Serves;
        self.report
            .equal(self.case("it listens already"), early.is_some(), serves);
        self.scene.mend().await;
        let began = Instant::now();
        let gateway = match early {
            Some(gateway) => gateway,
            None => starting.await,
        };
        let addr = gateway.addr();
        until(&self.case("at start: recovery"), async || {
            let answer = request(addr, &self.scene.mint()).await;
            (answer.status() == 200).then_some(())
        })
        .await;
        self.seen.starts.push(began.elapsed());
        // The gateway that was there before recovers too, before the next row.
        until(&self.case("at start: recovery"), async || {
            self.scene.reason().await.is_none().then_some(())
        })
        .await;
        self.scene.heard().await;
    }
}
