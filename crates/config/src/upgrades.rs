//! To which protocols a connection may be switched.

use admission::Upgrades;

use crate::keys::listener as keys;
use crate::reader::{Read, Reader};
use crate::violation::Violation;

/// The protocols of `ALLOW_UPGRADES`.
pub(crate) fn upgrades(reader: &mut Reader<'_>) -> Read<Upgrades> {
    let entries = reader.list(&keys::ALLOW_UPGRADES)?;
    if let [one] = &*entries
        && one == "off"
    {
        return Ok(Upgrades::default());
    }
    let names = entries.into_iter().map(|entry| match judge(&entry) {
        Ok(()) => Ok(entry),
        Err(expected) => Err(Violation::invalid(
            "value",
            &keys::ALLOW_UPGRADES,
            &entry,
            expected,
        )),
    });
    reader
        .judge(names.collect())
        .map(|names: Vec<String>| Upgrades::new(names))
}

/// The name of a protocol (RFC 9110 §7.8) behind whose switch nothing speaks for others than who asked. The error
/// completes "use …".
fn judge(entry: &str) -> Result<(), &'static str> {
    let (name, version) = entry.split_once('/').unwrap_or((entry, "1"));
    match name {
        "off" => return Err("off alone, or the names of protocols"),
        "h2c" | "h2" | "http" => {
            return Err(
                "another protocol: requests within HTTP, once switched to, would pass without a mandate",
            );
        }
        "tls" | "ssl" => {
            return Err("another protocol: nobody could see what goes on within TLS, once switched to");
        }
        _ => {}
    }
    let is_token = |text: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(is_known)
    };
    match is_token(name) && is_token(version) {
        true => Ok(()),
        false => Err("names of protocols such as websocket, or off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrades_are_names_of_protocols_within_which_no_other_request_hides() {
        for (entry, is_fit) in [
            ("websocket", true),
            ("foo", true),
            ("irc/6.9", true),
            ("off", false),
            ("h2c", false),
            ("h2", false),
            ("http/2.0", false),
            ("tls/1.0", false),
            ("web socket", false),
            ("a/b/c", false),
            ("/1", false),
            ("b\u{fc}cher", false),
        ] {
            assert_eq!(judge(entry).is_ok(), is_fit, "{entry}");
        }
    }
}
