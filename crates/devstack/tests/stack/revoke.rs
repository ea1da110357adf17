//! Revocations: announced, and in force for later exchanges.

use devstack::{AnchorKind, Minted, Revocation};
use serde_json::json;

use crate::client::{Answer, Fixed, MANDATE, ZONE, send};

async fn revoke(fixed: &Fixed, body: &str) -> Answer {
    let bearer = format!("Bearer {}", fixed.stack.admin_token().expose());
    send(
        fixed.stack.sts_url(),
        "POST",
        "/revoke",
        &[("authorization", &bearer)],
        body,
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn a_revoked_anchor_refuses_later_exchanges_and_is_announced() {
    let fixed = Fixed::start().await;
    let mut heard = fixed.stack.revocations();
    type Anchor = fn(&Minted) -> String;
    let cases: [(&str, AnchorKind, Anchor, &str); 4] = [
        (
            "session_id",
            AnchorKind::Session,
            |m| m.sid.clone(),
            "authority record inactive or expired",
        ),
        (
            "session_id",
            AnchorKind::Session,
            |m| m.root_sid.clone(),
            "authority record inactive or expired",
        ),
        (
            "agent_session_id",
            AnchorKind::AgentSession,
            |m| m.agent_session_id.clone().unwrap(),
            "session inactive or expired",
        ),
        (
            "delegation_edge_id",
            AnchorKind::DelegationEdge,
            |m| m.delegation_edge_id.clone().unwrap(),
            "delegation edge inactive or expired",
        ),
    ];
    for (kind, parsed, anchor, text) in cases {
        let mut request = fixed.stack.request_for(MANDATE);
        request.root_sid = Some(crate::client::unique());
        let minted = fixed.stack.mint(&request).unwrap();
        let untouched = fixed.mandate(MANDATE);
        let id = anchor(&minted);
        assert_eq!(
            fixed.exchange(minted.token.expose(), MANDATE).send().await.status,
            200
        );
        assert_eq!(
            revoke(&fixed, &json!({"kind": kind, "id": id}).to_string())
                .await
                .status,
            204
        );
        assert_eq!(
            heard.try_recv().unwrap(),
            Revocation {
                kind: parsed,
                id,
                zone: ZONE.into()
            }
        );
        let refusal = fixed
            .exchange(minted.token.expose(), MANDATE)
            .send()
            .await
            .refusal();
        assert_eq!(refusal, (403, "access_denied".into(), text.into()));
        assert_eq!(fixed.exchange(&untouched, MANDATE).send().await.status, 200);
    }
}

#[tokio::test]
async fn a_revocation_in_process_has_the_same_effect() {
    let fixed = Fixed::start().await;
    let minted = fixed.stack.mint(&fixed.stack.request_for(MANDATE)).unwrap();
    let revocation = Revocation {
        kind: AnchorKind::Session,
        id: minted.sid,
        zone: ZONE.into(),
    };
    fixed.stack.revoke(revocation).unwrap();
    assert_eq!(
        fixed.exchange(minted.token.expose(), MANDATE).send().await.status,
        403
    );
}

#[tokio::test]
async fn revoking_needs_the_admin_token_and_a_known_anchor() {
    let fixed = Fixed::start().await;
    let mut heard = fixed.stack.revocations();
    let good = r#"{"kind":"session_id","id":"x"}"#;
    let url = fixed.stack.sts_url();
    let bad_bearer = [("authorization", "Bearer x")];
    for headers in [&[] as &[_], &bad_bearer] {
        let answer = send(url, "POST", "/revoke", headers, good).await.unwrap();
        assert_eq!(
            answer.refusal(),
            (401, "access_denied".into(), "invalid admin token".into())
        );
    }
    for (body, expect) in [
        (r#"{"kind":"other","id":"x"}"#, 400),
        (r#"{"kind":"session_id"}"#, 400),
        (r#"{"kind":"session_id","id":"x","zone_id":"other"}"#, 400),
        (r#"{"kind":"session_id","id":""}"#, 422),
    ] {
        assert_eq!(revoke(&fixed, body).await.refusal().0, expect, "{body}");
    }
    assert!(heard.try_recv().is_err());
    assert_eq!(revoke(&fixed, good).await.status, 204);
    assert!(heard.try_recv().is_ok());
}
