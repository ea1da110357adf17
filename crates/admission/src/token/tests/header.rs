//! The compact form and its protected header.

use serde_json::json;
use testkit::mint::{base64url, seal};

use super::*;

const GOOD: &str = r#"{"alg":"ES256","typ":"JWT","kid":"key-1"}"#;

fn claims() -> String {
    serde_json::Value::Object(Mandate::single_use(ZONE, NOW).claims).to_string()
}

/// A mandate under this header, signed by the zone's key.
fn judge(world: &World, header: &str) -> Result<(), Denial> {
    world.judge(&seal(header, &claims(), &world.key)).map(drop)
}

#[test]
fn header_alg_other_than_es256_is_refused_before_any_key_is_looked_up() {
    let world = World::new();
    assert_eq!(judge(&world, GOOD), Ok(()));
    assert_eq!(world.asked().len(), 1);
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""HS256""#,
        r#""RS256""#,
        r#""ES384""#,
        r#""ES512""#,
        r#""ES256K""#,
        r#""EdDSA""#,
        r#""es256""#,
        r#""Es256""#,
        r#""ES256 ""#,
        r#""""#,
        r#"["ES256"]"#,
        "null",
        "256",
    ] {
        let header = GOOD.replace(r#""ES256""#, alg);
        assert_eq!(judge(&world, &header), Err(Denial::MalformedToken), "{alg}");
    }
    assert_eq!(
        judge(&world, r#"{"kid":"key-1"}"#),
        Err(Denial::MalformedToken),
        "no alg"
    );
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn header_crit_and_b64_are_refused_whatever_their_value() {
    let world = World::new();
    for extension in [
        r#""crit":["b64"]"#,
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"""#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""b64":null"#,
        r#""cr\u0069t":[]"#,
    ] {
        let header = GOOD.replace(r#""typ":"JWT""#, extension);
        assert_eq!(judge(&world, &header), Err(Denial::MalformedToken), "{extension}");
    }
}

#[test]
fn header_keys_that_the_token_brings_along_are_never_used() {
    let world = World::new();
    let attacker = Key::generate("key-1");
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("typ", json!("at+jwt")),
        ("CRIT", json!(["b64"])),
    ] {
        let mandate = Mandate::single_use(ZONE, NOW).header(name, value);
        assert_eq!(world.judge_mandate(&mandate), Ok(()), "{name} is ignored");
        assert_eq!(
            world.judge(&mandate.sign(&attacker)),
            Err(Denial::BadSignature),
            "{name} is not believed"
        );
        assert_eq!(
            world.asked(),
            ["key-1", "key-1"],
            "{name}: keys come from the zone alone"
        );
    }
}

#[test]
fn header_is_one_object_without_duplicates() {
    let world = World::new();
    for header in [
        r#"["ES256","key-1"]"#,
        r#"[ {"alg":"ES256","kid":"key-1"} ]"#,
        r#"{"alg":"none","alg":"ES256","kid":"key-1"}"#,
        r#"{"alg":"ES256","kid":"key-1","alg":"none"}"#,
        r#"{"alg":"ES256","kid":"other","kid":"key-1"}"#,
        r#"{"alg":"ES256","a\u006cg":"none","kid":"key-1"}"#,
        r#"{"alg":"ES256","kid":"key-1"}x"#,
        r#"{"alg":"ES256","kid":"key-1",}"#,
        r#"{"alg":"ES256","kid":"key-1""#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":"ES256","kid":["key-1"]}"#,
        "\u{feff}{\"alg\":\"ES256\",\"kid\":\"key-1\"}",
        "null",
        "",
    ] {
        assert_eq!(judge(&world, header), Err(Denial::MalformedToken), "{header}");
    }
    assert_eq!(
        judge(&world, r#" {"alg":"ES\u003256","kid":"k\u0065y-1"} "#),
        Ok(()),
        "spelled with escapes"
    );
}

#[test]
fn header_is_text_in_members_that_are_skipped_too() {
    let world = World::new();
    let sealed = |odd: &[u8]| {
        let header = [br#"{"alg":"ES256","kid":"key-1","x":""#, odd, br#""}"#].concat();
        let signed = format!("{}.{}", base64url(&header), base64url(claims().as_bytes()));
        let signature = base64url(&world.key.sign(signed.as_bytes()));
        world.judge(&format!("{signed}.{signature}")).map(drop)
    };
    assert_eq!(sealed("é".as_bytes()), Ok(()));
    assert_eq!(sealed(b"\xe9"), Err(Denial::MalformedToken));
}

#[test]
fn header_strange_kids_are_unknown_and_asked_for_verbatim() {
    let world = World::new();
    let long = "k".repeat(1024);
    for kid in ["../../etc/passwd", "' OR 1=1 --", "\0", "key-1\n", "KEY-1", &long] {
        let mandate = Mandate::single_use(ZONE, NOW).header("kid", kid);
        assert_eq!(
            world.judge_mandate(&mandate),
            Err(Denial::BadSignature),
            "{kid:?}"
        );
        assert_eq!(world.asked(), [kid]);
    }
    let huge = Mandate::single_use(ZONE, NOW).header("kid", "k".repeat(10 * 1024));
    assert_eq!(world.judge_mandate(&huge), Err(Denial::BearerTooLarge));
}

#[test]
fn compact_form_has_three_parts_in_one_spelling() {
    let world = World::new();
    let token = Mandate::single_use(ZONE, NOW).sign(&world.key);
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for broken in [
        payload.to_owned(),
        format!("{header}.{payload}"),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{header}.{payload}.{signature}."),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        format!("{header}.{payload}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}..{signature}"),
        "..".to_owned(),
        ".".to_owned(),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{payload}. {signature}"),
        format!("{header}.{payload}\t.{signature}"),
        format!("{header}.{payload}.{signature}%3D"),
        format!("\"{token}\""),
        format!("{token},{token}"),
    ] {
        assert_eq!(world.judge(&broken), Err(Denial::MalformedToken), "{broken}");
    }
    world.asked();
    for signature in [
        "",
        &signature[..84],
        &format!("{signature}A"),
        &format!("{signature}{signature}AA"),
    ] {
        assert_eq!(
            world.judge(&format!("{header}.{payload}.{signature}")),
            Err(Denial::BadSignature),
            "a signature of another length is a bad one"
        );
    }
    assert_eq!(world.asked(), [""; 0], "and no key is looked up for it");
}

#[test]
fn compact_form_stray_bits_are_refused_in_every_part() {
    let world = World::new();
    // Lengths that leave spare bits in the last letter of every part.
    let header = pad(GOOD, 1);
    let claims = pad(&claims(), 2);
    let token = seal(&header, &claims, &world.key);
    assert!(world.judge(&token).is_ok());
    let parts: Vec<_> = token.split('.').collect();
    for index in 0..3 {
        let mut twins = parts.clone();
        let twin = with_stray_bit(parts[index]);
        twins[index] = &twin;
        assert_eq!(
            world.judge(&twins.join(".")),
            Err(Denial::MalformedToken),
            "part {index}"
        );
    }
    assert_eq!(
        world.asked().len(),
        1,
        "the second spelling of a mandate is no mandate"
    );
}

/// Blanks before a JSON text until its length leaves this remainder of three.
fn pad(json: &str, remainder: usize) -> String {
    let blanks = (0..3)
        .find(|blanks| (json.len() + blanks) % 3 == remainder)
        .unwrap();
    format!("{}{json}", " ".repeat(blanks))
}

fn with_stray_bit(part: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = part.split_at(part.len() - 1);
    let next = ALPHABET.find(last).unwrap() + 1;
    format!("{rest}{}", &ALPHABET[next..=next])
}

#[test]
fn compact_form_of_a_good_mandate_is_what_was_signed() {
    // The signing input is the text as received: another header over the same claims is another mandate.
    let world = World::new();
    let token = Mandate::single_use(ZONE, NOW).sign(&world.key);
    let (_, rest) = token.split_once('.').unwrap();
    let swapped = format!("{}.{rest}", base64url(GOOD.replace("JWT", "jwt").as_bytes()));
    assert_eq!(world.judge(&swapped), Err(Denial::BadSignature));
}
