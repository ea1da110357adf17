//! Query strings as `&`-separated pieces that are compared but never re-encoded.

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
    a == b || decoded_form(a).eq(decoded_form(b))
}

/// Whether a name is one of those that pieces of `query` have.
pub(crate) fn names_in(query: &str, wanted: &str) -> bool {
    pieces(query).any(|piece| !piece.is_empty() && is_same_name(name(piece), wanted))
}

fn decoded_form(name: &str) -> impl Iterator<Item = u8> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || match take(&mut rest)? {
        (b'+', false) => Some(b' '),
        (byte, _) => Some(byte),
    })
}

/// The bytes of a text with valid percent sequences decoded once.
pub(crate) fn decoded_percent(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || take(&mut rest).map(|(byte, _)| byte))
}

/// Takes one byte, or one percent sequence, and says whether it was a sequence.
fn take(rest: &mut &[u8]) -> Option<(u8, bool)> {
    match *rest {
        [b'%', high, low, tail @ ..] if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
            *rest = tail;
            Some((high << 4 | low, true))
        }
        [byte, tail @ ..] => {
            *rest = tail;
            Some((*byte, false))
        }
        [] => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
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
