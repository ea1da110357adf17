use super::*;

const LIMITS: TimeLimits = TimeLimits {
    head: Duration::from_secs(1),
    idle: Duration::from_secs(2),
    write: Duration::from_secs(4),
};

/// Every state that a connection can be in, by name.
fn states(at: Instant) -> Vec<(&'static str, ConnectionState)> {
    let busy = |body| Exchange {
        body,
        write_by: None,
        is_unread: false,
        needs_reset: false,
    };
    let length = busy(BodyLeft::Length(5));
    vec![
        ("idle", ConnectionState::Idle { since: at }),
        ("head", ConnectionState::Head { since: at }),
        ("length", ConnectionState::Busy(length)),
        ("whole", ConnectionState::Busy(busy(BodyLeft::Length(0)))),
        (
            "chunks",
            ConnectionState::Busy(busy(BodyLeft::Chunks { at_end: false })),
        ),
        (
            "last chunk",
            ConnectionState::Busy(busy(BodyLeft::Chunks { at_end: true })),
        ),
        ("passed", ConnectionState::Busy(busy(BodyLeft::Passed))),
        (
            "late",
            ConnectionState::Busy(Exchange {
                write_by: Some(at),
                ..length
            }),
        ),
        (
            "unread",
            ConnectionState::Busy(Exchange {
                is_unread: true,
                ..length
            }),
        ),
        (
            "old",
            ConnectionState::Busy(Exchange {
                needs_reset: true,
                ..length
            }),
        ),
        ("draining", ConnectionState::Draining { since: at }),
        ("streams 0", ConnectionState::Multiplexed { open: 0, since: at }),
        ("streams 1", ConnectionState::Multiplexed { open: 1, since: at }),
        ("streams 2", ConnectionState::Multiplexed { open: 2, since: at }),
        (
            "ended",
            ConnectionState::Ended {
                why: Ending::Stopped,
                needs_reset: false,
            },
        ),
        (
            "ended, reset",
            ConnectionState::Ended {
                why: Ending::Stopped,
                needs_reset: true,
            },
        ),
    ]
}

fn events(at: Instant) -> Vec<(&'static str, Event)> {
    let given = |bytes, ends_with_empty_line| Event::Given {
        now: at,
        bytes,
        ends_with_empty_line,
    };
    let exchange = Exchange {
        body: BodyLeft::Length(5),
        write_by: None,
        is_unread: false,
        needs_reset: false,
    };
    vec![
        ("http2", Event::Http2(at)),
        ("nothing", given(0, false)),
        ("bytes", given(5, true)),
        ("more", given(6, false)),
        ("request", Event::Request(exchange, at)),
        ("fixed", Event::FixedLength(at)),
        ("large", Event::HeadTooLarge(at)),
        ("left", Event::Unread),
        ("over", Event::Over(at)),
        ("end", Event::End(Ending::Stopped)),
    ]
}

/// What becomes of every state with every event; a state that is not named stays.
const TABLE: [(&str, &[(&str, &str)]); 16] = [
    (
        "idle",
        &[
            ("http2", "streams 0"),
            ("bytes", "head"),
            ("more", "head"),
            ("request", "length"),
            ("large", "draining"),
            ("end", "ended"),
        ],
    ),
    (
        "head",
        &[
            ("http2", "streams 0"),
            ("request", "length"),
            ("large", "draining"),
            ("end", "ended"),
        ],
    ),
    (
        "length",
        &[
            ("http2", "streams 0"),
            ("bytes", "whole"),
            ("more", "passed"),
            ("fixed", "late"),
            ("left", "unread"),
            ("over", "idle"),
            ("end", "ended"),
        ],
    ),
    (
        "whole",
        &[
            ("http2", "streams 0"),
            ("bytes", "passed"),
            ("more", "passed"),
            ("request", "length"),
            ("over", "idle"),
            ("end", "ended"),
        ],
    ),
    (
        "chunks",
        &[
            ("http2", "streams 0"),
            ("bytes", "last chunk"),
            ("request", "length"),
            ("over", "head"),
            ("end", "ended"),
        ],
    ),
    (
        "last chunk",
        &[
            ("http2", "streams 0"),
            ("nothing", "chunks"),
            ("more", "chunks"),
            ("request", "length"),
            ("over", "idle"),
            ("end", "ended"),
        ],
    ),
    (
        "passed",
        &[
            ("http2", "streams 0"),
            ("request", "length"),
            ("over", "head"),
            ("end", "ended"),
        ],
    ),
    (
        "late",
        &[
            ("http2", "streams 0"),
            ("request", "length"),
            ("over", "idle"),
            ("end", "ended"),
        ],
    ),
    (
        "unread",
        &[
            ("http2", "streams 0"),
            ("request", "length"),
            ("over", "draining"),
            ("end", "ended"),
        ],
    ),
    (
        "old",
        &[
            ("http2", "streams 0"),
            ("request", "length"),
            ("over", "idle"),
            ("end", "ended, reset"),
        ],
    ),
    (
        "draining",
        &[("http2", "streams 0"), ("request", "length"), ("end", "ended")],
    ),
    ("streams 0", &[("request", "streams 1"), ("end", "ended")]),
    (
        "streams 1",
        &[("request", "streams 2"), ("over", "streams 0"), ("end", "ended")],
    ),
    (
        "streams 2",
        &[("request", "streams 3"), ("over", "streams 1"), ("end", "ended")],
    ),
    ("ended", &[]),
    ("ended, reset", &[]),
];

/// What this table does not ask: it changes a field of the exchange and nothing else.
fn is_detail(state: &str, event: &str) -> bool {
    let of_body = ["nothing", "bytes", "more", "fixed", "left"].contains(&event);
    match state {
        "late" | "unread" | "old" => of_body,
        "whole" | "chunks" | "last chunk" | "passed" => ["fixed", "left"].contains(&event),
        _ => false,
    }
}

#[test]
fn connection_state_follows_the_table_for_every_event() {
    let at = crate::clock::instant();
    let states = states(at);
    let mut asked = 0;
    for ((name, state), (row, changes)) in states.iter().zip(TABLE) {
        assert_eq!(*name, row);
        for (event_name, event) in events(at) {
            if is_detail(name, event_name) {
                continue;
            }
            let expect = changes.iter().find(|(known, _)| *known == event_name);
            let expect = expect.map_or(*name, |(_, next)| next);
            let got = state.after(event);
            let expect = match expect {
                "streams 3" => ConnectionState::Multiplexed { open: 3, since: at },
                expect => states.iter().find(|(known, _)| *known == expect).unwrap().1,
            };
            assert_eq!(got, expect, "{name} + {event_name}");
            asked += 1;
        }
    }
    assert_eq!(asked, 16 * 10 - 3 * 5 - 4 * 2);
}

#[test]
fn connection_state_says_what_it_waits_for() {
    let at = crate::clock::instant();
    for (name, state) in states(at) {
        let expect = match name {
            "idle" | "draining" | "streams 0" => Some(at + LIMITS.idle),
            "head" => Some(at + LIMITS.head),
            _ => None,
        };
        assert_eq!(state.read_deadline(&LIMITS), expect, "{name}");
        let expect = (name == "idle").then(|| at + REST_AFTER);
        assert_eq!(state.rests_from(), expect, "{name}");
    }
}

#[test]
fn connection_state_keeps_an_exchanges_details_apart() {
    let at = crate::clock::instant();
    for (name, state) in states(at) {
        let ConnectionState::Busy(exchange) = state else {
            continue;
        };
        let late = Exchange {
            write_by: Some(at),
            ..exchange
        };
        assert_eq!(
            state.after(Event::FixedLength(at)),
            ConnectionState::Busy(late),
            "{name}"
        );
        let unread = Exchange {
            is_unread: true,
            ..exchange
        };
        assert_eq!(
            state.after(Event::Unread),
            ConnectionState::Busy(unread),
            "{name}"
        );
    }
}

#[test]
fn delivery_counts_pieces_and_keeps_its_first_end() {
    let at = crate::clock::instant();
    let later = at + Duration::from_secs(1);
    let offered = |pieces, since| Delivery::Offered { pieces, since };
    let ended = Delivery::Ended(Ending::WriteTimeout);
    for (state, handed_over, taken) in [
        (Delivery::Taken, offered(1, later), Delivery::Taken),
        (offered(1, at), offered(2, later), Delivery::Taken),
        (offered(2, at), offered(3, later), offered(1, later)),
        (ended, ended, ended),
    ] {
        assert_eq!(state.hand_over(later), handed_over, "{state:?}");
        assert_eq!(state.take(later), taken, "{state:?}");
        let expect = if state == ended {
            ended
        } else {
            Delivery::Ended(Ending::Revoked)
        };
        assert_eq!(state.end(Ending::Revoked), expect, "{state:?}");
        let deadline = match state {
            Delivery::Offered { .. } => Some(at + LIMITS.write),
            Delivery::Taken | Delivery::Ended(_) => None,
        };
        assert_eq!(state.deadline(LIMITS.write), deadline, "{state:?}");
    }
}
