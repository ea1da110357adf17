//! What is asked of a server by a client.

/// What not every client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    /// Sends trailers, and reads them.
    Trailers,
    /// Sends a body only when it is told to, which over HTTP/2 nobody does.
    Expect,
    /// Always reads an answer that leaves it unable to send the rest of its body: others may give up first.
    Early,
}

#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) method: &'static str,
    /// `KEY` stands for what no other request has.
    pub(super) target: &'static str,
    pub(super) status: u16,
    pub(super) header: Option<(&'static str, &'static str)>,
    /// Its length, in bytes.
    pub(super) body: usize,
    /// Its length is not stated.
    pub(super) chunked: bool,
    /// Asked for between two events of the answer; without it the server does not send the next.
    pub(super) next: Option<&'static str>,
    /// The client leaves when the answer has begun, and asks for this, which is answered when the server has seen it.
    pub(super) gone: Option<&'static str>,
    pub(super) needs: Needs,
}

const LARGE: usize = 8 << 20;

const fn case(method: &'static str, target: &'static str, status: u16) -> Case {
    Case {
        method,
        target,
        status,
        header: None,
        body: 0,
        chunked: false,
        next: None,
        gone: None,
        needs: Needs::Nothing,
    }
}

pub(super) const CASES: [Case; 14] = [
    case("GET", "/bytes?n=8388608", 200),
    case("HEAD", "/bytes?n=1234", 200),
    Case {
        header: Some(("range", "bytes=2-6")),
        ..case("GET", "/bytes?n=10", 206)
    },
    case("GET", "/status/204", 204),
    case("GET", "/status/304", 304),
    case("DELETE", "/status/404", 404),
    case("POST", "/mirror", 200),
    Case {
        body: LARGE,
        ..case("POST", "/mirror", 200)
    },
    Case {
        body: LARGE,
        chunked: true,
        ..case("PUT", "/mirror", 200)
    },
    Case {
        body: 5,
        chunked: true,
        needs: Needs::Trailers,
        ..case("POST", "/trailers", 200)
    },
    Case {
        body: 100_000,
        header: Some(("expect", "100-continue")),
        needs: Needs::Expect,
        ..case("POST", "/mirror", 200)
    },
    Case {
        next: Some("/next?key=KEY"),
        ..case("GET", "/sse?n=3&key=KEY", 200)
    },
    Case {
        gone: Some("/gone?key=KEY"),
        ..case("GET", "/endless?key=KEY", 200)
    },
    Case {
        body: LARGE,
        needs: Needs::Early,
        ..case("POST", "/early", 200)
    },
];
