use super::{Cluster, PrivateRedis, SharedRedis};
use crate::tls::Ca;
use crate::wait::PATIENCE;
use std::time::Duration;

async fn ping(url: &str, within: Duration) -> Option<String> {
    let client = redis::Client::open(url).unwrap();
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(within))
        .set_response_timeout(Some(within));
    let ask = async {
        let mut connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .ok()?;
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .ok()
    };
    tokio::time::timeout(within, ask).await.ok().flatten()
}

#[tokio::test]
async fn private_server_is_empty_again_after_a_restart_on_the_same_port() {
    let mut server = PrivateRedis::start().await;
    let mut connection = server.connection().await;
    let _: () = redis::cmd("SET")
        .arg("a")
        .arg(1)
        .query_async(&mut connection)
        .await
        .unwrap();
    let port = server.port();
    server.kill().await;
    assert_eq!(ping(&server.url(), PATIENCE).await, None);
    server.restart().await;
    assert_eq!(server.port(), port);
    let kept: Option<i64> = redis::cmd("GET")
        .arg("a")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    assert_eq!(kept, None);
}

#[tokio::test]
async fn paused_server_does_not_answer_until_it_is_resumed() {
    let mut server = PrivateRedis::start().await;
    server.pause();
    assert_eq!(ping(&server.url(), Duration::from_millis(200)).await, None);
    server.resume();
    assert_eq!(ping(&server.url(), PATIENCE).await.as_deref(), Some("PONG"));
}

#[tokio::test]
async fn tls_server_refuses_plain_text_and_answers_through_tls() {
    let ca = Ca::new();
    let server = PrivateRedis::start_tls(&ca, false).await;
    let plain = server.url().replace("rediss:", "redis:");
    assert_eq!(ping(&plain, PATIENCE).await, None);
    let mut stream = ca
        .connect(([127, 0, 0, 1], server.port()).into(), "localhost")
        .await;
    crate::http::write_all(
        &mut stream,
        format!("AUTH {}\r\nPING\r\n", server.password()).as_bytes(),
    )
    .await;
    assert_eq!(
        crate::http::read_exactly(&mut stream, 12).await,
        b"+OK\r\n+PONG\r\n"
    );
}

#[tokio::test]
async fn shared_server_answers_and_keys_are_our_own() {
    let (one, other) = (SharedRedis::get(), SharedRedis::get());
    assert_eq!(one.key("x"), one.key("x"));
    assert_ne!(one.key("x"), other.key("x"));
    let pong: String = redis::cmd("PING")
        .query_async(&mut one.connection().await)
        .await
        .unwrap();
    assert_eq!(pong, "PONG");
}

#[tokio::test]
async fn cluster_fails_over_and_moves_slots_with_their_keys() {
    let mut cluster = Cluster::start().await;
    let slot = cluster.slot("a").await;
    let before = cluster.primary_of(slot).await;
    assert!(cluster.share(before).contains(&slot));
    let () = cluster.ask(before, &["SET", "a", "1"]).await;
    let to = (before + 1) % 3;
    cluster.move_slot(slot, to).await;
    assert_eq!(cluster.primary_of(slot).await, to);
    assert_eq!(cluster.ask::<i64>(to, &["GET", "a"]).await, 1);

    cluster.fail_over_to(to + 3).await;
    assert_eq!(cluster.primary_of(slot).await, to + 3);
    cluster.nodes[before].kill().await;
    let first = *cluster.share(before).start();
    assert_eq!(cluster.promoted(first, before).await, before + 3);
    cluster.nodes[before].restart().await;
}
