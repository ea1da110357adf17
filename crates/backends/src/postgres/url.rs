//! What `DATABASE_URL` says beyond what the client library understands.

use admission::ports::Cause;

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server offers it, its certificate unseen. The default, as everywhere.
    Prefer,
    /// TLS or nothing; the certificate is judged when authorities are configured for it.
    Require,
    /// A certificate of a trusted authority, for whatever name.
    VerifyCa,
    /// A certificate of a trusted authority for this host name.
    VerifyFull,
}

/// The URL or keyword string without the parameters that only we understand.
#[derive(PartialEq, Eq)]
pub(super) struct Split {
    pub(super) rest: String,
    pub(super) mode: SslMode,
    /// `sslrootcert`: a file of authorities.
    pub(super) authorities: Option<String>,
}

/// Takes `sslmode`, `sslrootcert` and the pool parameters of other client libraries out.
///
/// # Errors
/// When `sslmode` has no known value.
pub(super) fn split(text: &str) -> Result<Split, Cause> {
    let text = text.trim();
    let mut taken = Taken::default();
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        match text.split_once('?') {
            None => text.to_owned(),
            Some((before, query)) => {
                let kept: Vec<&str> = query
                    .split('&')
                    .filter(|pair| {
                        !pair
                            .split_once('=')
                            .is_some_and(|(k, v)| taken.take(k, &decode(v)))
                    })
                    .collect();
                let mark = if kept.is_empty() { "" } else { "?" };
                format!("{before}{mark}{}", kept.join("&"))
            }
        }
    } else {
        let kept: Vec<&str> = keywords(text)
            .into_iter()
            .filter(|pair| {
                !pair
                    .split_once('=')
                    .is_some_and(|(k, v)| taken.take(k.trim(), &unquote(v.trim())))
            })
            .collect();
        kept.join(" ")
    };
    Ok(Split {
        rest,
        mode: match taken.mode.as_deref() {
            None | Some("prefer" | "allow") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(_) => return Err(Cause::new("postgres: unknown sslmode")),
        },
        authorities: taken.authorities,
    })
}

#[derive(Default)]
struct Taken {
    mode: Option<String>,
    authorities: Option<String>,
}

impl Taken {
    /// Whether the parameter is for us.
    fn take(&mut self, name: &str, value: &str) -> bool {
        match name {
            "sslmode" => self.mode = Some(value.to_owned()),
            // libpq's word for the system's authorities, which are used anyway.
            "sslrootcert" if value == "system" => {}
            "sslrootcert" => self.authorities = Some(value.to_owned()),
            _ => return name.starts_with("pool_"),
        }
        true
    }
}

/// Splits `a=b c='d e'` at the spaces outside of quotes.
fn keywords(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let pairs = text.split(|c: char| {
        let plain = !escaped;
        escaped = c == '\\' && plain;
        if c == '\'' && plain {
            quoted = !quoted;
        }
        c.is_ascii_whitespace() && !quoted && plain
    });
    pairs.filter(|pair| !pair.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    value.trim_matches('\'').replace('\\', "")
}

fn decode(value: &str) -> String {
    url::form_urlencoded::parse(format!("v={}", value.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{SslMode, split};

    #[test]
    fn parameters_are_taken_out_and_the_rest_is_kept() {
        let url = "postgres://u:p%40x@h:1,h2:2/db";
        for (text, rest, mode, authorities) in [
            (url.to_owned(), url.to_owned(), SslMode::Prefer, None),
            (
                format!("{url}?sslmode=verify-full"),
                url.to_owned(),
                SslMode::VerifyFull,
                None,
            ),
            (
                format!("{url}?application_name=x&sslmode=require&sslrootcert=%2Fca+1.pem&pool_max_conns=4"),
                format!("{url}?application_name=x"),
                SslMode::Require,
                Some("/ca+1.pem"),
            ),
            (
                "host=h password='a sslmode=x' sslmode=verify-ca  sslrootcert=system user=u".to_owned(),
                "host=h password='a sslmode=x' user=u".to_owned(),
                SslMode::VerifyCa,
                None,
            ),
            (
                "host=h sslmode='disable'".to_owned(),
                "host=h".to_owned(),
                SslMode::Disable,
                None,
            ),
        ] {
            let Ok(got) = split(&text) else { panic!("{text}") };
            assert_eq!(got.rest, rest, "{text}");
            assert_eq!(got.mode, mode, "{text}");
            assert_eq!(got.authorities.as_deref(), authorities, "{text}");
        }
    }

    #[test]
    fn unknown_sslmode_is_refused() {
        assert!(split("postgres://h/db?sslmode=verify_full").is_err());
        assert!(split("host=h sslmode=").is_err());
    }
}
