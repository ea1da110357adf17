//! Lines as a collector of logs reads them.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use config::LogLevel;
use serde_json::{Value, json};
use tracing::Level;

use super::{LineSink, LineWriter, RequestLine, subscriber};
use crate::telemetry::About;

/// How long a writer that nothing holds up may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// An output that the test reads.
#[derive(Clone, Default)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    writer: Arc<OnceLock<LineWriter>>,
}

impl Output {
    /// What there is once everything that was taken is written.
    fn text(&self) -> String {
        if let Some(writer) = self.writer.get() {
            assert!(writer.flush(PATIENCE), "nothing holds the writer up");
        }
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that takes nothing until it is let, like a pipe whose reader stands still.
struct Stuck {
    output: Output,
    reached: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reached.send(()).unwrap();
        // Once the other end is gone, nothing holds this up any more.
        let _ = self.go_on.recv();
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn about() -> About {
    About {
        hostname: "ho\"st".to_owned(),
        pid: 7,
        version: "1.2.3",
        mode: "dev",
    }
}

fn sink(least: LogLevel, output: Output) -> Arc<LineSink> {
    let writer = LineWriter::start(output.clone()).unwrap();
    assert!(
        output.writer.set(writer.clone()).is_ok(),
        "an output has one writer"
    );
    sink_to(least, writer)
}

fn sink_to(least: LogLevel, writer: LineWriter) -> Arc<LineSink> {
    let now = || Duration::from_millis(1_788_220_800_123);
    LineSink::new(&about(), least, now, writer)
}

fn line(request_id: &str) -> RequestLine<'_> {
    RequestLine {
        request_id,
        client_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        client_certificate: None,
        method: "GET",
        zone_id: None,
        application_id: None,
        resource: None,
        session_id: None,
        agent_session_id: None,
        subject_fp: None,
        upstream_host: None,
        auth_mode: None,
        trace_id: None,
        status: 401,
        outcome: "denied",
        denial: None,
        cause: None,
        error_kind: None,
        bytes_out: 0,
        bytes_in: None,
        took: Duration::from_micros(1234),
    }
}

#[test]
fn a_request_is_one_line_with_the_common_members_first() {
    let output = Output::default();
    let sink = sink(LogLevel::Info, output.clone());
    sink.request(&line("req-1"));
    assert_eq!(
        output.text(),
        concat!(
            r#"{"time":1788220800123,"level":"info","msg":"request","service":"caracal-gateway","#,
            r#""hostname":"ho\"st","pid":7,"version":"1.2.3","env":"dev","#,
            r#""request_id":"req-1","client_ip":"192.0.2.7","method":"GET","status":401,"outcome":"denied","#,
            r#""bytes_out":0,"duration_us":1234}"#,
            "\n"
        )
    );
}

#[test]
fn a_request_that_crossed_has_every_member() {
    let output = Output::default();
    sink(LogLevel::Info, output.clone()).request(&RequestLine {
        zone_id: Some("zone"),
        application_id: Some("app"),
        resource: Some("resource"),
        session_id: Some("sid"),
        agent_session_id: Some("agent"),
        subject_fp: Some("fp"),
        upstream_host: Some("up.example"),
        auth_mode: Some("bearer"),
        trace_id: Some("trace"),
        denial: Some("upstream_timeout"),
        cause: Some("no \"head\"\nin time"),
        error_kind: Some("transport_error"),
        bytes_in: Some(3),
        ..line("req-2")
    });
    let expect = json!({
        "time": 1_788_220_800_123_u64, "level": "info", "msg": "request", "service": "caracal-gateway",
        "hostname": "ho\"st", "pid": 7, "version": "1.2.3", "env": "dev",
        "request_id": "req-2", "client_ip": "192.0.2.7", "method": "GET", "zone_id": "zone",
        "application_id": "app", "resource": "resource", "session_id": "sid", "agent_session_id": "agent",
        "subject_fp": "fp", "upstream_host": "up.example", "auth_mode": "bearer", "trace_id": "trace",
        "status": 401, "outcome": "denied", "denial": "upstream_timeout",
        "cause": "no \"head\"\nin time", "error_kind": "transport_error",
        "bytes_out": 0, "bytes_in": 3, "duration_us": 1234,
    });
    assert_eq!(output.lines(), [expect]);
}

#[test]
fn texts_that_others_choose_are_clipped() {
    let (method, cause) = ("M".repeat(15_000), "é".repeat(5_000));
    let output = Output::default();
    sink(LogLevel::Info, output.clone()).request(&RequestLine {
        method: &method,
        cause: Some(&cause),
        ..line("req-3")
    });
    let lines = output.lines();
    assert_eq!(lines[0]["method"].as_str().unwrap().len(), 512);
    assert_eq!(lines[0]["cause"].as_str().unwrap(), "é".repeat(256));
}

#[test]
fn requests_are_logged_from_the_level_info_down() {
    for (least, expect) in [
        (LogLevel::Trace, 1),
        (LogLevel::Debug, 1),
        (LogLevel::Info, 1),
        (LogLevel::Warn, 0),
        (LogLevel::Error, 0),
    ] {
        let output = Output::default();
        sink(least, output.clone()).request(&line("req"));
        assert_eq!(output.lines().len(), expect, "{least:?}");
    }
}

#[test]
fn events_carry_their_fields_and_the_common_members() {
    let output = Output::default();
    let sink = sink(LogLevel::Info, output.clone());
    tracing::subscriber::with_default(subscriber(Arc::clone(&sink), LogLevel::Info), || {
        let cause = io::Error::other(io::Error::other("inner"));
        let cause: &(dyn std::error::Error + 'static) = &cause;
        tracing::warn!(
            attempt = 3,
            change = -1,
            ratio = 0.5,
            open = true,
            name = "a\"b",
            debug = ?Some(1),
            shown = %"x",
            cause,
            env = "taken",
            "some {}",
            "words"
        );
    });
    let lines = output.lines();
    let expect = json!({
        "time": 1_788_220_800_123_u64, "level": "warn", "msg": "some words", "service": "caracal-gateway",
        "hostname": "ho\"st", "pid": 7, "version": "1.2.3", "env": "dev", "target": lines[0]["target"],
        "attempt": 3, "change": -1, "ratio": 0.5, "open": true, "name": "a\"b", "debug": "Some(1)",
        "shown": "x", "cause": lines[0]["cause"], "env_": "taken",
    });
    assert_eq!(lines, [expect]);
    assert!(
        lines[0]["target"]
            .as_str()
            .unwrap()
            .ends_with("telemetry::log::tests")
    );
    assert!(lines[0]["cause"].as_str().unwrap().contains("inner"));
}

#[test]
fn events_below_the_level_and_the_chatter_of_libraries_are_left_out() {
    for (least, expect) in [
        (
            LogLevel::Trace,
            vec!["own trace", "own debug", "own info", "own error", "library warn"],
        ),
        (LogLevel::Info, vec!["own info", "own error", "library warn"]),
        (LogLevel::Error, vec!["own error"]),
    ] {
        let output = Output::default();
        let sink = sink(least, output.clone());
        tracing::subscriber::with_default(subscriber(sink, least), || {
            tracing::trace!("own trace");
            tracing::debug!("own debug");
            tracing::info!("own info");
            tracing::error!("own error");
            tracing::info!(target: "hyper::proto", "library info");
            tracing::debug!(target: "h2::codec", "library debug");
            tracing::info!(target: "tokio_postgres::connection", "library info");
            tracing::warn!(target: "rustls::conn", "library warn");
        });
        let messages: Vec<Value> = output
            .lines()
            .into_iter()
            .map(|line| line["msg"].clone())
            .collect();
        assert_eq!(messages, expect, "{least:?}");
    }
}

#[test]
fn an_event_with_too_much_to_say_is_cut_but_stays_whole_json() {
    let output = Output::default();
    let sink = sink(LogLevel::Info, output.clone());
    let long = "\u{1}".repeat(10_000);
    tracing::subscriber::with_default(subscriber(sink, LogLevel::Info), || {
        tracing::info!(small = 1, a = %long, last = 2, "{long}");
    });
    let lines = output.lines();
    assert_eq!((&lines[0]["small"], &lines[0]["last"]), (&json!(1), &json!(2)));
    assert_eq!(lines[0]["msg"].as_str().unwrap().len(), 2048);
    assert_eq!(lines[0].get("a"), None, "2048 control bytes are 12 KiB of JSON");
}

#[test]
fn lines_that_the_output_refuses_are_counted() {
    let writer = LineWriter::start(Broken).unwrap();
    let sink = sink_to(LogLevel::Info, writer.clone());
    sink.request(&line("one"));
    assert!(writer.flush(PATIENCE));
    sink.request(&line("two"));
    assert!(writer.flush(PATIENCE));
    assert_eq!(sink.dropped(), 2);
}

#[test]
fn a_panic_is_logged_by_its_place_and_not_by_its_words() {
    let output = Output::default();
    let sink = sink(LogLevel::Info, output.clone());
    let before = std::panic::take_hook();
    super::report_panics();
    let result = tracing::subscriber::with_default(subscriber(sink, LogLevel::Info), || {
        std::panic::catch_unwind(|| panic!("the secret is {}", "planted"))
    });
    std::panic::set_hook(before);
    assert!(result.is_err());
    assert!(!output.text().contains("planted"));
    let lines = output.lines();
    let place = lines[0]["location"].as_str().unwrap();
    assert!(place.contains("log/tests.rs"), "{place}");
    assert_eq!(
        (&lines[0]["level"], &lines[0]["msg"]),
        (&json!("error"), &json!("panic"))
    );
}

#[test]
fn lines_are_written_without_a_flush() {
    for (what, level) in [("an ordinary line", Level::INFO), ("a warning", Level::WARN)] {
        let output = Output::default();
        sink(LogLevel::Info, output.clone()).event(level, "look", b"");
        while output.bytes.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(output.lines().len(), 1, "{what}");
    }
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_nobody_waits_for_it() {
    let output = Output::default();
    let (reached, has_reached) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let stuck = Stuck {
        output: output.clone(),
        reached,
        go_on: wait,
    };
    let writer = LineWriter::start(stuck).unwrap();
    let sink = sink_to(LogLevel::Info, writer.clone());
    sink.event(Level::WARN, "first", b"");
    has_reached.recv().unwrap();

    // Far more than the buffer holds; this would never end if one line waited for the writer.
    let lines = 40_000;
    for _ in 0..lines {
        sink.request(&line("flood"));
    }
    let dropped = sink.dropped();
    assert!(dropped > 0, "the buffer is bounded");
    assert!(!writer.flush(Duration::from_millis(1)), "a flush has a deadline");
    let waiting = Arc::clone(&sink);
    let panicked = std::thread::spawn(move || {
        tracing::subscriber::with_default(subscriber(waiting, LogLevel::Info), || {
            tracing::error!("an event as a panic makes it");
        });
    });
    panicked.join().unwrap();
    assert_eq!(sink.dropped(), dropped + 1, "it is lost, and was not waited for");

    drop(go_on);
    assert!(writer.flush(PATIENCE));
    sink.event(Level::INFO, "last", b"");
    assert!(writer.flush(PATIENCE));
    let written = output.lines();
    assert_eq!(
        written.len() as u64 + dropped,
        1 + lines + 2,
        "first, flood, the report, and last"
    );
    let report = &written[written.len() - 2];
    assert_eq!(
        (&report["msg"], &report["lines"]),
        (&json!("log lines were dropped"), &json!(dropped + 1))
    );
    assert_eq!(written.last().unwrap()["msg"], "last");
    assert!(output.text().len() <= 4 * 1024 * 1024 + 32 * 1024);
}
