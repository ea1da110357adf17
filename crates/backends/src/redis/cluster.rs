//! The nodes of a Redis Cluster.
//!
//! Each node is asked once a second, and at once when there is reason to doubt: who serves which slots follows from what
//! all of them say ([`Topology::after`]). The nodes that are named are asked next, beside those of the address.

mod named;
mod pace;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use admission::ports::Cause;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{Client, RedisConnectionInfo};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::named::Named;
use self::pace::{ASK_EVERY, Pace};
use super::connection::Connection;
use super::dialer::{Dialer, Host, host, is_tls};
use super::primary::Primary;
use super::term::Term;
use super::topology::Topology;
use super::view::View;
use crate::pause::{Backoff, spread, within};

/// The least and the longest time between two attempts to reach a node.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// How long, at start, the nodes that have not answered are waited for when others have.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a round is, some of which a node that nobody names is remembered for.
const ROUND: Duration = Duration::from_secs(1);
/// How many nodes are followed at most.
const MAX_NODES: usize = 256;

/// The nodes of one cluster.
pub(super) struct Cluster {
    nodes: Mutex<Nodes>,
    /// How nodes that are named are reached.
    login: RedisConnectionInfo,
    tls: bool,
    /// Tells that other nodes are known than before.
    changed: watch::Sender<()>,
    topology: watch::Sender<Arc<Topology>>,
    /// A server refused a slot, or does not answer: ask again.
    doubts: watch::Sender<()>,
    /// Every known node was asked, or waited for long enough.
    settled: watch::Sender<bool>,
}

struct Nodes {
    all: BTreeMap<Host, Node>,
    named: Named,
    /// Those that have not answered yet are not waited for.
    late: bool,
}

struct Node {
    client: Client,
    /// The address of the cluster names it.
    is_seed: bool,
    word: Word,
}

/// What a node said last.
enum Word {
    /// It was not asked yet.
    Unasked,
    Says(View),
    /// It does not answer, or is no node of this cluster.
    Silent(Cause),
}

impl Cluster {
    /// The cluster that these nodes belong to.
    pub(super) fn new(seeds: Vec<Client>) -> Self {
        let first = seeds.first().map(Client::get_connection_info);
        let login = first.map(|server| server.redis_settings().clone());
        let tls = first.is_some_and(is_tls);
        let seeds = seeds.into_iter().filter_map(|client| {
            let host = host(client.get_connection_info())?;
            Some((host, Node::new(client, true)))
        });
        let nodes = Nodes {
            all: seeds.collect(),
            named: Named::default(),
            late: false,
        };
        Self {
            nodes: Mutex::new(nodes),
            login: login.unwrap_or_default(),
            tls,
            changed: watch::Sender::default(),
            topology: watch::Sender::default(),
            doubts: watch::Sender::default(),
            settled: watch::Sender::default(),
        }
    }

    /// Who serves the slots. Nobody does until the nodes have been asked.
    pub(super) fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    /// A connection to the primary that serves this slot.
    pub(super) async fn connect(&self, slot: u16, dialer: &Dialer) -> Result<Connection, Cause> {
        let connection = self.dial(slot, dialer).await;
        if connection.is_err() {
            self.doubt();
        }
        connection
    }

    async fn dial(&self, slot: u16, dialer: &Dialer) -> Result<Connection, Cause> {
        let primary = self.primary(slot, dialer.dial_timeout).await?;
        let client = self.client(&primary.address())?;
        let connection = dialer.dial(&client, None).await?;
        let term = Term::serving(primary, slot, self.topology.subscribe(), self.doubts.clone());
        Ok(Connection::during(term, connection))
    }

    async fn primary(&self, slot: u16, limit: Duration) -> Result<Primary, Cause> {
        let mut settled = self.settled.subscribe();
        drop(timeout(limit, settled.wait_for(|settled| *settled)).await);
        let topology = Arc::clone(&self.topology.borrow());
        let shard = topology.shard_of(slot).ok_or_else(|| {
            let why = self.nodes.lock().all.values().find_map(|node| match &node.word {
                Word::Silent(cause) => Some(format!(": {cause}")),
                Word::Unasked | Word::Says(_) => None,
            });
            let why = why.unwrap_or_default();
            Cause::new(format!("redis: no node of the cluster serves slot {slot}{why}"))
        })?;
        Ok(shard.primary().clone())
    }

    /// Has every node asked at once.
    pub(super) fn doubt(&self) {
        self.doubts.send_replace(());
    }

    fn client(&self, host: &Host) -> Result<Client, Cause> {
        let nodes = self.nodes.lock();
        let node = nodes.all.get(host).ok_or_else(|| {
            Cause::new(format!(
                "redis: a node of the cluster is not followed; {MAX_NODES} are at most"
            ))
        })?;
        Ok(node.client.clone())
    }

    /// Follows the nodes, for ever.
    pub(super) async fn follow(&self, dialer: &Dialer) {
        let mut changed = self.changed.subscribe();
        let mut following = FuturesUnordered::new();
        let mut followed = BTreeSet::new();
        let mut rounds = interval(ROUND);
        // Rounds are for waiting: those that were missed are not made up for.
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settle = pin!(sleep(SETTLE));
        let mut late = false;
        loop {
            let known: Vec<Host> = self.nodes.lock().all.keys().cloned().collect();
            for host in known {
                if followed.insert(host.clone()) {
                    following.push(self.follow_node(host, dialer));
                }
            }
            tokio::select! {
                _ = changed.changed() => {}
                Some(gone) = following.next() => { followed.remove(&gone); }
                _ = rounds.tick() => self.pass_round(dialer),
                () = &mut settle, if !late => {
                    late = true;
                    let mut nodes = self.nodes.lock();
                    nodes.late = true;
                    self.conclude(&mut nodes, dialer);
                }
            }
        }
    }

    /// Follows a node for as long as it is known.
    async fn follow_node(&self, host: Host, dialer: &Dialer) -> Host {
        let mut changed = self.changed.subscribe();
        tokio::select! {
            _ = changed.wait_for(|()| !self.nodes.lock().all.contains_key(&host)) => {}
            never = self.ask_forever(&host, dialer) => match never {},
        }
        host
    }

    async fn ask_forever(&self, host: &Host, dialer: &Dialer) -> Infallible {
        let mut pauses = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            let Err(cause) = self.listen(host, dialer, &mut pauses).await;
            self.heard(host, Word::Silent(cause), dialer);
            sleep(pauses.pause()).await;
        }
    }

    async fn listen(&self, host: &Host, dialer: &Dialer, pauses: &mut Backoff) -> Result<Infallible, Cause> {
        let client = self.client(host)?;
        let mut connection = dialer.dial(&client, None).await?;
        let mut doubts = self.doubts.subscribe();
        let mut topology = self.topology.subscribe();
        let (mut pace, mut doubted) = (Pace::default(), false);
        loop {
            let view = View::ask(&mut connection, &host.0);
            let view = within("redis cluster", dialer.answer_timeout, view).await?;
            self.heard(host, Word::Says(view), dialer);
            pauses.reset();
            let moved = topology.has_changed().unwrap_or(false);
            topology.mark_unchanged();
            let pause = pace.pause_after(doubted, moved);
            sleep(pause).await;
            doubted = tokio::select! {
                biased;
                _ = doubts.changed() => true,
                () = sleep(spread(ASK_EVERY).saturating_sub(pause)) => false,
            };
        }
    }

    fn heard(&self, host: &Host, word: Word, dialer: &Dialer) {
        let mut nodes = self.nodes.lock();
        let word = self.judge(&nodes, host, word);
        let Some(node) = nodes.all.get_mut(host) else {
            return;
        };
        let is_news = match (&word, &node.word) {
            (Word::Says(view), Word::Says(before)) => view != before,
            (Word::Silent(_), Word::Silent(_)) => false,
            _ => true,
        };
        if let (true, Word::Silent(cause)) = (is_news, &word) {
            let (host, port) = host;
            tracing::warn!(%host, port, %cause, "a node of the redis cluster does not answer");
        }
        node.word = word;
        if is_news {
            self.conclude(&mut nodes, dialer);
        }
    }

    /// An address may be another cluster's by now. So a node counts only under the id that others name it by.
    fn judge(&self, nodes: &Nodes, host: &Host, word: Word) -> Word {
        let Word::Says(view) = &word else { return word };
        let is_seed = nodes.all.get(host).is_some_and(|node| node.is_seed);
        let others = nodes.all.iter().filter(|(other, _)| *other != host);
        let mut others = others.filter_map(|(_, node)| node.says());
        let is_named = others.any(|other| other.names(&view.myself, host));
        if is_seed || is_named || self.topology.borrow().names(&view.myself, host) {
            return word;
        }
        Word::Silent(Cause::new("redis cluster: another node answers there"))
    }

    /// Draws the conclusion from what all of them say now.
    fn conclude(&self, nodes: &mut Nodes, dialer: &Dialer) {
        nodes.hear();
        let mut known = 0;
        let mut topology = Topology::default();
        // How many are known decides for how long those that are gone count, and the other way round.
        while nodes.all.len() != known {
            known = nodes.all.len();
            topology = nodes.topology_after(&self.topology.borrow());
            self.keep_named(nodes, &topology, dialer);
        }
        let asked = |node: &Node| !matches!(node.word, Word::Unasked);
        let all_asked = nodes.all.values().all(asked);
        let settled = *self.settled.borrow() || all_asked || nodes.late && nodes.any_says();
        if !settled {
            return;
        }
        self.topology.send_if_modified(|before| {
            let moved = **before != topology;
            if before.addresses() != topology.addresses() {
                tracing::info!(primaries = ?topology.addresses(), "primaries of the redis cluster");
            }
            if moved {
                *before = Arc::new(topology);
            }
            moved
        });
        self.settled
            .send_if_modified(|settled| !std::mem::replace(settled, true));
    }

    /// A round has passed, in which those that answer may have named nobody whom they did not name before.
    fn pass_round(&self, dialer: &Dialer) {
        let mut nodes = self.nodes.lock();
        if nodes.any_says() && nodes.named.pass_round() {
            self.conclude(&mut nodes, dialer);
        }
    }

    /// Knows the nodes that are named, and forgets those that are named no more.
    fn keep_named(&self, nodes: &mut Nodes, topology: &Topology, dialer: &Dialer) {
        let serving = topology.shards().iter().map(|shard| shard.primary().address());
        let (serving, named): (BTreeSet<_>, _) = (serving.collect(), nodes.named.hosts());
        let nodes = &mut nodes.all;
        let mut changed = false;
        nodes.retain(|host, node| {
            let keep = node.is_seed || serving.contains(host) || named.contains(host);
            if !keep {
                dialer.forget(&node.client);
                changed = true;
            }
            keep
        });
        for host in serving.into_iter().chain(named) {
            if nodes.contains_key(&host) || nodes.len() >= MAX_NODES {
                continue;
            }
            match dialer.server(&host, self.tls, &self.login) {
                Ok(client) => {
                    nodes.insert(host, Node::new(client, false));
                    changed = true;
                }
                Err(cause) => tracing::warn!(%cause, "a node of the redis cluster cannot be reached"),
            }
        }
        if changed {
            self.changed.send_replace(());
        }
    }
}

impl Nodes {
    fn any_says(&self) -> bool {
        self.all.values().any(|node| node.says().is_some())
    }

    /// Takes in whom they name.
    fn hear(&mut self) {
        let views: Vec<&View> = self.all.values().filter_map(Node::says).collect();
        self.named.hear(&views);
    }

    /// What follows from what they say, given what was known.
    fn topology_after(&self, before: &Topology) -> Topology {
        let views: Vec<&View> = self.all.values().filter_map(Node::says).collect();
        before.after(&views, self.all.len(), |id| self.named.holds(id))
    }
}

impl Node {
    fn new(client: Client, is_seed: bool) -> Self {
        let word = Word::Unasked;
        Self {
            client,
            is_seed,
            word,
        }
    }

    fn says(&self) -> Option<&View> {
        match &self.word {
            Word::Says(view) => Some(view),
            Word::Unasked | Word::Silent(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
