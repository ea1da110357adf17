use super::{Fault, FaultProxy};
use crate::http::{read_exactly, write_all};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A server that sends back what it gets.
pub(crate) async fn echo() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    (addr, tasks)
}

async fn silent(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(100), stream.read_u8())
        .await
        .is_err()
}

#[tokio::test]
async fn black_hole_holds_bytes_back_and_gives_them_after_the_fault() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"one").await;
    assert_eq!(read_exactly(&mut stream, 3).await, b"one");
    proxy.set(Fault::BlackHole).await;
    write_all(&mut stream, b"two").await;
    assert!(silent(&mut stream).await);
    proxy.set(Fault::None).await;
    assert_eq!(read_exactly(&mut stream, 3).await, b"two");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn vanished_connections_stay_dead_and_new_ones_work() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut old, b"one").await;
    assert_eq!(read_exactly(&mut old, 3).await, b"one");
    proxy.set(Fault::Vanish).await;
    write_all(&mut old, b"two").await;
    let mut new = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut new, b"new").await;
    assert_eq!(read_exactly(&mut new, 3).await, b"new");
    proxy.set(Fault::None).await;
    assert!(silent(&mut old).await);
}

#[tokio::test]
async fn garbage_replaces_what_the_server_says() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    proxy.set(Fault::Garbage).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"one").await;
    assert_eq!(read_exactly(&mut stream, 3).await, [0xff; 3]);
}

#[tokio::test]
async fn another_server_gets_new_connections_and_open_ones_are_cut() {
    let (target, _echo) = echo().await;
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = FaultProxy::start(target).await;
    let mut old = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut old, b"one").await;
    assert_eq!(read_exactly(&mut old, 3).await, b"one");
    let elsewhere = Fault::Elsewhere(nobody.local_addr().unwrap());
    proxy.set(elsewhere).await;
    assert!(matches!(old.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    let _new = TcpStream::connect(proxy.addr()).await.unwrap();
    nobody.accept().await.unwrap();
}

#[tokio::test]
async fn refusing_cuts_open_connections_and_the_port_comes_back() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"one").await;
    assert_eq!(read_exactly(&mut stream, 3).await, b"one");
    proxy.set(Fault::Refuse).await;
    assert!(matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
    proxy.set(Fault::None).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"two").await;
    assert_eq!(read_exactly(&mut stream, 3).await, b"two");
}

#[tokio::test]
async fn hanging_accepts_and_says_nothing() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    proxy.set(Fault::Hang).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"one").await;
    assert!(silent(&mut stream).await);
}

#[tokio::test]
async fn cut_comes_after_exactly_so_many_bytes() {
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    proxy.set(Fault::CutAfter(5)).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    write_all(&mut stream, b"1234567").await;
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    assert_eq!(got, b"12345");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the delay is what is tested")]
async fn delay_comes_before_each_answer() {
    const DELAY: Duration = Duration::from_millis(300);
    let (target, _echo) = echo().await;
    let proxy = FaultProxy::start(target).await;
    proxy.set(Fault::Delay(DELAY)).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let asked = std::time::Instant::now();
    write_all(&mut stream, b"late").await;
    assert_eq!(read_exactly(&mut stream, 4).await, b"late");
    assert!(asked.elapsed() >= DELAY);
}
