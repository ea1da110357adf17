//! What `dev` prints works when pasted into a shell.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here fails the test"
)]

use std::process::{Command, Stdio};

use testkit::gateway::{Gateway, Launch};
use testkit::wait::until;

/// A running `dev` and the commands under each heading of its guide.
struct Dev {
    gateway: Gateway,
    sections: Vec<Vec<String>>,
}

impl Dev {
    async fn start() -> Self {
        let launch = Launch::new().arg("dev").arg("--port").arg("0");
        let directory = launch.directory().to_string_lossy().into_owned();
        let gateway = launch.env("TMPDIR", directory).start().await;
        // The guide ends with an empty line after its last section.
        let sections = until("the guide", async || {
            let lines = gateway.stdout();
            let headings = (1..=5).map(|n| lines.iter().position(|line| line.starts_with(&format!("{n}. "))));
            let headings: Vec<usize> = headings.collect::<Option<_>>()?;
            let sections: Vec<Vec<String>> = headings
                .iter()
                .map(|heading| {
                    let below = lines[heading + 2..].iter();
                    below
                        .map_while(|line| line.strip_prefix("  "))
                        .map(str::to_owned)
                        .collect()
                })
                .collect();
            (lines.last()?.is_empty() && sections.iter().all(|section| !section.is_empty()))
                .then_some(sections)
        });
        Self {
            sections: sections.await,
            gateway,
        }
    }
}

/// A shell with these commands typed into it.
fn shell(commands: &[String]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(commands.join("\n")).stdin(Stdio::null());
    shell
}

/// The standard output of commands, and the status of the last one.
fn pasted(commands: &[String]) -> (String, Option<i32>) {
    let output = shell(commands).output().expect("sh");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_ne!(
        output.status.code(),
        Some(127),
        "curl is needed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    (text, output.status.code())
}

#[tokio::test]
async fn dev_requests_are_allowed_replayed_and_allowed_again_with_another_mandate() {
    let dev = Dev::start().await;
    let [first, replay, next, ..] = dev.sections.as_slice() else {
        panic!("{:?}", dev.sections)
    };
    let everything = [first.as_slice(), replay, next, replay].concat();
    let (text, code) = pasted(&everything);
    assert_eq!(code, Some(0), "{text}");
    let answers: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect(&text);
    let [allowed, replayed, again] = answers.as_slice() else {
        panic!("{text}")
    };
    assert_eq!(replayed["error_description"], "token replay detected", "{text}");
    for echo in [allowed, again] {
        assert_eq!(
            (echo["method"].as_str(), echo["target"].as_str()),
            (Some("GET"), Some("/hello")),
            "{echo}"
        );
        let mandate = first[0].strip_prefix("MANDATE=").unwrap();
        assert!(
            echo.to_string().contains("Bearer eyJ") && !echo.to_string().contains(mandate),
            "{echo}"
        );
    }
}

#[tokio::test]
async fn dev_stream_is_cut_when_its_session_is_revoked() {
    let dev = Dev::start().await;
    let [.., stream, revoke] = dev.sections.as_slice() else {
        panic!("{:?}", dev.sections)
    };
    let printed = dev.gateway.directory().join("stream");
    let file = std::fs::File::create(&printed).unwrap();
    let mut streaming = shell(stream).stdout(file).spawn().expect("sh");
    until("the first event", async || {
        std::fs::read_to_string(&printed)
            .is_ok_and(|text| text.contains("data: event 0"))
            .then_some(())
    })
    .await;
    let (text, code) = pasted(revoke);
    assert_eq!((text.as_str(), code), ("", Some(0)));
    let status = until("the end of the stream", async || streaming.try_wait().unwrap()).await;
    // curl's own code for a transfer that broke off (CURLE_PARTIAL_FILE).
    assert_eq!(status.code(), Some(18));
}

#[tokio::test]
async fn dev_ends_in_order_and_leaves_nothing_behind() {
    let mut dev = Dev::start().await;
    let spools = |dev: &Dev| std::fs::read_dir(dev.gateway.directory()).unwrap().count();
    assert_eq!(spools(&dev), 1);
    dev.gateway.terminate();
    let status = dev.gateway.wait().await;
    assert_eq!(status.code(), Some(0), "{:?}", dev.gateway.stderr());
    assert_eq!(spools(&dev), 0);
}
