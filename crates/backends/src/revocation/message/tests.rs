use super::{Order, Stream, read};
use crate::revocation::anchor::Kind;
use crate::revocation::signature::tests::sign;
use crate::revocation::signature::{Fields, StreamsKey};

const KEY: &[u8] = &[7; 32];

fn check(stream: Stream, fields: &[(&str, &str)], expect: &Order<'_>) {
    let signature = sign(KEY, stream.name(), fields);
    let mut signed: Fields<'_> = fields.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes())).collect();
    signed.insert(b"_sig", signature.as_bytes());
    assert_eq!(
        &read(&StreamsKey::new(KEY), stream, &signed),
        expect,
        "{fields:?}"
    );

    signed.insert(
        b"_sig",
        b"0000000000000000000000000000000000000000000000000000000000000000",
    );
    assert_eq!(
        read(&StreamsKey::new(KEY), stream, &signed),
        Order::Drop,
        "{fields:?} forged"
    );
}

fn revoke<'a>(anchors: &[(Kind, &'a str)], cascades: bool) -> Order<'a> {
    Order::Revoke {
        anchors: anchors.iter().map(|&(kind, id)| (kind, id.into())).collect(),
        cascades,
    }
}

#[test]
fn revocation_messages_name_their_anchors() {
    use Kind::{Edge, Record, Session};
    let stream = Stream::Revocations;
    check(
        stream,
        &[("zone_id", "z"), ("session_id", "r")],
        &revoke(&[(Record, "r")], false),
    );
    check(
        stream,
        &[
            ("session_id", "r"),
            ("agent_session_id", "s"),
            ("delegation_edge_id", "e"),
        ],
        &revoke(&[(Record, "r"), (Session, "s"), (Edge, "e")], false),
    );
    check(stream, &[("edge_id", "e")], &revoke(&[(Edge, "e")], false));
    check(
        stream,
        &[("edge_id", "other"), ("delegation_edge_id", "e")],
        &revoke(&[(Edge, "e")], false),
    );
    check(
        stream,
        &[("session_id", "null"), ("agent_session_id", "s")],
        &revoke(&[(Session, "s")], false),
    );
    check(stream, &[("zone_id", "z"), ("session_id", "")], &Order::Nameless);
}

#[test]
fn lifecycle_messages_revoke_and_resume() {
    let session = revoke(&[(Kind::Session, "s")], false);
    let stream = Stream::Agents;
    check(
        stream,
        &[("event", "terminate"), ("agent_session_id", "s")],
        &session,
    );
    check(
        stream,
        &[("event", "suspend"), ("agent_session_id", "s")],
        &session,
    );
    check(
        stream,
        &[("event", "resume"), ("agent_session_id", "s")],
        &Order::Resume,
    );
    check(
        stream,
        &[("event", "spawn"), ("agent_session_id", "s")],
        &Order::Ignore,
    );
    check(stream, &[("agent_session_id", "s")], &Order::Ignore);
    check(stream, &[("event", "terminate")], &Order::Nameless);
}

#[test]
fn delegation_and_key_messages() {
    let stream = Stream::Delegations;
    check(
        stream,
        &[
            ("event", "edge_revoke"),
            ("edge_id", "e"),
            ("affected_edges", "3"),
        ],
        &revoke(&[(Kind::Edge, "e")], true),
    );
    check(
        stream,
        &[("event", "edge_create"), ("edge_id", "e")],
        &Order::Ignore,
    );
    for (event, list, expect) in [
        (
            "edge_expire",
            r#"["f","g"]"#,
            revoke(&[(Kind::Edge, "f"), (Kind::Edge, "g")], false),
        ),
        ("edge_revoke", r#"["f"]"#, revoke(&[(Kind::Edge, "f")], true)),
        ("edge_expire", "[]", Order::Nameless),
        ("edge_expire", "null", Order::Nameless),
        ("edge_create", r#"["f"]"#, Order::Ignore),
        ("edge_expire", r#"["f""#, Order::Ambiguous),
        ("edge_expire", r#"["f",7]"#, Order::Ambiguous),
        ("edge_expire", r#"["f",""]"#, Order::Ambiguous),
        ("edge_revoke", r#"{"f":1}"#, Order::Ambiguous),
        ("edge_expire", "f", Order::Ambiguous),
    ] {
        check(stream, &[("event", event), ("edge_ids", list)], &expect);
    }
    for list in [r#"["f",7]"#, "f"] {
        let fields = [("event", "edge_expire"), ("edge_id", "e"), ("edge_ids", list)];
        // The one that can be read is revoked, and the database asked for the others.
        check(stream, &fields, &revoke(&[(Kind::Edge, "e")], true));
    }
    check(Stream::Keys, &[("zone_id", "z")], &Order::RefetchKeys("z"));
    check(Stream::Keys, &[("zone", "z")], &Order::Nameless);
}

#[test]
fn ambiguous_messages_are_not_read() {
    check(
        Stream::Revocations,
        &[("reason", "x\nsession_id=victim"), ("zone_id", "z")],
        &Order::Ambiguous,
    );
    check(
        Stream::Revocations,
        &[("session_id=x", "r"), ("session_id", "r")],
        &Order::Ambiguous,
    );
}
