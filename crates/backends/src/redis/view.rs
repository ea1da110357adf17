//! What one node of a cluster says of all of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use admission::ports::Cause;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue as _, Pipeline, RedisError, Value};

use super::dialer::Host;
use super::primary::Primary;
use super::slots::SLOTS;
use crate::local;

/// What one node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Its own id.
    pub(super) myself: String,
    /// Those that can be reached, itself too.
    pub(super) nodes: Vec<Node>,
}

/// One node, primary or replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: String,
    /// Where it is, with the configuration epoch of its slots.
    pub(super) primary: Primary,
    /// The slots that it serves; none where it is a replica.
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl View {
    /// Asks a node that was reached at this host.
    pub(super) async fn ask(connection: &mut MultiplexedConnection, dialled: &str) -> Result<Self, Cause> {
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("CLUSTER").arg("NODES");
        commands.cmd("CLUSTER").arg("SLOTS");
        let answers = commands.query_async(connection).await;
        let (nodes, slots): (String, Vec<Vec<Value>>) = answers.map_err(|error| refused(&error))?;
        Self::read(&nodes, &slots, dialled)
    }

    /// Reads the answers of a node that was reached at this host.
    ///
    /// `CLUSTER NODES` has everything but which of a node's names the cluster prefers: that is in `CLUSTER SLOTS`.
    fn read(nodes: &str, slots: &[Vec<Value>], dialled: &str) -> Result<Self, Cause> {
        let preferred = preferred(slots);
        let (mut myself, mut all) = (None, Vec::new());
        for line in nodes.lines() {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let [id, address, flags, _, _, _, epoch, _, claimed @ ..] = fields.as_slice() else {
                return Err(unexpected());
            };
            let has = |flag: &str| flags.split(',').any(|each| each == flag);
            if has("myself") {
                myself = Some((*id).to_owned());
            }
            // Who is being met has neither its own id nor an address that is certain.
            if has("handshake") {
                continue;
            }
            let (ip, port) = endpoint(address)?;
            let name = match preferred.get(*id) {
                Some(Preferred::Named(name)) => name,
                // Not told: it is reached the way this one is.
                Some(Preferred::Same) => dialled,
                Some(Preferred::Unknown) => continue,
                None if !ip.is_empty() => ip,
                None if has("myself") => dialled,
                None => continue,
            };
            if port == 0 {
                continue;
            }
            all.push(Node {
                id: (*id).to_owned(),
                primary: Primary {
                    host: name.to_owned(),
                    port,
                    epoch: epoch.parse().map_err(|_| unexpected())?,
                },
                slots: claimed
                    .iter()
                    // Behind the ranges come the slots that are being moved.
                    .take_while(|range| !range.starts_with('['))
                    .map(|range| slot_range(range))
                    .collect::<Result<_, _>>()?,
            });
        }
        Ok(Self {
            myself: myself.ok_or_else(unexpected)?,
            nodes: all,
        })
    }

    /// Whether it knows a node of this id there.
    pub(super) fn names(&self, id: &str, host: &Host) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.any(|node| node.id == id && node.primary.address() == *host)
    }
}

/// How a node is to be called.
enum Preferred {
    Named(String),
    Same,
    Unknown,
}

/// For each id in `CLUSTER SLOTS` how its node is to be called.
fn preferred(slots: &[Vec<Value>]) -> BTreeMap<String, Preferred> {
    let mut all = BTreeMap::new();
    for server in slots.iter().flat_map(|range| range.iter().skip(2)) {
        let Value::Array(fields) = server else { continue };
        let [name, _port, id, ..] = fields.as_slice() else {
            continue;
        };
        let (Some(id), name) = (text(id), text(name)) else {
            continue;
        };
        let name = match name.as_deref() {
            None | Some("") => Preferred::Same,
            Some("?") => Preferred::Unknown,
            Some(name) => Preferred::Named(name.to_owned()),
        };
        all.insert(id, name);
    }
    all
}

fn text(value: &Value) -> Option<String> {
    Option::<String>::from_redis_value_ref(value).ok().flatten()
}

/// Address and port of `ip:port@cport[,hostname[,…]]`.
fn endpoint(address: &str) -> Result<(&str, u16), Cause> {
    let (address, _) = address.split_once('@').unwrap_or((address, ""));
    let (ip, port) = address.rsplit_once(':').ok_or_else(unexpected)?;
    Ok((ip, port.parse().map_err(|_| unexpected())?))
}

fn slot_range(text: &str) -> Result<RangeInclusive<u16>, Cause> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if last < SLOTS => Ok(first..=last),
        _ => Err(unexpected()),
    }
}

fn refused(error: &RedisError) -> Cause {
    // Where a pipeline fails, the errors of its commands are in its words alone.
    if error.to_string().contains("cluster support disabled") {
        return Cause::new(
            "redis: the server is no node of a cluster (cluster-enabled no), and REDIS_URL says redis-cluster://; for one \
             server it is redis://",
        );
    }
    local::cause(format!("redis cluster: {error}"), error)
}

fn unexpected() -> Cause {
    Cause::new("redis cluster: unexpected CLUSTER NODES")
}

#[cfg(test)]
mod tests;
