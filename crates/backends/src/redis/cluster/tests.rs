use std::time::Duration;

use admission::limits::OwnEndpoint;

use super::named::FORGET_AFTER;
use super::{Cluster, Dialer, Host, Primary, View, Word};
use crate::pem::PemTls;
use crate::redis::view::Node;
use crate::redis::{RedisConfig, RedisServers};

/// A cluster that is told what its nodes say.
struct Bench {
    cluster: Cluster,
    dialer: Dialer,
}

/// The address of a node, which has its name.
fn at(name: &str) -> Host {
    (name.to_owned(), 6379)
}

/// Id, name, epoch and slots.
type Said<'a> = (&'a str, &'a str, u64, Option<(u16, u16)>);

/// What a node says: its own id, and all nodes.
fn says(myself: &str, nodes: &[Said<'_>]) -> Word {
    let nodes = nodes.iter().map(|(id, name, epoch, slots)| {
        let (host, port) = at(name);
        let epoch = *epoch;
        Node {
            id: (*id).to_owned(),
            primary: Primary { host, port, epoch },
            slots: slots.iter().map(|(first, last)| *first..=*last).collect(),
        }
    });
    Word::Says(View {
        myself: myself.to_owned(),
        nodes: nodes.collect(),
    })
}

impl Bench {
    fn new(seeds: &[&str]) -> Self {
        let seeds = seeds
            .iter()
            .map(|seed| format!("redis://{seed}").parse().unwrap());
        let seeds: Vec<redis::ConnectionInfo> = seeds.collect();
        let dialer = Dialer::new(&RedisConfig {
            servers: RedisServers::Cluster { seeds: seeds.clone() },
            tls: PemTls::default(),
            dial_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(1),
        });
        let clients = seeds.into_iter().map(|seed| dialer.client(seed).unwrap());
        let cluster = Cluster::new(clients.collect());
        Self { cluster, dialer }
    }

    fn hears(&self, name: &str, word: Word) {
        self.cluster.heard(&at(name), word, &self.dialer);
    }

    fn silent(&self, name: &str) {
        self.hears(name, Word::Silent(super::Cause::new("gone")));
    }

    fn pass_rounds(&self, rounds: u32) {
        for _ in 0..rounds {
            self.cluster.pass_round(&self.dialer);
        }
    }

    /// Who serves these slots.
    fn serving(&self, slots: &[u16]) -> Vec<String> {
        let topology = self.cluster.topology();
        let topology = topology.borrow();
        let host = |slot: &u16| Some(topology.shard_of(*slot)?.address().0.to_owned());
        slots.iter().map(|slot| host(slot).unwrap_or_default()).collect()
    }

    /// The names that are the gateway's own.
    fn own(&self) -> Vec<String> {
        let name = |endpoint: &OwnEndpoint| match endpoint {
            OwnEndpoint::Host(name, _) | OwnEndpoint::Name(name, _) => name.clone(),
            OwnEndpoint::Net(net, _) => net.to_string(),
        };
        self.dialer.endpoints().borrow().iter().map(name).collect()
    }
}

#[test]
fn nothing_is_said_before_every_node_was_asked_and_those_that_leave_are_forgotten() {
    let bench = Bench::new(&["a"]);
    let all = [
        ("a", "a", 1, Some((0, 9))),
        ("b", "b", 2, Some((10, 19))),
        ("c", "c", 1, None),
    ];
    bench.hears("a", says("a", &all));
    assert_eq!(bench.own(), ["a", "b", "c"], "replicas, too");
    assert_eq!(bench.serving(&[0, 10]), ["", ""]);
    bench.hears("b", says("b", &all));
    bench.silent("c");
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    for name in ["a", "b"] {
        bench.hears(name, says(name, &all[..2]));
    }
    bench.pass_rounds(FORGET_AFTER - 1);
    assert_eq!(bench.own(), ["a", "b", "c"], "it may be cut off");
    bench.pass_rounds(1);
    assert_eq!(bench.own(), ["a", "b"]);
    let moved = [all[0], ("b", "b2", 2, Some((10, 19)))];
    bench.silent("b");
    bench.hears("a", says("a", &moved));
    bench.hears("b2", says("b", &moved));
    assert_eq!(bench.own(), ["a", "b2"], "it has left");
}

#[test]
fn no_node_is_forgotten_while_nobody_answers() {
    let bench = Bench::new(&["a"]);
    let all = [
        ("a", "a", 1, Some((0, 9))),
        ("b", "b", 2, Some((10, 19))),
        ("c", "c", 1, None),
        ("d", "d", 1, None),
    ];
    for name in ["a", "b", "c", "d"] {
        bench.hears(name, says(name, &all));
    }
    for name in ["d", "b", "c", "a"] {
        bench.silent(name);
    }
    bench.pass_rounds(2 * FORGET_AFTER);
    assert_eq!(bench.own(), ["a", "b", "c", "d"]);
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    // The first who comes back, empty, takes nobody's place at once.
    bench.hears("a", says("z", &[("z", "a", 0, None)]));
    bench.pass_rounds(FORGET_AFTER - 1);
    assert_eq!(bench.own(), ["a", "b", "c", "d"]);
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    bench.hears("b", says("b", &all));
    bench.pass_rounds(FORGET_AFTER);
    assert_eq!(bench.own(), ["a", "b", "c", "d"]);
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
}

#[test]
fn cluster_behind_the_same_name_is_followed_when_the_one_before_is_gone() {
    let bench = Bench::new(&["cluster"]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let old: Vec<Said<'_>> = (0..)
        .zip(names)
        .map(|(slot, name)| (name, name, 100, Some((slot, slot))))
        .collect();
    bench.hears("cluster", says("a", &old));
    for name in names {
        bench.hears(name, says(name, &old));
    }
    assert_eq!(bench.serving(&[0, 1, 2, 3, 4, 5]), names);

    let anew = [
        ("x", "x", 1, Some((0, 1))),
        ("y", "y", 2, Some((2, 3))),
        ("z", "z", 3, Some((4, 5))),
    ];
    for name in names {
        bench.silent(name);
    }
    bench.hears("cluster", says("x", &anew));
    for name in ["x", "y", "z"] {
        bench.hears(name, says(name, &anew));
    }
    bench.pass_rounds(FORGET_AFTER - 1);
    assert_eq!(bench.serving(&[0, 1, 2, 3, 4, 5]), names, "it may be cut off");
    bench.pass_rounds(1);
    assert_eq!(bench.serving(&[0, 1, 2, 3, 4, 5]), ["x", "x", "y", "y", "z", "z"]);
    assert_eq!(bench.own(), ["cluster", "x", "y", "z"]);
}

#[test]
fn primary_that_others_still_name_counts_for_as_long_as_it_is_silent() {
    let bench = Bench::new(&["a"]);
    let all = |epoch| [("a", "a", 1, Some((0, 9))), ("b", "b", epoch, Some((10, 19)))];
    bench.hears("a", says("a", &all(7)));
    bench.hears("b", says("b", &all(7)));
    bench.silent("b");
    bench.hears("a", says("a", &[all(7)[0], ("b", "b", 7, None)]));
    bench.pass_rounds(2 * FORGET_AFTER);
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
}

#[test]
fn nodes_that_are_forgotten_do_not_outvote_those_that_answer() {
    let bench = Bench::new(&["s", "t"]);
    let old = [
        ("a", "a", 9, Some((0, 9))),
        ("b", "b", 9, None),
        ("c", "c", 9, None),
        ("d", "d", 9, None),
    ];
    bench.hears("s", says("a", &old));
    bench.hears("t", says("b", &old));
    for name in ["a", "b", "c", "d"] {
        bench.hears(name, says(name, &old));
    }
    for name in ["a", "b", "c", "d"] {
        bench.silent(name);
    }
    // They still know of the primary, which serves nothing any more: two against six, then against three.
    let anew = [
        ("x", "s", 1, Some((0, 9))),
        ("y", "t", 1, None),
        ("a", "a", 9, None),
    ];
    bench.hears("t", says("y", &anew));
    bench.hears("s", says("x", &anew));
    assert_eq!(bench.serving(&[0]), ["a"]);
    bench.pass_rounds(FORGET_AFTER);
    assert_eq!(bench.own(), ["a", "s", "t"]);
    assert_eq!(bench.serving(&[0]), ["s"]);
}

#[test]
fn node_of_another_cluster_at_a_known_address_misleads_nobody() {
    let bench = Bench::new(&["a"]);
    let all = [("a", "a", 1, Some((0, 9))), ("b", "b", 2, Some((10, 19)))];
    bench.hears("a", says("a", &all));
    bench.hears("b", says("b", &all));
    let other = [("z", "b", 1000, Some((0, 19))), ("y", "y", 999, None)];
    bench.hears("b", says("z", &other));
    assert_eq!(bench.serving(&[0, 10]), ["a", "b"]);
    assert_eq!(bench.own(), ["a", "b"]);
    // Once the others have it among them it counts.
    bench.hears("a", says("a", &[all[0], ("z", "b", 3, Some((10, 19)))]));
    bench.hears("b", says("z", &[all[0], ("z", "b", 4, Some((9, 19)))]));
    assert_eq!(bench.serving(&[0, 9, 10]), ["a", "b", "b"]);
}
