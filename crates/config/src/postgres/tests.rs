//! The spellings of `DATABASE_URL`.

use super::*;
use crate::endpoints::tests::show;

fn endpoints(address: &str) -> Option<Vec<String>> {
    let url = DatabaseUrl::parse(address).ok()?;
    Some(show(&url.endpoints().collect::<Vec<_>>()))
}

#[test]
fn both_spellings_name_their_endpoints() {
    for (address, expect) in [
        ("postgres://u:p@db/caracal", Some(&["db 5432"][..])),
        (
            "postgresql://u:p@DB.example.:6432/c?sslmode=require",
            Some(&["db.example 6432"]),
        ),
        (
            "postgres://u:p@a:1,b:2,10.0.0.3/c",
            Some(&["a 1", "b 2", "10.0.0.3/32 5432"]),
        ),
        ("postgres://u@[fd00::2]:5433/c", Some(&["fd00::2/128 5433"])),
        ("postgres://u@%2Frun%2Fpostgresql/c", Some(&[])),
        ("postgres:///c?host=db&port=6000", Some(&["db 6000"])),
        ("host=db user=u password='a b'", Some(&["db 5432"])),
        ("host = 'a,b' port=1,2", Some(&["a 1", "b 2"])),
        (
            "hostaddr=10.0.0.1 host=db port=7",
            Some(&["db 7", "10.0.0.1/32 7"]),
        ),
        ("host=/run/postgresql", Some(&[])),
        (r"password=a\ b://c host=db", Some(&["db 5432"])),
        ("password=a://b host=db", Some(&["db 5432"])),
        // For the driver the first `@` ends the password; the last one is part of a host that cannot be.
        ("postgres://u:p?sslmode=x@db/c", Some(&["db 5432"])),
        ("postgres://u:p@ss@db/c", Some(&["ss@db 5432"])),
        ("postgres://u@a+b/c", Some(&["a+b 5432"])),
        ("postgres://u@a:1,b:2/c?port=3", None),
        ("postgres://u@a:0/c", None),
        ("postgres://u@,b/c", None),
        ("host=db port=0", None),
        ("host=a,b hostaddr=10.0.0.1", None),
        ("host=db = x", None),
        ("host=db sslcert=c", None),
        ("postgres:///c", None),
        ("postgres://db:port/c", None),
        ("mysql://db/c", None),
        ("http://h/db", None),
        ("host=h nonsense=1", None),
        ("user=u", None),
        ("host='db", None),
        ("host=db port=x", None),
        ("just some words", None),
        ("", None),
    ] {
        let got = endpoints(address);
        let expect = expect.map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(got, expect, "{address:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_address_panics(text in "\\PC*") {
        let _ = endpoints(&text);
        let _ = endpoints(&format!("postgres://{text}"));
    }
}

#[test]
fn parameters_of_libpq_are_taken_out_and_the_rest_is_the_drivers() {
    let url = "postgres://u:p%40x@h:1,h2:2/db";
    let verify_ca =
        |password: &str| format!("host=h password={password} sslmode=verify-ca  sslrootcert=system user=u");
    for (text, rest, mode, authorities) in [
        (url.to_owned(), url, SslMode::Prefer, None),
        (format!("{url}?sslmode=allow"), url, SslMode::Prefer, None),
        (
            format!("{url}?sslmode=verify-full"),
            url,
            SslMode::VerifyFull,
            None,
        ),
        (
            format!("{url}?ssl%6Dode=verify%2Dfull"),
            url,
            SslMode::VerifyFull,
            None,
        ),
        (
            format!("{url}?application_name=x&sslmode=require&sslrootcert=%2Fca+1.pem&pool_max_conns=4"),
            "postgres://u:p%40x@h:1,h2:2/db?application_name=x",
            SslMode::Require,
            Some("/ca+1.pem"),
        ),
        (
            verify_ca("'a sslmode=x'"),
            "host=h password='a sslmode=x' user=u",
            SslMode::VerifyCa,
            None,
        ),
        (
            verify_ca(r"'it\'s \\'"),
            r"host=h password='it\'s \\' user=u",
            SslMode::VerifyCa,
            None,
        ),
        (
            "host=h sslmode='disable'".to_owned(),
            "host=h",
            SslMode::Disable,
            None,
        ),
        // libpq allows blanks around the sign: read otherwise, TLS would be optional here.
        (
            "host=h sslmode = verify-full".to_owned(),
            "host=h",
            SslMode::VerifyFull,
            None,
        ),
    ] {
        let Ok(got) = DatabaseUrl::parse(&text) else {
            panic!("{text}")
        };
        assert_eq!(got.client, rest.parse().unwrap(), "{text}");
        assert_eq!(got.ssl_mode, mode, "{text}");
        assert_eq!(got.authorities, authorities.map(PathBuf::from), "{text}");
    }
}

#[test]
fn at_sign_that_would_make_the_host_a_login_is_refused_by_name() {
    for text in ["postgres://db/c?application_name=a@b", "postgresql://u:p/q@db/c"] {
        assert_eq!(
            DatabaseUrl::parse(text).unwrap_err().to_string(),
            AT_SIGN,
            "{text}"
        );
    }
    for text in [
        "postgres://u@db/c?application_name=a@b",
        "postgres://db/c?application_name=a%40b",
    ] {
        assert_eq!(endpoints(text).unwrap(), ["db 5432"], "{text}");
    }
}

#[test]
fn unknown_sslmode_is_refused_by_name() {
    for text in [
        "postgres://h/db?sslmode=verify_full",
        "postgres://h/db?sslmode=maybe",
        "host=h sslmode=",
    ] {
        let refused = DatabaseUrl::parse(text).unwrap_err().to_string();
        assert_eq!(
            refused,
            "DATABASE_URL: the parameter sslmode must be disable, allow, prefer, require, verify-ca or verify-full"
        );
    }
}

#[test]
fn settings_of_the_server_are_sent_to_it() {
    for (text, options) in [
        ("postgres://h/d?search_path=public", "-c search_path=public"),
        (
            "postgres://h/d?statement_timeout=5s&caracal.zone_id=%2A&TimeZone=UTC",
            "-c statement_timeout=5s -c caracal.zone_id=* -c TimeZone=UTC",
        ),
        (
            r"host=h options='-c jit=off' search_path='a, b\\c'",
            r"-c jit=off -c search_path=a,\ b\\c",
        ),
    ] {
        let got = DatabaseUrl::parse(text).unwrap();
        assert_eq!(got.client.get_options(), Some(options), "{text}");
        assert!(got.warnings.is_empty(), "{text}");
    }
}

#[test]
fn name_for_want_of_another_is_the_applications() {
    let name = |text| {
        let url = DatabaseUrl::parse(text).unwrap();
        url.client.get_application_name().map(str::to_owned)
    };
    assert_eq!(name("host=h fallback_application_name=f").as_deref(), Some("f"));
    assert_eq!(
        name("host=h application_name=a fallback_application_name=f").as_deref(),
        Some("a")
    );
}

#[test]
fn parameters_of_other_clients_are_accepted_with_a_note_or_refused_by_name() {
    for text in [
        "gssencmode=prefer",
        "keepalives_count=3",
        "connect_timeout=3",
        "pool_max_conns=4",
        "default_query_exec_mode=exec",
        "ssl_min_protocol_version=TLSv1.2",
        "sslsni=1",
        "client_encoding=UTF8",
    ] {
        let (name, _) = text.split_once('=').unwrap();
        for address in [format!("postgres://h/d?{text}"), format!("host=h {text}")] {
            let warnings = DatabaseUrl::parse(&address).unwrap().warnings;
            let [note] = &warnings[..] else {
                panic!("{address}: {warnings:?}")
            };
            let expect = format!("DATABASE_URL: the parameter {name} has no effect: ");
            assert!(note.to_string().starts_with(&expect), "{note}");
        }
    }
    for text in [
        "nonsense=1",
        "gssencmode=require",
        "sslcrl=x",
        "ssl_min_protocol_version=TLSv1.3",
        "require_auth=scram-sha-256",
        "target_session_attrs=some",
        "channel_binding=maybe",
        "sslcert=x",
        "sslkey=x",
        "port=x",
        "tcp_user_timeout=1s",
        "tcp_user_timeout=2147483648",
    ] {
        let (name, _) = text.split_once('=').unwrap();
        for address in [format!("postgres://h/d?{text}"), format!("host=h {text}")] {
            let refused = DatabaseUrl::parse(&address).unwrap_err().to_string();
            let expect = format!("DATABASE_URL: the parameter {name} ");
            assert!(refused.starts_with(&expect), "{refused}");
        }
    }
    for text in ["host=h s3cret=x", "host=h Password=x", "host=h pass%word=x"] {
        let refused = DatabaseUrl::parse(text).unwrap_err().to_string();
        assert!(
            refused.contains("is malformed"),
            "a name is shown that may be none: {refused}"
        );
    }
}

#[test]
fn servers_are_chosen_by_libpqs_words() {
    use tokio_postgres::config::TargetSessionAttrs;
    for (word, expect) in [
        ("any", TargetSessionAttrs::Any),
        ("prefer-standby", TargetSessionAttrs::Any),
        ("primary", TargetSessionAttrs::ReadWrite),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("standby", TargetSessionAttrs::ReadOnly),
    ] {
        let url = DatabaseUrl::parse(&format!("host=a,b target_session_attrs={word}")).unwrap();
        assert_eq!(url.client.get_target_session_attrs(), expect, "{word}");
    }
}
