//! PEM files as editors, shells and other systems leave them.

use super::fixture::{Files, load, production, violations, with};
use crate::pem::Pem;
use crate::{MapEnv, Transport};

const CERTIFICATES: &str = "it must hold PEM certificates (BEGIN CERTIFICATE), the leaf first";
const KEY: &str = "it must hold an unencrypted PEM private key (RSA of at least 2048 bits, ECDSA or Ed25519)";

/// A chain of two, its key, and an environment of production that names them.
struct Good {
    files: Files,
    chain: String,
    key: String,
    env: MapEnv,
}

impl Good {
    fn new() -> Self {
        let files = Files::new();
        let env = production(&files);
        let (chain, key) = files.chain(true);
        let text = |path| std::fs::read_to_string(path).unwrap();
        Self {
            chain: text(chain),
            key: text(key),
            env,
            files,
        }
    }

    fn env(&self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> MapEnv {
        let (chain, key) = (self.files.write("a.crt", chain), self.files.write("a.key", key));
        with(self.env.clone(), &[])
            .with("TLS_CERT_FILE", chain)
            .with("TLS_KEY_FILE", key)
    }
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn der(pem: &str) -> Vec<u8> {
    Pem::of(pem.as_bytes())
        .unwrap()
        .certificates()
        .unwrap()
        .remove(0)
        .to_vec()
}

#[test]
fn every_spelling_of_the_same_blocks_is_read() {
    let good = Good::new();
    type Spell = fn(&str) -> String;
    let spell: [(&str, Spell); 9] = [
        ("as written", str::to_owned),
        ("byte order mark", |pem| format!("\u{feff}{pem}")),
        ("CRLF", |pem| pem.replace("\r\n", "\n").replace('\n', "\r\n")),
        ("byte order mark and CRLF", |pem| {
            format!("\u{feff}{}", pem.replace('\n', "\r\n"))
        }),
        ("CR", |pem| pem.replace("\r\n", "\n").replace('\n', "\r")),
        ("blank lines", |pem| {
            format!("\n \n\t\n{}\n\n", pem.replace('\n', "\n\n"))
        }),
        ("indented, with trailing blanks", |pem| {
            pem.replace('\n', " \n    ")
        }),
        ("comments", |pem| {
            format!("Bag Attributes\n    friendlyName: \u{e9}\nsubject=CN = x\n{pem}\n# end")
        }),
        ("no last line break", |pem| pem.trim_end().to_owned()),
    ];
    for (what, spell) in spell {
        let env = good.env(spell(&good.chain), spell(&good.key));
        let (config, _) = load(&env).unwrap_or_else(|violations| panic!("{what}: {violations}"));
        let Transport::Tls(server) = config.listener.transport else {
            panic!("a certificate is set")
        };
        assert_eq!(server.identity.certified_key().cert.len(), 2, "{what}");
        // What is handed on as PEM is read by others in the same way.
        let again = Pem::of(server.identity.chain_pem()).unwrap();
        assert_eq!(
            again.certificates().unwrap(),
            server.identity.certified_key().cert,
            "{what}"
        );
        assert!(
            server.identity.chain_pem().is_ascii() || what == "comments",
            "{what}"
        );
    }
    // Files that were joined without a line break between them, and key and chain in one.
    let joined = good
        .chain
        .replace("-----\n-----", "----------")
        .replace("-----\n\n-----", "----------");
    assert!(joined.contains("----------BEGIN"), "{joined}");
    let both = format!("{}{joined}", good.key.trim_end());
    for (chain, key) in [(&joined, &good.key), (&both, &both)] {
        let (config, _) = load(&good.env(chain, key)).unwrap();
        let Transport::Tls(server) = config.listener.transport else {
            panic!("a certificate is set")
        };
        assert_eq!(server.identity.certified_key().cert.len(), 2);
    }
}

#[test]
fn a_file_without_certificates_is_called_what_it_is() {
    let good = Good::new();
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let half = &good.chain[..good.chain.len() / 4];
    for (file, found) in [
        (b"".to_vec(), "is empty"),
        ("\u{feff}\r\n \n".into(), "is empty"),
        (
            "hello".into(),
            "has no PEM block (a line that begins with -----BEGIN)",
        ),
        (good.key.clone().into(), "holds a private key and no certificate"),
        (
            block("ENCRYPTED PRIVATE KEY", "AAAA").into(),
            "holds an encrypted private key and no certificate",
        ),
        (
            format!("{}{}", good.key, block("CERTIFICATE REQUEST", "AAAA")).into(),
            "holds a private key and a certificate request and no certificate",
        ),
        (
            block("PKCS7", "AAAA").into(),
            "holds a PKCS#7 bundle and no certificate",
        ),
        (
            block("TRUSTED CERTIFICATE", "AAAA").into(),
            "holds an OpenSSL trusted certificate and no certificate",
        ),
        (
            block("hunter2", "AAAA").into(),
            "holds a block of another kind and no certificate",
        ),
        (
            block("CERTIFICATE", "AAAA").into(),
            "has a certificate that cannot be parsed (number 1 in it)",
        ),
        (
            format!("{}{}", good.chain, block("CERTIFICATE", "AAAA")).into(),
            "has a certificate that cannot be parsed (number 3 in it)",
        ),
        (
            block("CERTIFICATE", "!!!!").into(),
            "has a PEM block that is damaged (its text is no base64)",
        ),
        (half.into(), "ends within a PEM block (it is cut off)"),
        (
            good.chain.replace('\n', "\\n").into(),
            "has lost its line breaks (each boundary of a PEM block is a line of its own)",
        ),
        (
            good.chain.replace('\n', " ").into(),
            "has lost its line breaks (each boundary of a PEM block is a line of its own)",
        ),
        (
            utf16(&format!("\u{feff}{}", good.chain), u16::to_le_bytes),
            "is UTF-16 text (save it as ASCII or UTF-8)",
        ),
        (
            utf16(&good.chain, u16::to_be_bytes),
            "is UTF-16 text (save it as ASCII or UTF-8)",
        ),
        (
            der(&good.chain),
            "is a certificate in DER form (`openssl x509 -inform DER -outform PEM` converts it)",
        ),
        (
            b"\x30\x82\x09\x8f\x02\x01\x03\x30\x82\x09\x45\x06\x09".to_vec(),
            "is a PKCS#12 archive (`openssl pkcs12 -nodes` takes it apart)",
        ),
        (b"\x30\x81\x87\x02\x01\x00".to_vec(), "is binary, and no PEM text"),
        (b"\x7fELF\0\0\0\0".to_vec(), "is binary, and no PEM text"),
    ] {
        let shown = String::from_utf8_lossy(&file).into_owned();
        let expect = format!("the file {found}; {CERTIFICATES}");
        assert_eq!(
            violations(&good.env(&file, &good.key)),
            [format!("TLS_CERT_FILE: {expect}")],
            "{shown:?}"
        );
        let ca = good
            .env(&good.chain, &good.key)
            .with("STS_CA_FILE", good.files.write("ca", &file));
        assert_eq!(violations(&ca), [format!("STS_CA_FILE: {expect}")], "{shown:?}");
    }
}

#[test]
fn a_file_without_a_usable_key_is_called_what_it_is() {
    let good = Good::new();
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let wants = "and no unencrypted private key";
    for (file, found) in [
        (String::new(), "is empty".to_owned()),
        (
            good.chain
                .lines()
                .take_while(|line| !line.starts_with("-----END"))
                .collect::<Vec<_>>()
                .join("\n"),
            "ends within a PEM block (it is cut off)".to_owned(),
        ),
        (good.chain.clone(), format!("holds a certificate {wants}")),
        (
            block("ENCRYPTED PRIVATE KEY", "AAAA"),
            format!("holds an encrypted private key {wants}"),
        ),
        (
            block(
                "RSA PRIVATE KEY",
                "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA",
            ),
            format!("holds an encrypted private key {wants}"),
        ),
        (block("PUBLIC KEY", "AAAA"), format!("holds a public key {wants}")),
        (
            block("OPENSSH PRIVATE KEY", "AAAA"),
            format!("holds an OpenSSH private key {wants}"),
        ),
        (
            block("PRIVATE KEY", "AAAA"),
            "holds a private key that is malformed, or of a kind or size that cannot be used".to_owned(),
        ),
    ] {
        assert_eq!(
            violations(&good.env(&good.chain, &file)),
            [format!("TLS_KEY_FILE: the file {found}; {KEY}")],
            "{file:?}"
        );
    }
}
