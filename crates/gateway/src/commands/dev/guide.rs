//! What `dev` prints: what runs where, and requests to paste.

use std::fmt::Write as _;
use std::path::Path;

use devstack::{Devstack, MintRequest, Minted, Refusal};

/// Lifetime of the printed mandates in seconds: long enough to read everything first.
const TTL: u64 = 3600;
/// The resource of the examples.
const RESOURCE: &str = "resource://mandate";

/// Sections of commands under their headings.
pub(super) struct Guide {
    places: Vec<(&'static str, String, &'static str)>,
    sections: Vec<Section>,
}

struct Section {
    heading: String,
    commands: Vec<String>,
}

impl Guide {
    /// Mints the mandates and writes every command out. `program` is this binary.
    pub(super) fn new(gateway: &str, stack: &Devstack, program: &Path) -> Result<Self, Refusal> {
        let request = MintRequest {
            ttl_seconds: Some(TTL),
            ..stack.request_for(RESOURCE)
        };
        let mandate = stack.mint(&request)?;
        let stream = stack.mint(&request)?;
        let sts = stack.sts_url();
        let resources: Vec<_> = stack
            .bindings()
            .iter()
            .map(|binding| binding.resource.as_str())
            .collect();
        let places = vec![
            ("gateway", gateway.to_owned(), "what agents call"),
            ("STS", sts.to_owned(), "mints mandates, exchanges them, revokes"),
            (
                "upstream",
                stack.upstream_url().to_owned(),
                "echoes what reaches it",
            ),
            ("resources", resources.join(" "), ""),
        ];
        let call = format!(
            "curl -sS {gateway}/hello -H \"Authorization: Bearer $MANDATE\" -H 'X-Caracal-Resource: {RESOURCE}'"
        );
        let sections = vec![
            section(
                "Allowed: a mandate is good for one request; the upstream shows what reached it, another bearer",
                [format!("MANDATE={}", mandate.token.expose()), call.clone()],
            ),
            section("Refused: the same mandate again is a replay", [call]),
            section(
                "The next mandate, for the same request",
                next_mandate(stack, &request, program),
            ),
            section(
                "A live stream: one event each second",
                [
                    format!("STREAM={}", stream.token.expose()),
                    format!(
                        "curl -sSN {gateway}/sse -H \"Authorization: Bearer $STREAM\" -H 'X-Caracal-Resource: {RESOURCE}'"
                    ),
                ],
            ),
            section(
                "Revoked: from another terminal, end the session that the stream rests on, and the stream is cut",
                [revoke(stack, &stream, &request)],
            ),
        ];
        Ok(Self { places, sections })
    }

    /// The guide as text, headings emphasised where a terminal shows it.
    pub(super) fn render(&self, terminal: bool) -> String {
        let (bold, plain) = if terminal {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        let mut text = format!(
            "\n{bold}Caracal Gateway, development stack{plain}: on loopback, in memory, gone at Ctrl-C\n\n"
        );
        for (name, place, meaning) in &self.places {
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                text,
                "{}",
                format!("  {name:<10} {place:<24} {meaning}").trim_end()
            );
        }
        for (number, section) in self.sections.iter().enumerate() {
            let _ = writeln!(text, "\n{bold}{}. {}{plain}\n", number + 1, section.heading);
            for command in &section.commands {
                let _ = writeln!(text, "  {command}");
            }
        }
        text.push('\n');
        text
    }
}

fn section(heading: &str, commands: impl IntoIterator<Item = String>) -> Section {
    Section {
        heading: heading.to_owned(),
        commands: commands.into_iter().collect(),
    }
}

fn next_mandate(stack: &Devstack, request: &MintRequest, program: &Path) -> Vec<String> {
    let secret = stack
        .clients()
        .iter()
        .find(|client| client.id == request.client_id);
    let secret = secret.map(|client| client.secret.expose()).unwrap_or_default();
    vec![
        format!("export CARACAL_CLIENT_SECRET={secret}"),
        format!(
            "MANDATE=$({} token mint --sts-url {} --zone {} --client-id {} --resource {RESOURCE})",
            quoted(&program.to_string_lossy()),
            stack.sts_url(),
            request.zone,
            request.client_id,
        ),
    ]
}

fn revoke(stack: &Devstack, minted: &Minted, request: &MintRequest) -> String {
    format!(
        "curl -sS {}/revoke -H 'Authorization: Bearer {}' -d '{{\"kind\":\"session_id\",\"id\":\"{}\",\"zone_id\":\"{}\"}}'",
        stack.sts_url(),
        stack.admin_token().expose(),
        minted.sid,
        request.zone,
    )
}

/// A word for `sh`.
fn quoted(word: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+');
    if !word.is_empty() && word.chars().all(harmless) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_take_apart_are_quoted() {
        for (word, expect) in [
            ("/usr/bin/caracal-gateway", "/usr/bin/caracal-gateway"),
            ("/home/a b/x", "'/home/a b/x'"),
            ("/it's", r"'/it'\''s'"),
            ("/$HOME", "'/$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expect, "{word}");
        }
    }

    #[test]
    fn only_a_terminal_gets_escape_codes() {
        let guide = Guide {
            places: vec![("gateway", "http://127.0.0.1:8081".into(), "what agents call")],
            sections: vec![section("Try", ["curl x".to_owned()])],
        };
        assert_eq!(
            guide.render(false),
            "\nCaracal Gateway, development stack: on loopback, in memory, gone at Ctrl-C\n\n  \
             gateway    http://127.0.0.1:8081    what agents call\n\n1. Try\n\n  curl x\n\n"
        );
        assert_eq!(guide.render(true).matches('\u{1b}').count(), 4);
    }
}
