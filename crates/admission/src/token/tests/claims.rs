//! The claims, and how long a mandate holds.

use serde_json::Value;
use testkit::mint::seal;

use super::*;

const GOOD: Result<(), Denial> = Ok(());
const MALFORMED: Result<(), Denial> = Err(Denial::MalformedToken);
const EXPIRING: Result<(), Denial> = Err(Denial::Expiring);

/// The claims that are text.
const TEXTS: [&str; 9] = [
    "jti",
    "zone_id",
    "client_id",
    "use",
    "sub_type",
    "sid",
    "root_sid",
    "agent_session_id",
    "delegation_edge_id",
];

fn single() -> Mandate {
    Mandate::single_use(ZONE, NOW)
}

/// Judges a mandate with one more member in front of its claims, written as text, signed by the zone's key.
fn judge(world: &World, mandate: Mandate, member: &str) -> Result<(), Denial> {
    let claims = Value::Object(mandate.claims).to_string();
    let claims = format!("{{{member},{}", &claims[1..]);
    let header = r#"{"alg":"ES256","kid":"key-1"}"#;
    world.judge(&seal(header, &claims, &world.key)).map(drop)
}

#[test]
fn claims_duplicate_names_are_refused_known_or_not() {
    let world = World::new();
    for name in TEXTS
        .into_iter()
        .chain(["exp", "nbf", "iat", "scope", "iss", "x"])
    {
        let value = if matches!(name, "exp" | "nbf" | "iat") {
            "1790000900"
        } else {
            r#""a""#
        };
        let escaped = format!(r"\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        for second in [name, &escaped] {
            let twice = format!(r#""{name}":{value},"{second}":{value}"#);
            assert_eq!(
                judge(&world, single().without(name), &twice),
                MALFORMED,
                "{twice}"
            );
        }
    }
}

#[test]
fn claims_known_names_in_another_case_are_refused() {
    let world = World::new();
    for name in [
        "EXP",
        "Exp",
        "NBF",
        "Iat",
        "JTI",
        "ZONE_ID",
        "Zone_Id",
        "zone_iD",
        "Client_ID",
        "USE",
        "Sub_Type",
        "SID",
        "Root_Sid",
        "AGENT_SESSION_ID",
        "Delegation_Edge_Id",
        "ſid",
        "uſe",
        "agent_ſeſſion_id",
        "\\u017fid",
    ] {
        let verdict = judge(&world, single(), &format!(r#""{name}":"a""#));
        assert_eq!(verdict, MALFORMED, "{name}");
    }
    for name in ["ISS", "zoneid", "zone-id", "Kid", "expires", ""] {
        let verdict = judge(&world, single(), &format!(r#""{name}":"a""#));
        assert_eq!(verdict, GOOD, "{name} is nobody's claim");
    }
}

#[test]
fn claims_unknown_members_are_skipped_unread() {
    let world = World::new();
    let nested = format!(r#""x":{}{}"#, "[".repeat(1000), "]".repeat(1000));
    for (member, verdict) in [
        (r#""x":{"zone_id":1,"zone_id":2}"#, GOOD),
        (r#""x":null"#, GOOD),
        (r#""x":1e400"#, GOOD),
        (nested.as_str(), GOOD),
        (r#""x":tru"#, MALFORMED),
        (r#""x":01"#, MALFORMED),
        (r#""x":{"y":}"#, MALFORMED),
        ("\"x\":\"\t\"", MALFORMED),
        (r#""x""#, MALFORMED),
    ] {
        let mandate = single().without("aud").without("iss");
        assert_eq!(judge(&world, mandate, member), verdict, "{member}");
    }
}

#[test]
fn claims_of_the_wrong_type_are_refused() {
    let world = World::new();
    for name in TEXTS {
        for value in ["7", "null", "true", r#"["a"]"#, r#"{"a":1}"#] {
            let member = format!(r#""{name}":{value}"#);
            assert_eq!(
                judge(&world, single().without(name), &member),
                MALFORMED,
                "{member}"
            );
        }
    }
}

#[test]
fn claims_exp_is_an_integer() {
    let world = World::new();
    for (value, single_use, session) in [
        ("1790000900", GOOD, GOOD),
        (r#""1790000900""#, MALFORMED, MALFORMED),
        ("1790000900.5", MALFORMED, MALFORMED),
        ("1790000900.0", MALFORMED, MALFORMED),
        ("1.7900009e9", MALFORMED, MALFORMED),
        ("1e400", MALFORMED, MALFORMED),
        ("-1e400", MALFORMED, MALFORMED),
        ("null", MALFORMED, MALFORMED),
        ("true", MALFORMED, MALFORMED),
        ("[1790000900]", MALFORMED, MALFORMED),
        ("01790000900", MALFORMED, MALFORMED),
        ("+1790000900", MALFORMED, MALFORMED),
        ("0", EXPIRING, EXPIRING),
        ("-1", EXPIRING, EXPIRING),
        ("-1790000900", EXPIRING, EXPIRING),
        ("-9223372036854775808", EXPIRING, EXPIRING),
        ("9223372036854775808", MALFORMED, MALFORMED),
        // The end of the year 9999, and the end of the type.
        ("253402300799", MALFORMED, MALFORMED),
        ("9223372036854775807", MALFORMED, MALFORMED),
    ] {
        let member = format!(r#""exp":{value}"#);
        let of_session = Mandate::session(ZONE, NOW).without("exp");
        assert_eq!(
            judge(&world, single().without("exp"), &member),
            single_use,
            "single-use, {member}"
        );
        assert_eq!(judge(&world, of_session, &member), session, "session, {member}");
    }
    assert_eq!(
        world.judge_mandate(&Mandate::session(ZONE, NOW).without("exp")),
        MALFORMED
    );
}

#[test]
fn claims_jti_is_demanded_of_every_class_that_is_not_reusable() {
    let mut world = World::new();
    // class, without a jti, with an empty one
    for (class, absent, empty) in [
        (Some("session"), GOOD, GOOD),
        (Some("ambient"), GOOD, GOOD),
        (Some("gateway"), MALFORMED, MALFORMED),
        (Some("resource"), MALFORMED, MALFORMED),
        (Some("per_call"), MALFORMED, MALFORMED),
        (Some("Session"), MALFORMED, MALFORMED),
        (Some("session "), MALFORMED, MALFORMED),
        (Some("none"), MALFORMED, MALFORMED),
        (Some(""), MALFORMED, MALFORMED),
        (None, MALFORMED, MALFORMED),
    ] {
        let mandate = single().without("use");
        let mandate = match class {
            Some(class) => mandate.claim("use", class),
            None => mandate,
        };
        assert_eq!(world.judge_mandate(&mandate), GOOD, "{class:?} with a jti");
        assert_eq!(
            world.judge_mandate(&mandate.clone().without("jti")),
            absent,
            "{class:?} without jti"
        );
        assert_eq!(
            world.judge_mandate(&mandate.claim("jti", "")),
            empty,
            "{class:?} with an empty jti"
        );
    }
    world.limits.reusable_uses = ReusableUses::new(["none".to_owned()]);
    let session = Mandate::session(ZONE, NOW);
    assert_eq!(world.judge_mandate(&session), GOOD);
    assert_eq!(
        world.judge_mandate(&session.without("jti")),
        MALFORMED,
        "every mandate is single-use"
    );
}

#[test]
fn claims_life_is_at_most_a_day() {
    let world = World::new();
    assert_eq!(world.judge_mandate(&single().claim("exp", NOW + 86_400)), GOOD);
    assert_eq!(
        world.judge_mandate(&single().claim("exp", NOW + 86_401)),
        MALFORMED
    );
    assert_eq!(
        world.judge_mandate(&Mandate::session(ZONE, NOW).claim("exp", NOW + 86_401)),
        MALFORMED
    );
}

#[test]
fn expiry_window_is_met_to_the_instant() {
    let mut world = World::new();
    // window, now in milliseconds after NOW, exp in seconds after NOW
    for (window, now, expiry, verdict) in [
        (35_000, 0, 35, GOOD),
        (35_000, 0, 34, EXPIRING),
        (35_000, 0, 0, EXPIRING),
        (35_000, 1, 35, EXPIRING),
        (35_000, 999, 36, GOOD),
        (1_500, 500, 2, GOOD),
        (1_500, 501, 2, EXPIRING),
        (0, 0, 0, GOOD),
        (0, 1, 0, EXPIRING),
    ] {
        world.limits.preflight_window = Duration::from_millis(window);
        world.now = Duration::from_millis(NOW * 1000 + now);
        let mandate = single().claim("exp", NOW + expiry);
        assert_eq!(
            world.judge_mandate(&mandate),
            verdict,
            "{window} ms before {expiry} s at {now} ms"
        );
    }
}

#[test]
fn not_before_may_lie_thirty_seconds_ahead() {
    let mut world = World::new();
    let early = Err(Denial::NotYetValid);
    for (value, verdict) in [
        ("0", GOOD),
        ("-5", GOOD),
        ("1790000000", GOOD),
        ("1790000030", GOOD),
        ("1790000031", early),
        ("9223372036854775807", early),
        (r#""1790000000""#, MALFORMED),
        ("1790000000.5", MALFORMED),
        ("1e400", MALFORMED),
        ("null", MALFORMED),
    ] {
        assert_eq!(
            judge(&world, single(), &format!(r#""nbf":{value}"#)),
            verdict,
            "nbf {value}"
        );
    }
    world.now += Duration::from_secs(900);
    let both = single().claim("nbf", NOW + 9_000);
    assert_eq!(world.judge_mandate(&both), EXPIRING, "expiry is judged first");
}

proptest! {
    /// Arbitrary bytes as claims are refused and never panic.
    #[test]
    fn claims_parsing_is_total(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let world = World::new();
        let now = Moment { unix: world.now, monotonic: Duration::ZERO };
        prop_assert!(super::super::claims::parse(&bytes, &world.limits, now).is_err());
    }

    /// What was minted is what is read, whatever characters it holds and however JSON spells them.
    #[test]
    fn claims_are_read_as_they_were_minted(texts in prop::array::uniform9(any::<String>()), life in 35_i64..86_400) {
        let mut object = serde_json::Map::new();
        for (name, text) in TEXTS.iter().zip(&texts) {
            object.insert((*name).to_owned(), Value::from(text.as_str()));
        }
        prop_assume!(!texts[0].is_empty() && !["session", "ambient"].contains(&texts[3].as_str()));
        let expiry = i64::try_from(NOW).unwrap() + life;
        object.insert("exp".to_owned(), expiry.into());
        object.insert("iat".to_owned(), (-life).into());
        let plain = Value::Object(object).to_string();
        let escaped: String = plain
            .chars()
            .map(|letter| if letter.is_ascii() { letter.to_string() } else { letter.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect() })
            .collect();
        let world = World::new();
        let now = Moment { unix: world.now, monotonic: Duration::ZERO };
        for json in [plain, escaped] {
            let mut claims = super::super::claims::parse(json.as_bytes(), &world.limits, now).unwrap();
            let zone = claims.take_zone();
            let anchors = claims.anchors();
            let read = [
                claims.single_use(), zone.as_deref(), claims.client_id(), Some(texts[3].as_str()), claims.sub_type(), anchors.sid,
                anchors.root_sid, anchors.agent_session_id, anchors.delegation_edge_id,
            ];
            prop_assert_eq!(read, texts.each_ref().map(|text| Some(text.as_str())));
            prop_assert_eq!((claims.expires_at(), claims.issued_at(), claims.not_before()), (expiry, Some(-life), None));
        }
    }
}
