use super::{Breaks, Forgery, Key, Mandate, high_s_twin, jwks};
use crate::clock::START;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use std::collections::BTreeSet;

fn verifies(token: &str, key: &Key) -> bool {
    let Some((input, signature)) = token.rsplit_once('.') else {
        return false;
    };
    let Ok(signature) = BASE64URL_NOPAD.decode(signature.as_bytes()) else {
        return false;
    };
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_point())
        .verify(input.as_bytes(), &signature)
        .is_ok()
}

#[test]
fn mandate_verifies_and_so_does_its_twin() {
    let key = Key::generate("kid-1");
    let token = Mandate::single_use("zone-1", START).sign(&key);
    let twin = high_s_twin(&token);
    assert!(verifies(&token, &key) && verifies(&twin, &key));
    assert_ne!(token, twin);
    assert_eq!(high_s_twin(&twin), token);
    assert!(!verifies(&token, &Key::generate("kid-1")));
}

#[test]
fn jwks_holds_the_coordinates_of_the_key() {
    let key = Key::generate("kid-1");
    let document = jwks([&key]);
    let own = &document["keys"][0];
    assert_eq!(
        (own["kid"].as_str(), own["crv"].as_str()),
        (Some("kid-1"), Some("P-256"))
    );
    let point = ["x", "y"]
        .map(|name| {
            BASE64URL_NOPAD
                .decode(own[name].as_str().unwrap().as_bytes())
                .unwrap()
        })
        .concat();
    assert_eq!(point, key.public_point()[1..]);
}

#[test]
fn forgeries_are_distinct_and_those_of_the_signature_do_not_verify() {
    let key = Key::generate("kid-1");
    let mandate = Mandate::single_use("zone-1", START);
    let mut seen = BTreeSet::new();
    for forgery in Forgery::ALL {
        let token = forgery.forge(&mandate, &key);
        assert!(seen.insert(token.clone()), "{forgery:?} is another one again");
        if forgery.breaks() != Breaks::Form {
            assert_eq!(token.split('.').count(), 3, "{forgery:?}");
            assert!(!verifies(&token, &key), "{forgery:?}");
        }
    }
    assert_eq!(
        Forgery::ALL.len(),
        Forgery::SignatureTooLong as usize + 1,
        "every kind is in the list"
    );
}
