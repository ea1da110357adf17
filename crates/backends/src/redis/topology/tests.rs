use super::{Node, Primary, Topology, View};

/// A node's claim: its name is id and host; the epoch; the slots.
fn node(name: &str, epoch: u64, slots: &[(u16, u16)]) -> Node {
    Node {
        id: name.to_owned(),
        primary: Primary {
            host: name.to_owned(),
            port: 6379,
            epoch,
        },
        slots: slots.iter().map(|(first, last)| *first..=*last).collect(),
    }
}

fn view(myself: &str, nodes: &[Node]) -> View {
    View {
        myself: myself.to_owned(),
        nodes: nodes.to_vec(),
    }
}

fn after(before: &Topology, views: &[View], known: usize) -> Topology {
    before.after(&views.iter().collect::<Vec<_>>(), known, |_| true)
}

/// Who serves these slots: host and epoch.
fn serving(topology: &Topology, slots: &[u16]) -> Vec<String> {
    let show = |slot: &u16| {
        topology.shard_of(*slot).map_or_else(String::new, |shard| {
            format!("{}@{}", shard.primary().host, shard.primary().epoch)
        })
    };
    slots.iter().map(show).collect()
}

#[test]
fn slots_are_grouped_by_primary() {
    let nodes = [
        node("b", 2, &[(100, 200), (16383, 16383)]),
        node("a", 1, &[(0, 99), (300, 300)]),
        node("replica", 1, &[]),
    ];
    let topology = after(&Topology::default(), &[view("a", &nodes)], 3);
    let shards: Vec<_> = topology
        .shards()
        .iter()
        .map(|shard| (shard.address(), shard.slots().to_vec()))
        .collect();
    assert_eq!(
        shards,
        [
            (("a", 6379), vec![0..=99, 300..=300]),
            (("b", 6379), vec![100..=200, 16383..=16383]),
        ]
    );
    assert_eq!(
        serving(&topology, &[99, 100, 250, 300, 16383]),
        ["a@1", "b@2", "", "a@1", "b@2"]
    );
    assert!(Topology::default().shard_of(0).is_none());
}

#[test]
fn later_claim_wins_whoever_tells_of_it() {
    let (before, later) = (node("a", 1, &[(0, 9)]), node("a2", 7, &[(0, 9)]));
    let old = [before, node("b", 2, &[(10, 19)]), node("a2", 1, &[])];
    let new = [node("a", 1, &[]), node("b", 2, &[(10, 19)]), later];
    // The old primary has not heard of it, and the new one does not answer.
    for views in [
        [view("a", &old), view("b", &new)],
        [view("b", &new), view("a", &old)],
    ] {
        let topology = after(&Topology::default(), &views, 3);
        assert_eq!(serving(&topology, &[0, 10]), ["a2@7", "b@2"]);
    }
    // Nor does one who knew only of the old one lead back.
    let topology = after(&Topology::default(), &[view("b", &new)], 3);
    for views in [vec![view("a", &old)], vec![]] {
        let again = after(&topology, &views, 3);
        assert_eq!(serving(&again, &[0, 10]), ["a2@7", "b@2"]);
        assert_eq!(again.shards().len(), 2);
    }
}

#[test]
fn nodes_own_word_counts_more_than_what_is_said_of_it() {
    // b has taken slot 5 from a, which bumped its own epoch since; c still believes that a serves it.
    let a = node("a", 9, &[(0, 4)]);
    let b = node("b", 8, &[(5, 5)]);
    let stale = node("a", 9, &[(0, 5)]);
    let views = [
        view("a", &[a.clone(), b.clone()]),
        view("b", &[a, b]),
        view("c", &[stale]),
    ];
    let topology = after(&Topology::default(), &views, 3);
    assert_eq!(serving(&topology, &[4, 5]), ["a@9", "b@8"]);
    // Who says itself that it serves nothing any more is not held to it.
    let views = [view("b", &[node("b", 8, &[])])];
    assert_eq!(serving(&after(&topology, &views, 3), &[4, 5]), ["a@9", ""]);
}

#[test]
fn cluster_that_was_set_up_anew_counts_when_more_than_half_of_the_nodes_say_so() {
    let before = after(&Topology::default(), &[view("a", &[node("a", 9, &[(0, 1)])])], 3);
    let anew = [node("x", 1, &[(0, 1)])];
    let one = [view("x", &anew)];
    assert_eq!(serving(&after(&before, &one, 3), &[0]), ["a@9"]);
    let two = [view("x", &anew), view("y", &anew)];
    assert_eq!(serving(&after(&before, &two, 3), &[0]), ["x@1"]);
    assert_eq!(serving(&after(&before, &two, 4), &[0]), ["a@9"]);
}

#[test]
fn primary_that_was_forgotten_is_not_held_to_what_it_served() {
    let old = [node("a", 9, &[(0, 9)]), node("b", 8, &[(10, 19)])];
    let before = after(&Topology::default(), &[view("a", &old)], 9);
    let anew = view("x", &[node("x", 1, &[(0, 19)])]);
    assert_eq!(
        serving(&before.after(&[&anew], 9, |_| true), &[0, 10]),
        ["a@9", "b@8"]
    );
    assert_eq!(
        serving(&before.after(&[&anew], 9, |id| id == "b"), &[0, 10]),
        ["x@1", "b@8"]
    );
    assert_eq!(serving(&before.after(&[], 9, |_| false), &[0, 10]), ["", ""]);
}

#[test]
fn address_that_a_node_has_now_counts() {
    let before = after(&Topology::default(), &[view("a", &[node("a", 1, &[(0, 1)])])], 1);
    let mut moved = node("a", 1, &[(0, 1)]);
    moved.primary.host = "elsewhere".to_owned();
    let topology = after(&before, &[view("a", &[moved])], 2);
    assert_eq!(serving(&topology, &[0]), ["elsewhere@1"]);
    assert_ne!(before.shards()[0].primary(), topology.shards()[0].primary());
}
