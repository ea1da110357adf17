//! The primary that the sentinels name.
//!
//! One task follows each sentinel: it is subscribed to `+switch-master` and asks again at every message, and now and
//! then without one. What counts is the answer with the highest configuration epoch, which every failover raises: a
//! sentinel that was cut off does not lead back to the old primary, also where it is the only one that answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Cause;
use futures_util::TryFutureExt as _;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Client, Pipeline, PushKind, RedisConnectionInfo, RedisError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::connection::Connection;
use super::dialer::{Dialer, OnPush, is_tls};
use super::primary::{Primary, Verdict, View, Views};
use super::term::Term;
use crate::local;
use crate::pause::{Backoff, spread, within};

/// How often a sentinel is asked without a message of it.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// The least and the longest time between two attempts to reach a sentinel.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How long, at start, the sentinels that have not answered are waited for when others have.
const SETTLE: Duration = Duration::from_secs(1);
/// What a sentinel says when it promotes, and when it has learnt of a promotion.
const MESSAGES: [&str; 2] = ["+switch-master", "+promoted-slave"];

/// The sentinels of one service.
pub(super) struct Sentinels {
    clients: Vec<Client>,
    service: String,
    login: RedisConnectionInfo,
    views: Mutex<Views>,
    verdict: watch::Sender<Verdict>,
    /// The named primary did not turn out to be one: ask again.
    doubted: Notify,
    /// The client of the primary that is dialled.
    dialled: Mutex<Option<(Primary, Client)>>,
}

impl Sentinels {
    pub(super) fn new(clients: Vec<Client>, service: String, login: RedisConnectionInfo) -> Self {
        Self {
            views: Mutex::new(Views::new(clients.len())),
            clients,
            service,
            login,
            verdict: watch::Sender::default(),
            doubted: Notify::new(),
            dialled: Mutex::default(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// A connection to the named primary, which says itself that it is one.
    pub(super) async fn connect(&self, dialer: &Dialer) -> Result<Connection, Cause> {
        let primary = self.primary(dialer.dial_timeout).await?;
        let connection = self.dial(&primary, dialer).await;
        if connection.is_err() {
            self.doubted.notify_waiters();
        }
        connection
    }

    async fn dial(&self, primary: &Primary, dialer: &Dialer) -> Result<Connection, Cause> {
        let client = self.client(primary, dialer)?;
        let mut connection = dialer.dial(&client, None).await?;
        let role = redis::cmd("ROLE");
        let role = role
            .query_async::<Vec<Value>>(&mut connection)
            .map_err(|error| redis_cause(&error));
        match within("redis role", dialer.answer_timeout, role).await?.first() {
            Some(Value::BulkString(role)) if role == b"master" => {
                let term = Term::named(primary.clone(), self.verdict.subscribe());
                Ok(Connection::during(term, connection))
            }
            _ => {
                self.denied(primary);
                Err(Cause::new(
                    "redis: the server that the sentinels name is no primary",
                ))
            }
        }
    }

    /// The client of the primary; the address of the primary before is forgotten.
    fn client(&self, primary: &Primary, dialer: &Dialer) -> Result<Client, Cause> {
        let mut dialled = self.dialled.lock();
        if let Some((known, client)) = &*dialled
            && known == primary
        {
            return Ok(client.clone());
        }
        let tls = self
            .clients
            .iter()
            .any(|client| is_tls(client.get_connection_info()));
        let client = dialer.server(&primary.address(), tls, &self.login)?;
        let before = dialled.replace((primary.clone(), client.clone()));
        if let Some((before, old)) = before
            && !before.is_same_server(primary)
        {
            dialer.forget(&old);
        }
        Ok(client)
    }

    /// The primary that is named now.
    async fn primary(&self, limit: Duration) -> Result<Primary, Cause> {
        let mut verdict = self.verdict.subscribe();
        // Late ones do not hold everything up: if they know better, the connection ends.
        drop(timeout(SETTLE, verdict.wait_for(|verdict| verdict.settled)).await);
        let named = |verdict: &Verdict| verdict.settled || verdict.primary.is_some();
        drop(timeout(limit, verdict.wait_for(named)).await);
        let primary = verdict.borrow().primary.clone();
        primary.ok_or_else(|| {
            let why = self.views.lock().all().find_map(|view| match view {
                View::Silent(cause) => Some(cause.to_string()),
                View::Unasked | View::Names(_) => None,
            });
            let why = why.unwrap_or_else(|| "none has answered yet".to_owned());
            Cause::new(format!(
                "redis: no sentinel names a primary of {}: {why}",
                self.service
            ))
        })
    }

    /// Follows one sentinel, for ever.
    pub(super) async fn follow(&self, index: usize, dialer: &Dialer) {
        let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            let Err(cause) = self.listen(index, dialer, &mut pauses).await;
            self.heard(index, View::Silent(cause));
            sleep(pauses.pause()).await;
        }
    }

    async fn listen(&self, index: usize, dialer: &Dialer, pauses: &mut Backoff) -> Result<Infallible, Cause> {
        let said = Arc::new(Notify::new());
        let saying = Arc::clone(&said);
        let on_push: OnPush = Box::new(move |push| {
            // The end of the connection, too: the next question will tell.
            if matches!(push.kind, PushKind::Message | PushKind::Disconnection) {
                saying.notify_one();
            }
        });
        let mut connection = dialer.dial(&self.clients[index], Some(on_push)).await?;
        let subscribe = connection.subscribe(&MESSAGES);
        let subscribe = subscribe.map_err(|error| redis_cause(&error));
        within("sentinel", dialer.answer_timeout, subscribe).await?;
        loop {
            let named = self.ask(&mut connection);
            let named = within("sentinel", dialer.answer_timeout, named).await?;
            self.heard(index, View::Names(named));
            pauses.reset();
            tokio::select! {
                () = said.notified() => {}
                () = self.doubted.notified() => {}
                () = sleep(spread(ASK_EVERY)) => {}
            }
        }
    }

    async fn ask(&self, connection: &mut MultiplexedConnection) -> Result<Primary, Cause> {
        let mut commands = Pipeline::with_capacity(2);
        let address = commands.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME");
        address.arg(&self.service);
        commands.cmd("SENTINEL").arg("MASTER").arg(&self.service);
        let answers = commands.query_async(connection);
        let ((host, port), facts): ((String, u16), HashMap<String, String>) =
            answers.await.map_err(|error| redis_cause(&error))?;
        let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.ok_or_else(|| Cause::new("sentinel: it tells no configuration epoch"))?;
        Ok(Primary { host, port, epoch })
    }

    fn heard(&self, index: usize, view: View) {
        let sentinel = self.clients[index].get_connection_info().addr();
        let mut views = self.views.lock();
        match (views.of(index), &view) {
            (View::Unasked | View::Names(_), View::Silent(cause)) => {
                tracing::warn!(%sentinel, %cause, "a sentinel does not answer");
            }
            (View::Silent(_), View::Names(_)) => tracing::info!(%sentinel, "a sentinel answers again"),
            _ => {}
        }
        let next = views.heard(index, view, self.verdict.borrow().primary.as_ref());
        self.adopt(next);
    }

    /// The server says that it is no primary.
    fn denied(&self, primary: &Primary) {
        let mut views = self.views.lock();
        let verdict = self.verdict.borrow().clone();
        if verdict.primary.as_ref() == Some(primary)
            && let Some(other) = views.denied(primary)
        {
            self.adopt(Verdict {
                primary: Some(other),
                ..verdict
            });
        }
    }

    fn adopt(&self, next: Verdict) {
        self.verdict.send_if_modified(|verdict| {
            let moved = next.primary != verdict.primary;
            if let (true, Some(Primary { host, port, .. })) = (moved, &next.primary) {
                tracing::info!(service = %self.service, %host, port, "sentinels name the redis primary");
            }
            let changed = moved || next.settled != verdict.settled;
            *verdict = next;
            changed
        });
    }
}

fn redis_cause(error: &RedisError) -> Cause {
    local::cause(format!("redis: {error}"), error)
}
