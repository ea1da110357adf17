//! Did every crossing leave its evidence, and nothing but that?

use std::collections::HashSet;

use evidence::Shipment;
use serde_json::Value;

use super::scene::Scene;
use super::table::Row;

const GATE: &str = "13 evidence";
/// How every token begins: `{"` in base64url.
const TOKEN: &str = "eyJ";

/// Judges what the audit stream received from a gateway that has ended.
pub(super) fn rows(scene: &Scene, stream: &[Shipment]) -> Vec<Row> {
    let crossed = scene.stack.upstream().counts().requests;
    vec![
        Row::new(
            GATE,
            format!("the {crossed} requests that crossed"),
            "one signed event each",
            crossings(stream, crossed),
        ),
        Row::new(
            GATE,
            format!("all {} events of the audit stream", stream.len()),
            "no mandate, credential, query or body",
            secrets(scene, stream),
        ),
    ]
}

fn crossings(stream: &[Shipment], crossed: u64) -> Result<String, String> {
    let allowed: Vec<&Shipment> = stream.iter().filter(|shipment| is_crossing(shipment)).collect();
    let ids: HashSet<&str> = allowed.iter().map(|shipment| shipment.id.as_str()).collect();
    let signed = allowed.iter().filter(|shipment| shipment.sig.is_some()).count();
    match (ids.len(), signed) {
        (ids, signed) if ids as u64 == crossed && ids == allowed.len() && signed == ids => {
            Ok(format!("{ids} events"))
        }
        (ids, signed) => Err(format!(
            "{} events, {ids} ids, {signed} signatures",
            allowed.len()
        )),
    }
}

fn is_crossing(shipment: &Shipment) -> bool {
    let event: Value = serde_json::from_slice(&shipment.data).unwrap_or_default();
    let is = |name: &str, value: &str| event.get(name).and_then(Value::as_str) == Some(value);
    is("event_type", "gateway_resource_request") && is("decision", "allow")
}

fn secrets(scene: &Scene, stream: &[Shipment]) -> Result<String, String> {
    let mut planted: Vec<&str> = scene.provider_secrets().map(|secret| secret.expose()).collect();
    planted.extend([TOKEN, "api_key", "month=7", "amount"]);
    let leaks = |shipment: &&Shipment| {
        let text = String::from_utf8_lossy(&shipment.data);
        planted.iter().any(|secret| text.contains(secret))
    };
    match stream.iter().filter(leaks).count() {
        0 => Ok("none found".to_owned()),
        leaking => Err(format!("{leaking} events hold one")),
    }
}
