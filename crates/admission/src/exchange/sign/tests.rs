use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(serde::Deserialize)]
struct Vectors {
    key_hex: String,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    fields: BTreeMap<String, String>,
    timestamp: u64,
    nonce: String,
    method: String,
    body: String,
    body_sha256: String,
    signature: String,
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn exchange_vectors_encode_and_sign_byte_for_byte() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../../testkit/vectors/exchange.json")).unwrap();
    let signer = ExchangeSigner::new(&unhex(&vectors.key_hex), "");
    for case in vectors.cases {
        let fields: Vec<_> = case
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(encode_form(&fields), case.body, "{}", case.name);
        assert_eq!(
            HEXLOWER.encode(digest::digest(&digest::SHA256, case.body.as_bytes()).as_ref()),
            case.body_sha256
        );
        let signature = signer.signature(case.timestamp, &case.nonce, &case.method, case.body.as_bytes());
        assert_eq!(signature, case.signature, "{}", case.name);
    }
}

#[test]
fn exchange_request_is_the_one_that_both_generations_accept() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../../testkit/vectors/exchange.json")).unwrap();
    let case = vectors
        .cases
        .iter()
        .find(|case| case.name.starts_with("accepted by both"))
        .unwrap();
    let signed = ExchangeSigner::new(&unhex(&vectors.key_hex), "").sign(
        &ExchangeRequest {
            zone_id: &case.fields["zone_id"],
            application_id: &case.fields["application_id"],
            subject_token: &case.fields["subject_token"],
            resource: &case.fields["resource"],
            request_method: &case.fields["request_method"],
            request_path: case.fields["request_path"].as_bytes(),
            exchange_id: &case.nonce,
        },
        Moment {
            unix: std::time::Duration::from_secs(case.timestamp),
            monotonic: std::time::Duration::ZERO,
        },
    );
    assert_eq!(
        (signed.body, signed.signature),
        (case.body.clone(), case.signature.clone())
    );
    assert_eq!(signed.exchange_id, case.nonce);
}

#[test]
fn exchange_path_carries_the_prefix_of_the_sts_url() {
    for (prefix, path) in [
        ("", "/oauth/2/token"),
        ("/", "/oauth/2/token"),
        ("/sts/", "/sts/oauth/2/token"),
    ] {
        assert_eq!(ExchangeSigner::new(&[0; 32], prefix).path(), path);
    }
}

proptest! {
    /// The encoding is injective and reversible: no value can reach into another field.
    #[test]
    fn exchange_form_decodes_to_what_was_encoded(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6)) {
        let fields: Vec<_> = values.iter().map(|value| ("f", value.as_slice())).collect();
        let encoded = encode_form(&fields);
        let decoded: Vec<Vec<u8>> = encoded
            .split('&')
            .map(|pair| percent_encoding::percent_decode(pair.strip_prefix("f=").unwrap().replace('+', " ").as_bytes()).collect::<Vec<u8>>())
            .collect();
        prop_assert_eq!(decoded, values);
    }
}
