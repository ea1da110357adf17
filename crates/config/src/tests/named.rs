//! Certificates by name: the pairs of `TLS_CERT_DIR`.

use std::path::{Path, PathBuf};

use admission::mode::Mode;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::fixture::{Files, load, now, production, violations};
use crate::{Identity, MapEnv, Renewable as _, ServerTls, Transport};

/// Writes a pair for these names.
fn pair(directory: &Path, stem: &str, names: &[&str]) {
    pair_until(directory, stem, names, 2100);
}

/// Writes one that expires with the first day of this year.
fn pair_until(directory: &Path, stem: &str, names: &[&str], year: i32) {
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(directory.join(format!("{stem}.crt")), certificate.pem()).unwrap();
    std::fs::write(directory.join(format!("{stem}.key")), key.serialize_pem()).unwrap();
}

struct Directory {
    _files: Files,
    path: PathBuf,
    env: MapEnv,
}

fn directory() -> Directory {
    let files = Files::new();
    let path = files.write("x", "").with_file_name("pairs");
    std::fs::create_dir(&path).unwrap();
    let env = production(&files).with("TLS_CERT_DIR", &path);
    Directory {
        _files: files,
        path,
        env,
    }
}

fn server(env: &MapEnv) -> ServerTls {
    match load(env).unwrap().0.listener.transport {
        Transport::Tls(server) => *server,
        Transport::Plain(_) => panic!("a certificate is set"),
    }
}

fn names(server: &ServerTls) -> Vec<(String, String)> {
    let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let named = server.named.as_ref().unwrap().iter();
    named
        .map(|(name, identity)| (name.to_owned(), stem(identity.certificate_file())))
        .collect()
}

#[test]
fn each_pair_is_for_the_names_in_it_and_all_else_is_passed_over() {
    let directory = directory();
    pair(&directory.path, "a", &["API.example", "*.api.example"]);
    pair(&directory.path, "b.c", &["b.example", "b.example", "127.0.0.1"]);
    for other in [".hidden.crt", "README", "ca.pem"] {
        std::fs::write(directory.path.join(other), "anything").unwrap();
    }
    let before = server(&directory.env);
    let named = |name: &str, stem: &str| (name.to_owned(), stem.to_owned());
    assert_eq!(
        names(&before),
        [
            named("*.api.example", "a"),
            named("api.example", "a"),
            named("b.example", "b.c")
        ]
    );
    assert!(before.look() == before.made_of());
    assert_eq!(before.identities().len(), 3);

    // A pair that comes, goes or changes is a change.
    pair(&directory.path, "d", &["d.example"]);
    std::fs::remove_file(directory.path.join("a.crt")).unwrap();
    std::fs::remove_file(directory.path.join("a.key")).unwrap();
    let found = before.look();
    assert!(found != before.made_of());
    let (after, refused) = before.renewed(&found, Mode::Production, now());
    assert_eq!(refused, None);
    assert_eq!(
        names(&after),
        [named("b.example", "b.c"), named("d.example", "d")]
    );
    assert!(after.made_of() == found);
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_with_the_pair_that_is_at_fault() {
    let at = "TLS_CERT_DIR: in the pair";
    type Arrange = fn(&Path);
    let cases: [(Arrange, String); 6] = [
        (
            |_| {},
            "TLS_CERT_DIR holds no pair of files NAME.crt and NAME.key".to_owned(),
        ),
        (
            |path| std::fs::remove_dir(path).unwrap(),
            "TLS_CERT_DIR: the directory cannot be read: entity not found".to_owned(),
        ),
        (
            |path| {
                pair(path, "a", &["a.example"]);
                std::fs::remove_file(path.join("a.key")).unwrap();
            },
            format!("{at} \"a\", .key: the file it names cannot be read: entity not found"),
        ),
        (
            |path| {
                pair(path, "a", &["a.example"]);
                std::fs::copy(path.join("a.key"), path.join("b.key")).unwrap();
                pair(path, "a", &["a.example"]);
                std::fs::copy(path.join("a.crt"), path.join("b.crt")).unwrap();
            },
            format!(
                "{at} \"b\", .key does not match the first certificate in .crt; put the leaf first, and its own key beside it"
            ),
        ),
        (
            |path| pair(path, "a", &["192.0.2.1"]),
            format!("{at} \"a\", .crt has no DNS name (subjectAltName), so that nobody could ask for it"),
        ),
        (
            |path| {
                pair(path, "a", &["a.example"]);
                pair(path, "b", &["b.example", "A.example"]);
            },
            format!(
                "{at} \"b\", .crt is for \"a.example\", and so is that of the pair \"a\"; keep one of them"
            ),
        ),
    ];
    for (arrange, expect) in cases {
        let directory = directory();
        arrange(&directory.path);
        assert_eq!(violations(&directory.env), [expect]);
    }
    let directory = directory();
    pair(&directory.path, "a", &["a.example"]);
    let alone = directory.env.with("TLS_CERT_FILE", "").with("TLS_KEY_FILE", "");
    assert_eq!(
        violations(&alone),
        [
            "TLS_CERT_DIR needs TLS_CERT_FILE and TLS_KEY_FILE, for callers who ask for no name in it; set them"
        ]
    );
}

#[test]
fn a_pair_that_has_expired_is_left_out_at_start_with_a_warning() {
    let directory = directory();
    pair(&directory.path, "a", &["a.example"]);
    pair_until(&directory.path, "gone", &["gone.example"], 2026);
    let (_, warnings) = load(&directory.env).unwrap();
    assert_eq!(
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["TLS_CERT_DIR: the pair \"gone\" has expired and is left out; renew or remove it"]
    );
    let server = server(&directory.env);
    assert_eq!(names(&server), [("a.example".to_owned(), "a".to_owned())]);
}

#[test]
fn in_a_renewal_each_pair_stands_alone() {
    let at = "TLS_CERT_DIR: in the pair";
    type Break = fn(&Path);
    let cases: [(&str, Break, &str); 8] = [
        (
            "garbage",
            |path| std::fs::write(path.join("b.crt"), "garbage").unwrap(),
            "\"b\"",
        ),
        (
            "no key",
            |path| std::fs::remove_file(path.join("b.key")).unwrap(),
            "\"b\"",
        ),
        (
            "expired",
            |path| pair_until(path, "b", &["b.example"], 2026),
            "\"b\"",
        ),
        (
            "another's name",
            |path| pair(path, "b", &["b.example", "z.example"]),
            "\"b\"",
        ),
        (
            "a new one, expired",
            |path| pair_until(path, "new", &["new.example"], 2026),
            "\"new\"",
        ),
        (
            "a new one with a name in use",
            |path| pair(path, "0", &["b.example"]),
            "\"0\"",
        ),
        (
            "a lone key",
            |path| std::fs::write(path.join("new.key"), "").unwrap(),
            "\"new\"",
        ),
        (
            "a directory",
            |path| std::fs::create_dir(path.join("new.crt")).unwrap(),
            "\"new\"",
        ),
    ];
    for (what, break_it, stem) in cases {
        let directory = directory();
        for name in ["a", "b", "z"] {
            pair(&directory.path, name, &[&format!("{name}.example")]);
        }
        let clients = directory.path.with_file_name("clients.crt");
        std::fs::copy(directory.path.join("a.crt"), &clients).unwrap();
        let env = directory.env.with("TLS_CLIENT_CA_FILE", &clients);
        let before = server(&env);
        // Everything else is renewed beside it: a pair, the default one, the callers' authorities.
        break_it(&directory.path);
        pair(&directory.path, "a", &["a.example"]);
        pair(directory.path.parent().unwrap(), "leaf", &["gateway.example"]);
        std::fs::copy(directory.path.join("z.crt"), &clients).unwrap();
        let (after, refused) = before.renewed(&before.look(), Mode::Production, now());
        let refused = refused.unwrap().in_one_line();
        assert!(
            refused.starts_with(&format!("{at} {stem}, ")),
            "{what}: {refused}"
        );
        assert_eq!(names(&after), names(&before), "{what}");
        let shown = |server: &ServerTls| -> Vec<Vec<u8>> {
            server
                .identities()
                .into_iter()
                .map(Identity::chain_pem)
                .map(<[u8]>::to_vec)
                .collect()
        };
        let (old, new) = (shown(&before), shown(&after));
        let is_kept: Vec<bool> = old.iter().map(|pair| new.contains(pair)).collect();
        assert_eq!(is_kept, [false, false, true, true], "{what}: default, a, b, z");
        let authorities =
            |server: &ServerTls| server.clients.as_ref().unwrap().authorities.certificates.clone();
        assert_ne!(authorities(&before), authorities(&after), "{what}");
    }
}
