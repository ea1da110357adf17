//! Query strings as `&`-separated pieces that are compared but never re-encoded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The pieces of a query, each `name` or `name=value`. `;` is data.
pub(crate) fn pieces(query: &str) -> impl Iterator<Item = &str> {
    query.split('&')
}

/// The name of a piece as written.
pub(crate) fn name(piece: &str) -> &str {
    piece.split_once('=').map_or(piece, |(name, _)| name)
}

/// Whether two names are the same to a reader of `application/x-www-form-urlencoded`: percent sequences decoded once,
/// `+` read as a space, a broken percent sequence as itself.
pub(crate) fn is_same_name(a: &str, b: &str) -> bool {
    let is_coded = |name: &str| name.contains(['%', '+']);
    a == b || ((is_coded(a) || is_coded(b)) && decoded_form(a) == decoded_form(b))
}

/// Whether a name is one of those that pieces of `query` have.
pub(crate) fn names_in(query: &str, wanted: &str) -> bool {
    pieces(query).any(|piece| !piece.is_empty() && is_same_name(name(piece), wanted))
}

/// What is left of a piece without the parameters that some server may take for `key`; none where nothing is.
///
/// Servers fold names: in any case (ASP.NET), `key[]` and `key[0]` (PHP, Rack, qs), blanks around it, `_` for `.`, blanks and a
/// `[` without an end, and an end at NUL (PHP), and a `;` that separates as `&` does (older Python, Perl, Java).
pub(crate) fn without<'a>(piece: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let parts = || piece.split(';');
    let is_key = |part: &&str| folds_to(name(part), key);
    if !parts().any(|part| is_key(&part)) {
        return Some(piece.into());
    }
    let rest: Vec<_> = parts().filter(|part| !is_key(part)).collect();
    let rest = rest.join(";");
    (!rest.is_empty()).then(|| rest.into())
}

/// Whether some server may take this name for `key`.
pub(crate) fn folds_to(name: &str, key: &str) -> bool {
    let whole = key.contains('[');
    is_same_name(name, key) || folded(name, whole) == folded(key, whole)
}

fn folded(name: &str, whole: bool) -> Vec<u8> {
    let decoded = decoded_form(name);
    let is_index = decoded.contains(&b']');
    let end = |byte: &u8| *byte == 0 || (*byte == b'[' && is_index && !whole);
    let read = decoded.split(end).next().unwrap_or_default().trim_ascii();
    let fold = |byte: &u8| match byte {
        b'.' | b' ' => b'_',
        b'[' if !is_index => b'_',
        byte => byte.to_ascii_lowercase(),
    };
    read.iter().map(fold).collect()
}

fn decoded_form(name: &str) -> Vec<u8> {
    let spaced = name.replace('+', " ");
    percent_decode_str(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_every_percent_spelling() {
        for (a, b) in [
            ("key", "%6bey"),
            ("key", "%6B%65%79"),
            ("a b", "a+b"),
            ("a+b", "a%20b"),
            ("%zz", "%zz"),
        ] {
            assert!(is_same_name(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("key", "Key"),
            ("key", "%256bey"),
            ("a+b", "a%2Bb"),
            ("key", "key2"),
            ("key", "%6"),
            ("", "a"),
        ] {
            assert!(!is_same_name(a, b), "{a} {b}");
        }
    }

    #[test]
    fn parameters_that_some_server_takes_for_the_key_are_taken_out() {
        for (piece, expect) in [
            ("key=1", None),
            ("KEY=1", None),
            ("%4bEY", None),
            ("key[]=1", None),
            ("key%5B0%5D=1", None),
            ("+key+=1", None),
            ("key%00x=1", None),
            ("a=1;key=2", Some("a=1")),
            ("key=2;a=1", Some("a=1")),
            ("a;Key[x];b", Some("a;b")),
            ("a=1;b=2", Some("a=1;b=2")),
            ("keys=1", Some("keys=1")),
            ("[key]=1", Some("[key]=1")),
            ("a=key", Some("a=key")),
            ("", Some("")),
        ] {
            assert_eq!(without(piece, "key").as_deref(), expect, "{piece}");
        }
        for (piece, key, is_key) in [
            ("api_key", "api.key", true),
            ("api+key", "api_key", true),
            ("api-key", "api_key", false),
            ("f[KEY]", "f[key]", true),
            ("f[other]", "f[key]", false),
            ("api[key", "api_key", true),
            ("api[key]", "api_key", false),
        ] {
            assert_eq!(folds_to(piece, key), is_key, "{piece} {key}");
        }
    }

    #[test]
    fn a_name_ends_at_the_first_equals_sign() {
        assert_eq!(name("a=b=c"), "a");
        assert_eq!(name("a"), "a");
        assert_eq!(name("=a"), "");
        assert_eq!(name("a;b=c"), "a;b");
    }

    #[test]
    fn empty_pieces_name_nothing() {
        assert!(!names_in("", ""));
        assert!(!names_in("a=1&&b", ""));
        assert!(names_in("a=1&&b", "b"));
        assert!(names_in("=x", ""));
    }
}
