//! Both ends of HTTP/1.1, byte by byte.

use super::Recorder;
use super::case::{Case, Download, Protocol, Upload};
use super::message::{Fields, Framing, Message};
use bytes::BytesMut;
use std::net::SocketAddr;
use testkit::wait::PATIENCE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// One connection. Whatever is not there in time is missing.
struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Wire {
    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Whether all of it was taken.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    async fn read(&mut self) -> Option<()> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.ok()?.ok().filter(|read| *read > 0).map(|_| ())
    }

    /// A line without its end.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Some(line[..end].to_vec());
            }
            self.read().await?;
        }
    }

    /// Fields up to an empty line.
    async fn fields(&mut self) -> Option<Fields> {
        let mut fields = Fields::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = line[..colon].iter().copied().map(char::from).collect();
            fields.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.read().await?;
        }
        Some(self.buffer.split_to(length).to_vec())
    }

    /// Chunks and the trailers behind them.
    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        let mut extended = false;
        loop {
            let line = String::from_utf8(self.line().await?).ok()?;
            extended |= line.contains(';');
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).ok()?;
            message.framing = Framing::Chunks { extended };
            if size == 0 {
                message.trailers = self.fields().await?;
                return Some(());
            }
            message.body.extend(self.exactly(size).await?);
            self.exactly(2).await.filter(|end| end == b"\r\n")?;
        }
    }

    async fn until_end(&mut self) -> Vec<u8> {
        while self.read().await.is_some() {}
        self.buffer.split().to_vec()
    }

    /// Whether the peer ends the connection, and says nothing before.
    async fn ends(&mut self) -> bool {
        let next = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        self.buffer.is_empty() && matches!(next, Ok(Ok(0) | Err(_)))
    }

    /// A body that its head frames, or none.
    async fn body(&mut self, message: &mut Message) -> Option<()> {
        let is_chunked = message.has("transfer-encoding");
        let length = message.values("content-length").next().map(<[u8]>::to_vec);
        if is_chunked {
            message.remove(|name| name == "transfer-encoding");
            return self.chunks(message).await;
        }
        if let Some(length) = length {
            message.framing = Framing::Length;
            message.body = self.exactly(number(&length)?).await?;
        }
        Some(())
    }
}

/// A client of one server, which keeps its connection as long as the server does.
pub(super) struct Client {
    addr: SocketAddr,
    /// What shows the server who asks for what.
    credentials: Fields,
    wire: Option<Wire>,
}

impl Client {
    pub(super) fn new(addr: SocketAddr, credentials: Fields) -> Self {
        Self {
            addr,
            credentials,
            wire: None,
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn exchange(&mut self, case: &Case) -> Result<Message, String> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => Wire::over(
                TcpStream::connect(self.addr)
                    .await
                    .map_err(|error| error.to_string())?,
            ),
        };
        let mut fields = vec![("Host".to_owned(), super::HOST.into())];
        fields.extend(self.credentials.clone());
        fields.extend(case.fields(Protocol::Http1));
        let is_chunked = matches!(case.upload, Upload::Chunks { .. } | Upload::Trailers { .. });
        if is_chunked {
            fields.push(("Transfer-Encoding".into(), b"chunked".to_vec()));
        }
        let line = format!("{} {} HTTP/1.1", case.method, case.target());
        let mut sent = head(line.as_bytes(), &fields);
        let body = match is_chunked {
            true => {
                let extended = matches!(case.upload, Upload::Chunks { extended: true, .. });
                in_chunks(&case.upload_body(), extended, &case.upload_trailers())
            }
            false => case.upload_body(),
        };
        let mut interim = Vec::new();
        if case.upload == Upload::Expect {
            wire.send(&sent).await;
            interim = final_head(&mut wire, true).await.ok_or("no 100")?.interim;
            sent.clear();
        }
        sent.extend(body);
        wire.send(&sent).await;
        if case.upload == Upload::HalfClosed {
            wire.stream.shutdown().await.map_err(|error| error.to_string())?;
        }
        let mut answer = final_head(&mut wire, false).await.ok_or("no head of an answer")?;
        answer.interim.splice(0..0, interim);
        let is_over = read_answer_body(&mut wire, case, &mut answer)
            .await
            .ok_or("half a body")?;
        if case.upload == Upload::Early && !is_over && !wire.ends().await {
            return Err("the connection stays open behind an early answer".into());
        }
        let says_close = answer.values("connection").any(|value| value == b"close");
        let is_last = is_over || says_close || matches!(case.upload, Upload::HalfClosed | Upload::Early);
        self.wire = (!is_last).then_some(wire);
        Ok(answer)
    }
}

/// The head of an answer with the interim ones before it, or those up to a 100.
async fn final_head(wire: &mut Wire, is_continue: bool) -> Option<Message> {
    let mut interim = Vec::new();
    loop {
        let line = wire.line().await?;
        let line = line.strip_prefix(b"HTTP/1.1 ")?;
        let (status, reason) = line.split_at_checked(3)?;
        let fields = wire.fields().await?;
        let is_final = !status.starts_with(b"1");
        if !is_final {
            interim.push(u16::try_from(number(status)?).ok()?);
        }
        if is_final || is_continue && status == b"100" {
            let mut answer = Message::answer(status, reason.strip_prefix(b" ").unwrap_or(reason));
            (answer.fields, answer.interim) = (fields, interim);
            return Some(answer);
        }
    }
}

/// Whether the connection ended with it.
async fn read_answer_body(wire: &mut Wire, case: &Case, answer: &mut Message) -> Option<bool> {
    let status = String::from_utf8_lossy(answer.part("status")).into_owned();
    if case.method == "HEAD" || matches!(&*status, "204" | "304") {
        return Some(false);
    }
    wire.body(answer).await?;
    let is_until_end = answer.framing == Framing::None;
    if is_until_end {
        answer.framing = Framing::Close;
        answer.body = wire.until_end().await;
    }
    Some(is_until_end)
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, recorder: Recorder) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let recorder = recorder.clone();
        connections.spawn(async move {
            let mut wire = Wire::over(stream);
            while answer(&mut wire, &recorder).await == Some(true) {}
        });
    }
}

/// Reads one request and answers it. Whether the connection stays.
async fn answer(wire: &mut Wire, recorder: &Recorder) -> Option<bool> {
    let line = wire.line().await?;
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let fields = wire.fields().await?;
    let mut request = Message::request(method, target, b"");
    request.line.push(("version", version.to_vec()));
    request.fields = fields;
    let host = request
        .values("host")
        .map(<[u8]>::to_vec)
        .collect::<Vec<_>>()
        .join(&b' ');
    request.remove(|name| name == "host");
    let case = recorder.case(request.values("x-case").next()?)?;
    if request.has("expect") {
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    if case.upload == Upload::Early {
        request.framing = Framing::Length;
        request.body = wire.exactly(case.upload_body().len()).await?;
    } else {
        wire.body(&mut request).await?;
    }
    request.part("host").clone_from(&host);
    recorder.saw(case.number, request);

    for status in case.interim {
        let interim = format!("HTTP/1.1 {status} Interim\r\nLink: </a.css>\r\n\r\n");
        wire.send(interim.as_bytes()).await;
    }
    let mut fields = case.answer_fields(Protocol::Http1, &String::from_utf8_lossy(&host));
    let extended = match case.download {
        Download::Chunks { extended, .. } => Some(extended),
        Download::Trailers(..) => Some(false),
        Download::Length(_) | Download::Close => None,
    };
    if extended.is_some() && case.status != 204 {
        fields.push(("Transfer-Encoding".into(), b"chunked".to_vec()));
    }
    let line = [format!("HTTP/1.1 {} ", case.status).as_bytes(), case.reason].concat();
    let mut bytes = head(&line, &fields);
    if !case.is_bodiless() {
        match extended {
            Some(extended) => {
                bytes.extend(in_chunks(&case.answer_body(), extended, &case.answer_trailers()));
            }
            None => bytes.extend(case.answer_body()),
        }
    }
    wire.send(&bytes).await;
    let ends = case.download == Download::Close && !case.is_bodiless();
    Some(!ends && case.upload != Upload::Early)
}

fn head(line: &[u8], fields: &Fields) -> Vec<u8> {
    let mut bytes = [line, b"\r\n"].concat();
    push_fields(&mut bytes, fields);
    bytes
}

fn push_fields(bytes: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
}

/// Chunks of different sizes, in different spellings.
fn in_chunks(body: &[u8], extended: bool, trailers: &Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    let extension = if extended { ";a=1;b=\"c;d\"" } else { "" };
    let (first, rest) = body.split_at(body.len().min(3));
    for chunk in [first]
        .into_iter()
        .chain(rest.chunks(30_000))
        .filter(|chunk| !chunk.is_empty())
    {
        bytes.extend(format!("00{:X}{extension}\r\n", chunk.len()).as_bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(format!("0{extension}\r\n").as_bytes());
    push_fields(&mut bytes, trailers);
    bytes
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
