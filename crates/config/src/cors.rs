//! Which web pages may ask the gateway across origins.

use url::Url;

use crate::keys::listener as keys;
use crate::reader::{Read, Reader};
use crate::violation::Violation;

/// The origins of `CORS_ALLOWED_ORIGINS`, as browsers send them (RFC 6454 §6.2).
pub(crate) fn origins(reader: &mut Reader<'_>) -> Read<Vec<String>> {
    let entries = reader.list(&keys::CORS_ALLOWED_ORIGINS)?;
    let origins = entries.iter().map(|entry| {
        origin(entry)
            .map_err(|expected| Violation::invalid("value", &keys::CORS_ALLOWED_ORIGINS, entry, expected))
    });
    reader.judge(origins.collect())
}

/// An origin in the form that browsers compare: without the scheme's own port, an internationalised host in ASCII. The
/// error completes "use …".
fn origin(entry: &str) -> Result<String, &'static str> {
    let form = "origins such as https://app.example.com or http://localhost:3000";
    match entry {
        "*" => return Err("each origin by its name: * would admit every page of the web"),
        "null" => {
            return Err("origins that have a name: null is sent for sandboxed pages and files of anybody");
        }
        _ => {}
    }
    let (_, host) = entry.split_once("://").ok_or(form)?;
    if host.contains(['/', '?', '#', '\\']) {
        return Err("an origin without a path, query or fragment, and without a slash at its end");
    }
    if host.contains('*') {
        return Err("each origin by its whole name: there are no wildcards");
    }
    let url = Url::parse(entry).map_err(|_| form)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("an origin without a user name or a password");
    }
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    Ok(format!("{}://{host}{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cors_origins_take_the_form_in_which_browsers_send_them() {
        for (entry, expect) in [
            ("https://app.example.com", Some("https://app.example.com")),
            ("https://app.example.com:443", Some("https://app.example.com")),
            ("http://localhost:3000", Some("http://localhost:3000")),
            ("http://[::1]:80", Some("http://[::1]")),
            (
                "https://b\u{fc}cher.example",
                Some("https://xn--bcher-kva.example"),
            ),
            ("chrome-extension://abcdef", Some("chrome-extension://abcdef")),
            ("*", None),
            ("null", None),
            ("app.example.com", None),
            ("https://", None),
            ("https://app.example.com/", None),
            ("https://app.example.com/app", None),
            ("https://app.example.com?a", None),
            ("https://app.example.com#a", None),
            ("https://*.example.com", None),
            ("https://user@app.example.com", None),
            ("https://app.example.com:99999", None),
            ("file://", None),
        ] {
            assert_eq!(origin(entry).ok().as_deref(), expect, "{entry:?}");
        }
    }
}
