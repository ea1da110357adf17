//! Whose certificate it is, in words that can be read in one way only.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};
use x509_parser::x509::AttributeTypeAndValue;

/// The subject of a certificate (RFC 4514); where that is empty, the first of its other names that is a DNS name, a URI or
/// an e-mail address, as `DNS:`, `URI:` or `email:`; where there is none, `SHA256:` and its fingerprint.
pub fn subject(certificate: &CertificateDer<'_>) -> Arc<str> {
    let named = X509Certificate::from_der(certificate)
        .ok()
        .and_then(|(_, parsed)| distinguished(parsed.subject()).or_else(|| alternative(&parsed)));
    let fingerprint = || {
        format!(
            "SHA256:{}",
            HEXLOWER.encode(digest(&SHA256, certificate).as_ref())
        )
    };
    Arc::from(named.unwrap_or_else(fingerprint))
}

fn alternative(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(name) => Some(format!("URI:{name}")),
        GeneralName::RFC822Name(name) => Some(format!("email:{name}")),
        _ => None,
    })
}

/// The last part first (§2.1); none where it is empty.
fn distinguished(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Option<Vec<String>> = part.iter().map(attribute).collect();
        parts.push(attributes?.join("+"));
    }
    parts.reverse();
    (!parts.is_empty()).then(|| parts.join(","))
}

/// What is no text is written as `#` and its encoding in hexadecimal (§2.4).
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type();
    let mut text = match oid2abbrev(oid, oid_registry()) {
        Ok(name) => name.to_owned(),
        Err(_) => oid.to_id_string(),
    };
    text.push('=');
    match attribute.as_str() {
        Ok(value) => escape(value, &mut text),
        Err(_) => {
            let encoded = attribute.attr_value().to_der_vec().ok()?;
            text.push('#');
            text.push_str(&HEXLOWER.encode(&encoded));
        }
    }
    Some(text)
}

/// §2.4, and control characters, too.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => out.extend(['\\', character]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            control if control.is_control() => {
                for byte in control.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::{Ia5String, TeletexString};
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn of(parts: Vec<(DnType, DnValue)>, names: Vec<SanType>) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        params.subject_alt_names = names;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        subject(certificate.der()).to_string()
    }

    #[test]
    fn certificates_of_callers_are_named_in_one_way_only() {
        let text = |value: &str| DnValue::Utf8String(value.to_owned());
        let cn = |value: &str| vec![(DnType::CommonName, text(value))];
        let own = DnType::CustomDnType(vec![1, 2, 3, 4]);
        let latin = TeletexString::try_from("J").unwrap();
        for (parts, expect) in [
            (cn("agent"), "CN=agent"),
            (
                vec![
                    (DnType::OrganizationName, text("Users")),
                    (DnType::CommonName, text("bob")),
                ],
                "CN=bob,O=Users",
            ),
            (cn("bob, O=Admins"), "CN=bob\\, O\\=Admins"),
            (cn(" #a+b;<c>\"\\ "), "CN=\\ #a\\+b\\;\\<c\\>\\\"\\\\\\ "),
            (cn("#a"), "CN=\\#a"),
            (cn("a\nb\u{85}"), "CN=a\\0ab\\c2\\85"),
            (vec![(own, text("x"))], "1.2.3.4=x"),
            (
                vec![(DnType::CommonName, DnValue::TeletexString(latin))],
                "CN=#14014a",
            ),
        ] {
            assert_eq!(of(parts, Vec::new()), expect);
        }
        let name = |name: &str| Ia5String::try_from(name).unwrap();
        let address = SanType::IpAddress([192, 0, 2, 1].into());
        let uri = SanType::URI(name("spiffe://a/b"));
        let dns = SanType::DnsName(name("a.example"));
        assert_eq!(
            of(Vec::new(), vec![address.clone(), uri, dns]),
            "URI:spiffe://a/b"
        );
        assert!(of(Vec::new(), vec![address]).starts_with("SHA256:"));
        let broken = subject(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!(
            &*broken,
            "SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    /// rcgen makes one attribute of a part only.
    #[test]
    fn certificates_of_callers_with_two_names_in_one_part_keep_them_together() {
        let attribute = |last: u8, value: &[u8]| {
            let oid = [0x06, 3, 0x55, 4, last];
            let value = [&[0x0c, value.len() as u8], value].concat();
            [&[0x30, (oid.len() + value.len()) as u8], &oid[..], &value].concat()
        };
        // Common name and user's organisation in one set; the second is Latin-1, in UTF-8's clothes.
        let set = [attribute(3, b"bob"), attribute(10, b"\xe9")].concat();
        let part = [&[0x31, set.len() as u8], &set[..]].concat();
        let name = [&[0x30, part.len() as u8], &part[..]].concat();
        let (_, name) = X509Name::from_der(&name).unwrap();
        assert_eq!(distinguished(&name).as_deref(), Some("CN=bob+O=#0c01e9"));
    }
}
