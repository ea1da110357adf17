use super::{Connection, Ending, Fields, Piece, Rest};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A connection whose peer says `text` and then closes, or stays when `stays`.
async fn peer(text: &str, stays: bool) -> (Connection, Option<tokio::io::DuplexStream>) {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    server.write_all(text.as_bytes()).await.unwrap();
    (Connection::over(Box::new(client)), stays.then_some(server))
}

#[tokio::test]
async fn framing_and_ending_are_told_as_they_came() {
    for (text, body, ending) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            Ending::Complete,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "abc",
            Ending::Truncated,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n",
            "abc",
            Ending::Complete,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "abc",
            Ending::Truncated,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nabc", "abc", Ending::Closed),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", Ending::Complete),
    ] {
        let (mut connection, _) = peer(text, false).await;
        let response = connection.response().await;
        assert_eq!(
            (response.text().as_str(), response.ending),
            (body, ending),
            "{text:?}"
        );
        assert_eq!(
            connection.rest(Duration::from_secs(5)).await,
            Rest::Closed,
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn interim_heads_chunks_and_trailers_are_kept() {
    let (mut connection, _server) = peer(
        "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n\
         2\r\nab\r\n3\r\ncde\r\n0\r\nX-Caracal-Revoked: true\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        true,
    )
    .await;
    let response = connection.exchange("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(
        response
            .interim
            .iter()
            .map(|head| head.status)
            .collect::<Vec<_>>(),
        [103]
    );
    assert_eq!(response.head.headers.all("X-A").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(
        (response.chunks.as_slice(), response.text().as_str()),
        ([2, 3].as_slice(), "abcde")
    );
    assert_eq!(response.trailers.get("x-caracal-revoked"), Some("true"));
    let head = connection.exchange("HEAD / HTTP/1.1\r\n\r\n").await;
    assert_eq!(
        (head.header("content-length"), head.ending),
        (Some("9"), Ending::Complete)
    );
    assert_eq!(connection.rest(Duration::from_millis(50)).await, Rest::Silence);
}

#[tokio::test]
async fn pieces_come_before_the_body_is_whole() {
    let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\n";
    let (mut connection, server) = peer(text, true).await;
    assert_eq!(connection.head().await.status, 200);
    assert_eq!(connection.piece().await, Piece::Data(b"data:".to_vec()));
    drop(server);
    assert_eq!(
        connection.piece().await,
        Piece::End(Ending::Truncated, Fields::default())
    );
    assert_eq!(connection.try_head().await, Err(Ending::Truncated));
}
