//! A cluster of primaries and replicas, to fail over and to move slots in.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult};
use tokio::time::timeout;

use super::{PrivateRedis, connect_over, tls_lines};
use crate::ports::{self, Reserved};
use crate::random;
use crate::tls::Ca;
use crate::wait::until;

const SLOTS: usize = 16_384;
/// How long a node may be silent before the others replace it.
const NODE_TIMEOUT: &str = "cluster-node-timeout 4000\ncluster-replica-validity-factor 0\n\
                            cluster-allow-replica-migration no\nrepl-diskless-sync-delay 0";

/// How long a node that voted for a replica votes for none of the same primary: two of these times.
const VOTE_PAUSE: Duration = Duration::from_secs(8);

/// A Redis Cluster whose primaries serve equal shares of the slots. All of it ends when dropped.
pub struct Cluster {
    /// The nodes: first the primaries of the beginning, by their slots, then their replicas in the same order.
    pub nodes: Vec<PrivateRedis>,
    primaries: usize,
    /// The ports over which the nodes talk to each other.
    buses: Vec<Reserved>,
    /// The authority of their certificates, where all of them speak TLS alone.
    authority: Option<String>,
}

impl Cluster {
    /// Three primaries with a replica each. Ready to fail over.
    pub async fn start() -> Self {
        Self::start_with(3, (1, 0), None).await
    }

    /// Three primaries without replicas, and a fourth one that serves no slots.
    pub async fn start_with_room() -> Self {
        Self::start_with(3, (0, 1), None).await
    }

    /// With this many primaries, each with this many replicas. A failover needs three primaries.
    pub async fn start_sized(primaries: usize, replicas: usize) -> Self {
        Self::start_with(primaries, (replicas, 0), None).await
    }

    /// Three primaries with a replica each, which speak TLS alone, with certificates of `ca` for 127.0.0.1.
    pub async fn start_tls(ca: &Ca) -> Self {
        Self::start_with(3, (1, 0), Some(ca)).await
    }

    async fn start_with(primaries: usize, (replicas, empty): (usize, usize), ca: Option<&Ca>) -> Self {
        let password = random::hex();
        let mut cluster = Self {
            nodes: Vec::new(),
            primaries,
            buses: Vec::new(),
            authority: ca.map(|ca| ca.pem().to_owned()),
        };
        for _ in 0..primaries * (1 + replicas) + empty {
            let (bus, directory) = (ports::port(), PrivateRedis::directory());
            let settings = format!(
                "requirepass {password}\nmasterauth {password}\ncluster-enabled yes\ncluster-port {}\n{NODE_TIMEOUT}\n{}{}",
                bus.port(),
                tls_lines(&directory, ca),
                if ca.is_some() { "tls-cluster yes\n" } else { "" },
            );
            let mut node = PrivateRedis::start_in(directory, &settings, ca.is_some()).await;
            node.password.clone_from(&password);
            cluster.nodes.push(node);
            cluster.buses.push(bus);
        }
        cluster.join(replicas).await;
        cluster.ready(replicas).await;
        cluster
    }

    /// Hands out the slots, and makes everybody meet everybody.
    async fn join(&self, replicas: usize) {
        for index in 0..self.primaries {
            let (first, last) = self.share(index).into_inner();
            let range = [first.to_string(), last.to_string()];
            let () = self
                .ask(index, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]])
                .await;
        }
        for index in 0..self.nodes.len() {
            let epoch = (index + 1).to_string();
            let () = self.ask(index, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        for index in 0..self.nodes.len() {
            for (other, bus) in self.nodes.iter().zip(&self.buses).skip(index + 1) {
                let (port, bus) = (other.port().to_string(), bus.port().to_string());
                let () = self
                    .ask(index, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
                    .await;
            }
        }
        for index in self.primaries..self.primaries * (1 + replicas) {
            let primary = self.id(index % self.primaries).await;
            until("the replica to know its primary", async || {
                let followed: RedisResult<()> =
                    self.try_ask(index, &["CLUSTER", "REPLICATE", &primary]).await;
                followed.ok()
            })
            .await;
        }
    }

    /// Waits until everybody agrees, and the replicas are up to date.
    async fn ready(&self, replicas: usize) {
        for index in 0..self.nodes.len() {
            until("the cluster to be well", async || {
                let info: String = self.ask(index, &["CLUSTER", "INFO"]).await;
                let nodes: String = self.ask(index, &["CLUSTER", "NODES"]).await;
                let all = nodes.lines().filter(|line| {
                    line.contains(" connected") && !line.contains("handshake") && !line.contains("fail")
                });
                let following = nodes.lines().filter(|line| line.contains("slave"));
                (info.contains("cluster_state:ok")
                    && all.count() == self.nodes.len()
                    && following.count() == self.primaries * replicas)
                    .then_some(())
            })
            .await;
        }
        for index in 0..self.primaries {
            until("the replicas to be up to date", async || {
                let info: String = self.ask(index, &["INFO", "replication"]).await;
                let online = info.lines().filter(|line| line.contains("state=online"));
                (online.count() == replicas).then_some(())
            })
            .await;
        }
    }

    /// The slots that a primary serves at the beginning.
    pub fn share(&self, index: usize) -> RangeInclusive<u16> {
        let edge = |index: usize| u16::try_from(index * SLOTS / self.primaries).expect("a slot");
        edge(index)..=edge(index + 1) - 1
    }

    /// The address of the cluster, which lists every node.
    pub fn url(&self) -> String {
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        self.url_of(&all)
    }

    /// The address that lists these nodes alone.
    pub fn url_of(&self, indices: &[usize]) -> String {
        let hosts: Vec<_> = indices
            .iter()
            .map(|index| format!("127.0.0.1:{}", self.nodes[*index].port()))
            .collect();
        let scheme = if self.authority.is_some() {
            "rediss"
        } else {
            "redis"
        };
        format!(
            "{scheme}-cluster://:{}@{}",
            self.nodes[0].password,
            hosts.join(",")
        )
    }

    /// A connection to a node.
    pub async fn connection(&self, index: usize) -> MultiplexedConnection {
        connect_over(&self.nodes[index].url(), self.authority.as_deref()).await
    }

    /// A connection to the node that serves this key now.
    pub async fn connection_for(&self, key: &str) -> MultiplexedConnection {
        let slot = self.slot(key).await;
        self.connection(self.primary_of(slot).await).await
    }

    /// The answer of a node to a command, over a connection of its own.
    pub async fn ask<T: FromRedisValue>(&self, index: usize, words: &[&str]) -> T {
        self.try_ask(index, words).await.expect("an answer")
    }

    /// The same, or why there is none.
    pub async fn try_ask<T: FromRedisValue>(&self, index: usize, words: &[&str]) -> RedisResult<T> {
        let mut connection = self.connection(index).await;
        Cmd::new().arg(words).query_async(&mut connection).await
    }

    async fn id(&self, index: usize) -> String {
        self.ask(index, &["CLUSTER", "MYID"]).await
    }

    /// A node that runs.
    fn running(&self) -> usize {
        let running = self.nodes.iter().position(|node| node.process.is_some());
        running.expect("a running node")
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> u16 {
        self.ask(self.running(), &["CLUSTER", "KEYSLOT", key]).await
    }

    /// Which node serves this slot: its place in [`Cluster::nodes`]. Of those that say so it is the one with the highest
    /// epoch. Waits while none does.
    pub async fn primary_of(&self, slot: u16) -> usize {
        until("a node that serves the slot", async || {
            let mut found = None;
            for (index, node) in self.nodes.iter().enumerate() {
                if node.process.is_none() {
                    continue;
                }
                let nodes: String = self.ask(index, &["CLUSTER", "NODES"]).await;
                let own = nodes.lines().find(|line| line.contains("myself"))?;
                let mut fields = own.split_ascii_whitespace().skip(6);
                let epoch: u64 = fields.next()?.parse().ok()?;
                if fields.any(|range| holds(range, slot)) {
                    found = found.max(Some((epoch, index)));
                }
            }
            found.map(|(_, index)| index)
        })
        .await
    }

    /// A primary that does not serve this slot. On a slow machine it need not be one of those that there were at first.
    pub async fn another_primary(&self, slot: u16) -> usize {
        // As far away as the longest share.
        let elsewhere = (usize::from(slot) + SLOTS.div_ceil(self.primaries)) % SLOTS;
        self.primary_of(u16::try_from(elsewhere).expect("a slot")).await
    }

    /// Waits until another node than this one serves the slot, and every node that runs finds the cluster well.
    pub async fn promoted(&self, slot: u16, before: usize) -> usize {
        let promoted = until("another node to serve the slot", async || {
            let now = self.primary_of(slot).await;
            (now != before).then_some(now)
        });
        let promoted = promoted.await;
        self.well().await;
        promoted
    }

    async fn well(&self) {
        until("every node to find the cluster well", async || {
            for (index, node) in self.nodes.iter().enumerate() {
                if node.process.is_some() {
                    let info: String = self.ask(index, &["CLUSTER", "INFO"]).await;
                    info.contains("cluster_state:ok").then_some(())?;
                }
            }
            Some(())
        })
        .await;
    }

    /// Has a replica take over from its primary, which is well and follows it from then on (`CLUSTER FAILOVER`).
    pub async fn fail_over_to(&self, replica: usize) {
        let serves = async || {
            let role: Vec<redis::Value> = self.ask(replica, &["ROLE"]).await;
            (role.first() == Some(&redis::Value::BulkString(b"master".to_vec()))).then_some(())
        };
        until("the replica to serve slots", async || {
            let begun: RedisResult<()> = self.try_ask(replica, &["CLUSTER", "FAILOVER"]).await;
            if begun.is_err() {
                return serves().await;
            }
            // To ask again would end this attempt, and those who voted in it vote no other time for a while.
            let served = timeout(VOTE_PAUSE, until("the replica to be voted for", serves));
            served.await.ok()
        })
        .await;
        self.well().await;
    }

    /// Moves a slot with its keys to another primary.
    pub async fn move_slot(&self, slot: u16, to: usize) {
        self.begin_move(slot, to).await;
        self.end_move(slot, to).await;
    }

    /// Begins to move a slot: its keys are still where they were, and new ones are asked for at the other primary.
    pub async fn begin_move(&self, slot: u16, to: usize) {
        let from = self.primary_of(slot).await;
        let (source, target) = (self.id(from).await, self.id(to).await);
        let slot = slot.to_string();
        let () = self
            .ask(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source])
            .await;
        let () = self
            .ask(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target])
            .await;
    }

    /// Takes the keys of a slot along, and has everybody know.
    pub async fn end_move(&self, slot: u16, to: usize) {
        let from = self.primary_of(slot).await;
        let (target, slot) = (self.id(to).await, slot.to_string());
        loop {
            let keys: Vec<String> = self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            if keys.is_empty() {
                break;
            }
            let (port, password) = (self.nodes[to].port().to_string(), self.nodes[to].password());
            let mut words = vec![
                "MIGRATE",
                "127.0.0.1",
                &port,
                "",
                "0",
                "15000",
                "AUTH",
                password,
                "KEYS",
            ];
            words.extend(keys.iter().map(String::as_str));
            let () = self.ask(from, &words).await;
        }
        let primaries = [to, from].into_iter().chain(0..self.nodes.len());
        for index in primaries {
            // Replicas learn it from their primary.
            let told: RedisResult<()> = self
                .try_ask(index, &["CLUSTER", "SETSLOT", &slot, "NODE", &target])
                .await;
            drop(told);
        }
    }
}

/// Whether a range of `CLUSTER NODES` holds this slot.
fn holds(range: &str, slot: u16) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) => (first..=last).contains(&slot),
        _ => false,
    }
}
