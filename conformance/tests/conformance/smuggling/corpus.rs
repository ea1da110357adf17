//! Messages that readers of HTTP/1.1 are known to read differently: what public research on request smuggling found in
//! servers and proxies, as data.
//!
//! Every one of them holds, for whoever reads it rightly (RFC 9112), one request at most. Some other reader finds a second one
//! in it, at [`SMUGGLED`].

/// The path of the request that must never be seen.
const SMUGGLED: &str = "/smuggled";

/// One message: its name, and its bytes with placeholders: `{fields}`, `{inner}`, `{length}` and `{hex}` of the inner
/// request, `{behind}` of it and an end of chunks before it.
pub(super) struct Message {
    pub(super) name: String,
    template: Vec<u8>,
}

impl Message {
    fn new(name: impl Into<String>, template: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            template: template.into(),
        }
    }

    /// Its bytes, with these fields (each ended by `\r\n`) in the outer and the inner request, and this path in the outer.
    pub(super) fn bytes(&self, path: &str, fields: &str, inner_fields: &str) -> Vec<u8> {
        let inner = format!("GET {SMUGGLED} HTTP/1.1\r\n{inner_fields}\r\n");
        let mut text = self.template.clone();
        for (name, value) in [
            ("{path}", path),
            ("{fields}", fields),
            ("{length}", &inner.len().to_string()),
            ("{hex}", &format!("{:x}", inner.len())),
            ("{behind}", &(END.len() + inner.len()).to_string()),
            ("{inner}", &inner),
        ] {
            text = replaced(&text, name.as_bytes(), value.as_bytes());
        }
        text
    }
}

/// The end of a chunked body.
const END: &str = "0\r\n\r\n";

fn replaced(text: &[u8], name: &[u8], value: &[u8]) -> Vec<u8> {
    let (mut done, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
        done.extend_from_slice(&rest[..at]);
        done.extend_from_slice(value);
        rest = &rest[at + name.len()..];
    }
    done.extend_from_slice(rest);
    done
}

/// Spellings of `Transfer-Encoding: chunked` that some take for it and others do not.
const CODINGS: [&[u8]; 62] = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:  chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: chunked ",
    b"Transfer-Encoding: chunked\t",
    b"TRANSFER-ENCODING: CHUNKED",
    b"tRANSFER-ENCODING: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding\x0b: chunked",
    b"Transfer-Encoding x: chunked",
    b"Transfer Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer\\Encoding: chunked",
    b"Transfer-%45ncoding: chunked",
    b"Transf\x82r-Encoding: chunked",
    b"Tra\rnsfer-Encoding: chunked",
    b"Transfer-Encoding\r: chunked",
    b"Transfer-Encoding\0: chunked",
    b"Transfer-Encoding:\0chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding:\x0cchunked",
    b"Transfer-Encoding:\rchunked",
    b"Transfer-Encoding:\x7fchunked",
    b"Transfer-Encoding:\xa0chunked",
    b"Transfer-Encoding:\x85chunked",
    b"Transfer-Encoding:\xffchunked",
    b"Transfer-Encoding: chunked\0",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\x0c",
    b"Transfer-Encoding: chunked\r",
    b"Transfer-Encoding: chunked\x7f",
    b"Transfer-Encoding: chunked\xa0",
    b"Transfer-Encoding: ch\x96nked",
    b"Transfer-Encoding: chun\xe2\x84\xaaed",
    b"Transfer-Encoding: chunk",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: 'chunked'",
    b"Transfer-Encoding: chunked;x=1",
    b"Transfer-Encoding: chunked,",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: identity, chunked, identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: \r\n\tchunked",
    b"Transfer-Encoding:\n chunked",
    b"Transfer-Encoding\n : chunked",
    b"X-A: 1\r\n Transfer-Encoding: chunked",
    b"X-A: 1\rTransfer-Encoding: chunked",
    b"X-A: 1\r\n\rTransfer-Encoding: chunked",
    b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    b"Content-Encoding: chunked",
];

/// Spellings of the length of the inner request, which is sent as a body.
const LENGTHS: [&[u8]; 29] = [
    b"Content-Length: {length}",
    b"Content-Length: 000{length}",
    b"Content-Length: {length}\r\nContent-Length: {length}",
    b"Content-Length: 0\r\nContent-Length: {length}",
    b"Content-Length: {length}\r\nContent-Length: 0",
    b"Content-Length: {length}, {length}",
    b"Content-Length: 0, {length}",
    b"Content-Length: +{length}",
    b"Content-Length: -{length}",
    b"Content-Length: -0",
    b"Content-Length: 0x{hex}",
    b"Content-Length: {length}.0",
    b"Content-Length: {length}e0",
    b"Content-Length: {length}_0",
    b"Content-Length: {length};",
    b"Content-Length: {length} 0",
    b"Content-Length: 0 {length}",
    b"Content-Length: \"{length}\"",
    b"Content-Length: {length}\0",
    b"Content-Length: {length}\x0b",
    b"Content-Length: \x0b{length}",
    b"Content-Length: {length}\r",
    b"Content-Length: \xd9\xa3",
    b"Content-Length: ",
    b"Content-Length: 18446744073709551616",
    b"Content-Length: 18446744073709551617",
    b"Content-Length : {length}",
    b"Content-Length:\r\n {length}",
    b"Content-Length\n: {length}",
];

/// Bodies behind `Transfer-Encoding: chunked` that end where different readers see different ends, or nowhere.
const CHUNKS: [&[u8]; 46] = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
    b"05\r\nhello\r\n00\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"0_5\r\nhello\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n",
    b"5g\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b";a\r\nhello\r\n0\r\n\r\n",
    b"5\0\r\nhello\r\n0\r\n\r\n",
    b"5;\0\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5\r\nhello\rX0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-A\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n",
    b"5\r\nhello\r\n0\r\n X-A: 1\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-A: 1\rX-B: 2\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 4\r\nTransfer-Encoding: identity\r\nHost: evil.example\r\n\r\n",
    b"5\r\nhello\r\n0\r\n: 1\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    b"3;\nxxx\r\n{hex}\r\n0\r\n\r\n{inner}\r\n0\r\n\r\n",
    b"3;\rxxx\r\n{hex}\r\n0\r\n\r\n{inner}\r\n0\r\n\r\n",
    b"3;a=\"\r\nxxx\r\n{hex}\r\n0\r\n\r\n{inner}\r\n0\r\n\r\n",
    b"3\nxxx\r\n{hex}\r\n{inner}\r\n0\r\n\r\n",
    b"{hex}\n{inner}\n0\n\n",
    b"{hex}\r\n{inner}\r\n0\r\n\r\n",
    b"{hex};x\r\n{inner}\r\n0;y\r\n\r\n",
    b"{hex}\r\n{inner}0\r\n\r\n",
    b"{hex}\r{inner}\r0\r\r",
];

/// Whole messages whose first lines, versions, targets or fields are read in more than one way.
const HEADS: [&[u8]; 41] = [
    b"GET  {path} HTTP/1.1\r\n{fields}\r\n",
    b"GET {path}  HTTP/1.1\r\n{fields}\r\n",
    b"GET\t{path}\tHTTP/1.1\r\n{fields}\r\n",
    b"GET\x0b{path} HTTP/1.1\r\n{fields}\r\n",
    b" GET {path} HTTP/1.1\r\n{fields}\r\n",
    b"\r\n\r\nGET {path} HTTP/1.1\r\n{fields}\r\n",
    b"\nGET {path} HTTP/1.1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1 \r\n{fields}\r\n",
    b"GET {path}\nHTTP/1.1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1\n{fields}\r\n",
    b"GET {path} HTTP/1.1\r{fields}\r\n",
    b"GET {path}\r\n{fields}\r\n",
    b"GET {path}\r\n",
    b"GET {path} HTTP/0.9\r\n{fields}\r\n",
    b"GET {path} HTTP/1.2\r\n{fields}\r\n",
    b"GET {path} HTTP/1.10\r\n{fields}\r\n",
    b"GET {path} HTTP/01.1\r\n{fields}\r\n",
    b"GET {path} HTTP/2.0\r\n{fields}\r\n",
    b"GET {path} http/1.1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1/smuggled HTTP/1.1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1\r\nX: /smuggled HTTP/1.1\r\n{fields}\r\n",
    b"GET {path}\0 HTTP/1.1\r\n{fields}\r\n",
    b"GET {path}\xff HTTP/1.1\r\n{fields}\r\n",
    b"GET {path}\x7f HTTP/1.1\r\n{fields}\r\n",
    b"G\"T {path} HTTP/1.1\r\n{fields}\r\n",
    b"GET\0 {path} HTTP/1.1\r\n{fields}\r\n",
    b"GET http://gateway.example{path} HTTP/1.1\r\n{fields}\r\n",
    b"GET http://evil.example{path} HTTP/1.1\r\n{fields}\r\n",
    b"GET gateway.example:80 HTTP/1.1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1\r\n X-A: 1\r\n{fields}\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X-A: 1\r\n folded\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}: 1\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X-A\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X A: 1\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X(A): 1\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}\xefX: 1\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X\0A: 1\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X-A: 1\0\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}X-A: 1\rHost: evil.example\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}Host: evil.example\r\n\r\n",
    b"GET {path} HTTP/1.1\r\n{fields}Host : evil.example\r\n\r\n",
];

/// Methods whose bodies some servers do not read.
const BODIES: [&str; 6] = ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "FOO"];

/// All of them.
pub(super) fn corpus() -> Vec<Message> {
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut corpus = Vec::new();
    for coding in CODINGS {
        // Whoever goes by the length sees one body, whoever goes by the chunks sees the inner request behind them.
        let lines = [
            b"POST {path} HTTP/1.1\r\n{fields}Content-Length: {behind}\r\n",
            coding,
        ]
        .concat();
        let body = format!("\r\n\r\n{END}{{inner}}").into_bytes();
        corpus.push(Message::new(
            format!("length over: {}", shown(coding)),
            [lines, body].concat(),
        ));
        // The other way round, and no third way: the length ends within the size of the chunk.
        let lines = [b"POST {path} HTTP/1.1\r\n{fields}Content-Length: 1\r\n", coding].concat();
        let body = format!("\r\n\r\n{{hex}}\r\n{{inner}}\r\n{END}").into_bytes();
        corpus.push(Message::new(
            format!("length within: {}", shown(coding)),
            [lines, body].concat(),
        ));
    }
    for length in LENGTHS {
        let text = [b"POST {path} HTTP/1.1\r\n{fields}", length, b"\r\n\r\n{inner}"].concat();
        corpus.push(Message::new(format!("length: {}", shown(length)), text));
    }
    for chunks in CHUNKS {
        let head = &b"POST {path} HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n"[..];
        corpus.push(Message::new(
            format!("chunks: {}", shown(chunks)),
            [head, chunks].concat(),
        ));
    }
    for head in HEADS {
        corpus.push(Message::new(format!("head: {}", shown(head)), head));
    }
    for method in BODIES {
        let length =
            format!("{method} {{path}} HTTP/1.1\r\n{{fields}}Content-Length: {{length}}\r\n\r\n{{inner}}");
        corpus.push(Message::new(format!("{method} with a length"), length));
        let chunks = format!(
            "{method} {{path}} HTTP/1.1\r\n{{fields}}Transfer-Encoding: chunked\r\n\r\n{{hex}}\r\n{{inner}}\r\n{END}"
        );
        corpus.push(Message::new(format!("{method} with chunks"), chunks));
    }
    let expect =
        "POST {path} HTTP/1.1\r\n{fields}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{inner}";
    corpus.push(Message::new(
        "a body that does not wait for its continuation",
        expect,
    ));
    corpus
}
